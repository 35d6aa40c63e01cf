//! What is counted, and what is not (Triton's `infer_stats.cc`, `InferenceRequest::Run`).

use nereid_core::unix_ms;
use nereid_scheduler::statistics::{BatchCounts, Counts};
use nereid_scheduler::{ActiveInstance, Reporters, SeriesId};

use super::*;

/// Batches so far, by size, with the number of their executions.
fn batches(counts: &Counts) -> Vec<(usize, u64)> {
    let executions = |batch: &BatchCounts| {
        assert_eq!(batch.compute_input.count, batch.compute_infer.count);
        assert_eq!(batch.compute_output.count, batch.compute_infer.count);
        batch.compute_infer.count
    };
    counts.batches.iter().map(|(size, batch)| (*size, executions(batch))).collect()
}

/// A scheduler with one busy instance, and requests of these sizes waiting behind it.
fn waiting(rows: &[u32]) -> (Gate, Scheduler, Answers) {
    let (gate, instances) = gated(1);
    let (config, scheduler) = start(batching(preferred(8)), instances);
    let answers = Answers::new();
    enqueue(&scheduler, identity_request(&config, 1, 0.0), answers.responder(0.0));
    assert_eq!(gate.entered(), 1);
    for rows in rows {
        enqueue(&scheduler, identity_request(&config, *rows, 1.0), answers.responder(1.0));
    }
    (gate, scheduler, answers)
}

#[test]
fn a_batch_is_one_execution_and_as_many_inferences_as_rows() {
    let start = unix_ms();
    let (gate, scheduler, answers) = waiting(&[3, 4, 1]);
    assert_eq!(scheduler.statistics().snapshot().last_inference_ms, 0, "nothing has run to its end");
    gate.release();
    assert_eq!(answers.next_ok(), 0.0);
    let before = scheduler.statistics().snapshot();
    assert_eq!(gate.entered(), 8);
    gate.release();
    (0..3).for_each(|_| assert_eq!(answers.next_ok(), 1.0));
    let counts = scheduler.statistics().snapshot();
    assert_eq!((counts.inference_count, counts.execution_count), (1 + 8, 1 + 1));
    assert_eq!(batches(&counts), [(1, 1), (8, 1)]);
    assert!((start..=unix_ms()).contains(&counts.last_inference_ms));
    // Every request took all of the batch's time; the batch took it once.
    let batch = counts.batches[&8];
    for (of_requests, before, of_batch) in [
        (counts.compute_input, before.compute_input, batch.compute_input),
        (counts.compute_infer, before.compute_infer, batch.compute_infer),
        (counts.compute_output, before.compute_output, batch.compute_output),
    ] {
        assert_eq!((of_requests.count, of_requests.ns - before.ns), (1 + 3, 3 * of_batch.ns));
    }
    assert_eq!((counts.success.count, counts.queue.count, counts.fail.count), (4, 4, 0));
    let parts =
        counts.queue.ns + counts.compute_input.ns + counts.compute_infer.ns + counts.compute_output.ns;
    assert_eq!(parts, counts.success.ns, "a request waits, then is computed, and that is all");
}

#[test]
fn a_batch_that_fails_counts_its_requests_and_nothing_else() {
    let (gate, scheduler, answers) = waiting(&[3, 4, 1]);
    gate.release();
    assert_eq!(answers.next_ok(), 0.0);
    assert_eq!(gate.entered(), 8);
    let before = scheduler.statistics().snapshot();
    drop(gate); // the instance fails
    (0..3).for_each(|_| assert_eq!(answers.next_error().1, ErrorCode::Internal));
    let counts = scheduler.statistics().snapshot();
    assert_eq!((counts.fail.count, counts.failures), (3, [0, 0, 3, 0]));
    assert!(counts.fail.ns > 0);
    let others = |counts: &Counts| (counts.inference_count, counts.execution_count, counts.last_inference_ms);
    assert_eq!(others(&counts), others(&before));
    assert_eq!((counts.success, counts.queue), (before.success, before.queue));
    assert_eq!(batches(&counts), [(1, 1)]);
}

#[test]
fn a_model_that_does_not_batch_reports_batches_of_one() {
    let (config, scheduler) = start(identity_config(0), vec![Box::new(TestInstance::identity())]);
    let answers = Answers::new();
    for _ in 0..3 {
        enqueue(&scheduler, identity_request(&config, 5, 1.0), answers.responder(1.0));
        assert_eq!(answers.next_ok(), 1.0);
    }
    let counts = scheduler.statistics().snapshot();
    assert_eq!((counts.inference_count, counts.execution_count, counts.success.count), (3, 3, 3));
    assert_eq!(batches(&counts), [(1, 3)]);
}

#[test]
fn what_leaves_the_queue_unserved_is_counted_by_reason() {
    let policy = QueuePolicy { default_timeout_us: 1, ..Default::default() };
    let hour =
        DynamicBatching { max_queue_delay_us: 3_600_000_000, default_queue_policy: policy, ..preferred(8) };
    let (config, scheduler) = start(batching(hour), vec![Box::new(TestInstance::identity())]);
    let answers = Answers::new();
    enqueue(&scheduler, identity_request(&config, 2, 1.0), answers.responder(1.0));
    assert_eq!(answers.next_error().1, ErrorCode::Unavailable);
    let counts = scheduler.statistics().snapshot();
    assert_eq!((counts.fail.count, counts.failures), (1, [1, 0, 0, 0]));
    assert_eq!((counts.inference_count, counts.execution_count, counts.last_inference_ms), (0, 0, 0));
    assert_eq!(counts.success.count + counts.queue.count, 0);
}

#[test]
fn refusals_are_counted_nowhere() {
    let check = |scheduler: &Scheduler, config: &ModelConfig, answers: &Answers| {
        let request = identity_request(config, 1, 7.0);
        scheduler.enqueue(request, answers.responder(f32::NAN)).unwrap_err();
        let counts = scheduler.statistics().snapshot();
        assert_eq!((counts.fail.count, counts.failures, counts.success.count), (0, [0; 4], 0));
    };
    let (config, scheduler) = start(identity_config(8), Vec::new());
    check(&scheduler, &config, &Answers::new()); // no instance
    let (config, scheduler) = start(identity_config(8), vec![Box::new(TestInstance::identity())]);
    scheduler.stop();
    check(&scheduler, &config, &Answers::new());
    let (gate, instances) = gated(1);
    let policy = QueuePolicy { max_queue_size: 1, ..Default::default() };
    let (config, scheduler) =
        start(batching(DynamicBatching { default_queue_policy: policy, ..preferred(8) }), instances);
    let answers = Answers::new();
    enqueue(&scheduler, identity_request(&config, 1, 1.0), answers.responder(1.0));
    assert_eq!(gate.entered(), 1);
    enqueue(&scheduler, identity_request(&config, 1, 1.0), answers.responder(1.0));
    check(&scheduler, &config, &answers); // the queue is full
    gate.release();
    gate.release();
    assert_eq!([answers.next_ok(), answers.next_ok()], [1.0, 1.0]);
}

/// `options` with all instances on one GPU, and what the series of the model and that of the GPU have: successes, and
/// failures by reason.
pub(super) fn on_a_gpu(options: SchedulerOptions) -> (SchedulerOptions, impl Fn() -> [(u64, [u64; 4]); 2]) {
    let reporters = Reporters::default();
    let statistics = reporters.version(SeriesId::default(), None, false);
    let on_gpu = reporters.of_gpu(&statistics, &"GPU-0".into());
    let place = |active: ActiveInstance| ActiveInstance { statistics: Some(on_gpu.clone()), ..active };
    let instances = options.instances.into_iter().map(place).collect();
    let shown = move || {
        let series = reporters.series();
        [0, 1].map(|i| (series[i].live.as_ref().unwrap().counts.success.count, series[i].failures))
    };
    (SchedulerOptions { instances, statistics, ..options }, shown)
}

#[test]
fn what_runs_on_a_gpu_counts_apart_and_what_waits_does_not() {
    let (gate, instances) = gated(1);
    let config = batching(DynamicBatching { default_queue_policy: overridable(), ..preferred(8) });
    let config = Arc::new(config);
    let (options, shown) = on_a_gpu(options(config.clone(), instances));
    let scheduler = Scheduler::start(options).unwrap();
    let answers = Answers::new();
    let send = |tag: f32| enqueue(&scheduler, identity_request(&config, 1, tag), answers.responder(tag));
    send(0.0);
    assert_eq!(gate.entered(), 1);
    let cancelled = send(1.0);
    scheduler.cancel(cancelled);
    assert_eq!(answers.next_error().1, ErrorCode::Cancelled);
    enqueue(&scheduler, hasty_request(&config), answers.responder(2.0));
    assert_eq!(answers.next_error().1, ErrorCode::Unavailable);
    gate.release();
    assert_eq!(answers.next_ok(), 0.0);
    send(3.0);
    assert_eq!(gate.entered(), 1);
    drop(gate);
    assert_eq!(answers.next_error().1, ErrorCode::Internal);
    assert_eq!(shown(), [(0, [1, 1, 0, 0]), (1, [0, 0, 1, 0])]);
    let sum = scheduler.statistics().snapshot();
    assert_eq!((sum.success.count, sum.failures, sum.execution_count), (1, [1, 1, 1, 0], 1));
    assert_eq!(batches(&sum), [(1, 1)]);
}
