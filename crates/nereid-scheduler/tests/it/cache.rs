//! The response cache in front of a scheduler: what is answered without a run, who waits for whose run, and that
//! nobody is forgotten.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use nereid_core::cache::{CacheKey, Found, SharedCache};
use nereid_core::{CorrelationId, Sequence};
use nereid_scheduler::{CacheValues, ModelIdentity, ResponseCache};

use super::cancellation::{counts, stoppable};
use super::ensemble::{Fixture, Parts, chain};
use super::*;

const SIZE: u64 = 1 << 20;

fn local() -> Arc<ResponseCache> {
    Arc::new(ResponseCache::local(SIZE))
}

fn cached(
    config: ModelConfig,
    instances: Vec<Box<dyn Instance>>,
    cache: &Arc<ResponseCache>,
) -> (Arc<ModelConfig>, Scheduler) {
    let (config, scheduler) = start(ModelConfig { response_cache: true, ..config }, instances);
    (config, scheduler.with_cache(cache.clone(), cache.identity()))
}

/// Sends one request of this value, with a receiver of its own.
fn ask(scheduler: &Scheduler, config: &ModelConfig, value: f32) -> (Ticket, Answers) {
    let answers = Answers::new();
    (enqueue(scheduler, identity_request(config, 1, value), answers.responder(value)), answers)
}

/// An identity that counts its executions.
fn counting() -> (Arc<AtomicUsize>, Box<dyn Instance>) {
    let runs = Arc::new(AtomicUsize::new(0));
    let seen = runs.clone();
    let instance = TestInstance::with_hook(move |_| {
        seen.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    (runs, Box::new(instance))
}

fn values(cache: &ResponseCache) -> CacheValues {
    cache.values().unwrap()
}

/// Inferences, hits and misses.
fn looks(scheduler: &Scheduler) -> (u64, u64, u64) {
    let counts = scheduler.statistics().snapshot();
    assert_eq!(counts.queue.count, counts.success.count);
    assert_eq!(counts.compute_infer.count, counts.success.count - counts.cache_hit.count);
    (counts.inference_count, counts.cache_hit.count, counts.cache_miss.count)
}

#[test]
fn the_same_request_is_answered_without_a_run() {
    let cache = local();
    let (runs, instance) = counting();
    let (config, scheduler) = cached(identity_config(8), vec![instance], &cache);
    for value in [1.0, 1.0, 2.0, 1.0, 2.0] {
        assert_eq!(ask(&scheduler, &config, value).1.next_ok(), value);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    assert_eq!((looks(&scheduler), counts(&scheduler)), ((2, 3, 2), (5, [0; 4])));
    let CacheValues { entries, hits, misses, evictions, utilization, .. } = values(&cache);
    assert_eq!((entries, hits, misses, evictions), (2, 3, 2, 0));
    assert!(utilization > 0.0 && utilization < 0.01, "{utilization}");
    // A hit is answered before the call is over, also by a scheduler that stops, and costs no thread its sleep.
    let answers = Answers::new();
    let queued = scheduler.enqueue(identity_request(&config, 1, 2.0), answers.responder(2.0)).unwrap();
    assert!(queued.lead.is_none());
    let (_, answer) = answers.receiver.try_recv().unwrap();
    let timing = answer.unwrap().timing;
    assert!(timing.queue_start < timing.compute_start && timing.compute_start == timing.compute_end);
    scheduler.cancel(queued.ticket); // means nothing any more
    assert!(answers.ended());
}

#[test]
fn a_model_that_was_loaded_again_finds_nothing_of_the_old_one() {
    let cache = local();
    for _ in 0..2 {
        let (runs, instance) = counting();
        let (config, scheduler) = cached(identity_config(8), vec![instance], &cache);
        assert_eq!([(); 2].map(|()| ask(&scheduler, &config, 1.0).1.next_ok()), [1.0, 1.0]);
        assert_eq!(runs.load(Ordering::SeqCst), 1);
    }
    assert_eq!(values(&cache).entries, 2);
}

#[test]
fn what_does_not_fit_is_not_stored_and_runs_again() {
    let cache = Arc::new(ResponseCache::local(100));
    let (runs, instance) = counting();
    let (config, scheduler) = cached(identity_config(8), vec![instance], &cache);
    assert_eq!([(); 3].map(|()| ask(&scheduler, &config, 1.0).1.next_ok()), [1.0; 3]);
    assert_eq!((runs.load(Ordering::SeqCst), looks(&scheduler)), (3, (3, 0, 3)));
    assert_eq!((values(&cache).entries, values(&cache).utilization), (0, 0.0));
}

#[test]
fn identical_requests_run_once() {
    let cache = local();
    let (gate, instances) = gated(1);
    let (config, scheduler) = cached(identity_config(8), instances, &cache);
    let clients: Vec<_> = (0..5).map(|_| ask(&scheduler, &config, 1.0)).collect();
    assert_eq!((gate.entered(), scheduler.pending()), (1, 0));
    let other = ask(&scheduler, &config, 2.0);
    assert_eq!(scheduler.pending(), 1);
    gate.release();
    clients.iter().for_each(|(_, answers)| assert_eq!(answers.next_ok(), 1.0));
    assert_eq!(gate.entered(), 1);
    gate.release();
    assert_eq!(other.1.next_ok(), 2.0);
    assert_eq!((looks(&scheduler), counts(&scheduler)), ((2, 4, 2), (6, [0; 4])));
    assert_eq!((values(&cache).hits, values(&cache).misses), (4, 2));
}

#[test]
fn nobody_fails_because_another_ones_run_failed() {
    let cache = local();
    let (enter, entered) = mpsc::channel();
    let (leave, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let instance = TestInstance::with_hook(move |batch| {
        let _ = enter.send(batch.size());
        wait.lock().unwrap().recv().unwrap()
    });
    let config = batching(preferred(8));
    let (config, scheduler) = cached(config, vec![Box::new(instance)], &cache);
    let clients: Vec<_> = (0..4).map(|_| ask(&scheduler, &config, 1.0)).collect();
    assert_eq!(entered.recv_timeout(LONG).unwrap(), 1);
    leave.send(Err(Error::internal("once"))).unwrap();
    assert_eq!(clients[0].1.next_error().2, "once");
    (0..3).for_each(|_| leave.send(Ok(())).unwrap());
    clients[1..].iter().for_each(|(_, answers)| assert_eq!(answers.next_ok(), 1.0));
    assert_eq!(entered.try_iter().sum::<usize>(), 3, "each of the others runs");
    assert_eq!(counts(&scheduler), (3, [0, 0, 1, 0]));
    assert_eq!(values(&cache).entries, 1, "the error is not stored");
    assert_eq!(ask(&scheduler, &config, 1.0).1.next_ok(), 1.0);
    assert!(entered.try_recv().is_err(), "the answer is");
}

#[test]
fn a_cancelled_first_request_does_not_take_the_others_with_it() {
    let cache = local();
    let (gate, stop, instance) = stoppable();
    let (config, scheduler) = cached(identity_config(8), vec![instance], &cache);
    let clients: Vec<_> = (0..4).map(|_| ask(&scheduler, &config, 1.0)).collect();
    assert_eq!(gate.entered(), 1);
    for left in [0, 2] {
        scheduler.cancel(clients[left].0.clone());
        assert_eq!(clients[left].1.next_error().1, ErrorCode::Cancelled, "at once");
    }
    assert!(!stop.now.load(Ordering::SeqCst));
    gate.release();
    assert_eq!([&clients[1], &clients[3]].map(|(_, answers)| answers.next_ok()), [1.0; 2]);
    assert_eq!((looks(&scheduler), counts(&scheduler)), ((1, 1, 1), (2, [0, 2, 0, 0])));
}

#[test]
fn when_all_have_left_the_run_is_stopped_and_who_comes_then_runs_anew() {
    let cache = local();
    let (gate, stop, instance) = stoppable();
    let (config, scheduler) = cached(identity_config(8), vec![instance], &cache);
    let clients: Vec<_> = (0..3).map(|_| ask(&scheduler, &config, 1.0)).collect();
    assert_eq!(gate.entered(), 1);
    clients.iter().for_each(|(ticket, _)| scheduler.cancel(ticket.clone()));
    assert!(stop.now.load(Ordering::SeqCst));
    let late = ask(&scheduler, &config, 1.0);
    assert_eq!(scheduler.pending(), 1);
    gate.release();
    clients.iter().for_each(|(_, answers)| assert_eq!(answers.next_error().1, ErrorCode::Cancelled));
    assert_eq!(gate.entered(), 1);
    gate.release();
    assert_eq!(late.1.next_ok(), 1.0);
    assert_eq!((looks(&scheduler), counts(&scheduler)), ((1, 0, 1), (1, [0, 3, 0, 0])));
}

#[test]
fn a_queued_run_is_dropped_when_all_have_left() {
    let (gate, instances) = gated(1);
    let (config, scheduler) = cached(identity_config(8), instances, &local());
    let busy = ask(&scheduler, &config, 0.0);
    assert_eq!(gate.entered(), 1);
    let clients = [(); 2].map(|()| ask(&scheduler, &config, 1.0));
    clients.iter().for_each(|(ticket, _)| scheduler.cancel(ticket.clone()));
    assert_eq!(scheduler.pending(), 0, "at once");
    clients.iter().for_each(|(_, answers)| assert_eq!(answers.next_error().1, ErrorCode::Cancelled));
    gate.release();
    assert_eq!(busy.1.next_ok(), 0.0);
    assert_eq!(counts(&scheduler), (1, [0, 2, 0, 0]));
}

#[test]
fn a_refused_first_request_is_refused_and_counted_nowhere() {
    let (gate, instances) = gated(1);
    let policy = QueuePolicy { max_queue_size: 1, ..Default::default() };
    let config = batching(DynamicBatching { default_queue_policy: policy, ..preferred(8) });
    let (config, scheduler) = cached(config, instances, &local());
    let busy = ask(&scheduler, &config, 0.0);
    assert_eq!(gate.entered(), 1);
    let queued = ask(&scheduler, &config, 1.0);
    let answers = Answers::new();
    for _ in 0..2 {
        let text = refused(&scheduler, identity_request(&config, 1, 2.0), &answers);
        assert_eq!(text, "[request id: <id_unknown>] Exceeds maximum queue size");
    }
    let joined = ask(&scheduler, &config, 1.0);
    (0..2).for_each(|_| gate.release());
    assert_eq!([busy, queued, joined].map(|(_, answers)| answers.next_ok()), [0.0, 1.0, 1.0]);
    assert_eq!(counts(&scheduler), (3, [0; 4]));
    assert!(answers.ended());
}

#[test]
fn stopping_answers_all_that_wait() {
    let (gate, instances) = gated(1);
    let (config, scheduler) = cached(identity_config(8), instances, &local());
    let clients: Vec<_> = (0..4).map(|_| ask(&scheduler, &config, 1.0)).collect();
    assert_eq!(gate.entered(), 1);
    scheduler.stop();
    let text = refused(&scheduler, identity_request(&config, 1, 2.0), &Answers::new());
    assert!(text.contains("Server is stopping"), "{text}");
    drop(gate); // the run fails, and nothing runs again
    assert_eq!(clients[0].1.next_error().2, "gate closed");
    for (_, answers) in &clients[1..] {
        let (_, code, text) = answers.next_error();
        assert_eq!(code, ErrorCode::Unavailable);
        assert!(text.contains("Server is stopping"), "{text}");
    }
    scheduler.join();
    assert_eq!(counts(&scheduler), (0, [3, 0, 1, 0]));
}

#[test]
fn dropping_a_scheduler_finishes_what_waits() {
    let (gate, instances) = gated(1);
    let (config, scheduler) = cached(identity_config(8), instances, &local());
    let clients: Vec<_> = (0..3).map(|_| ask(&scheduler, &config, 1.0)).collect();
    assert_eq!(gate.entered(), 1);
    drop(scheduler);
    gate.release();
    for (_, answers) in clients {
        assert_eq!(answers.next_ok(), 1.0);
        assert!(answers.ended());
    }
}

#[test]
fn an_answer_from_the_cache_does_not_overtake_where_order_is_preserved() {
    let (gate, instances) = gated(1);
    let config = batching(DynamicBatching { preserve_ordering: true, ..preferred(1) });
    let (config, scheduler) = cached(config, instances, &local());
    let first = ask(&scheduler, &config, 1.0);
    assert_eq!(gate.entered(), 1);
    gate.release();
    assert_eq!(first.1.next_ok(), 1.0);
    while ask_at_once(&scheduler, &config, 1.0).is_none() {
        gate.entered(); // the instance was not idle yet
        gate.release();
    }
    let slow = ask(&scheduler, &config, 2.0);
    assert_eq!(gate.entered(), 1);
    let behind = ask(&scheduler, &config, 1.0);
    assert!(behind.1.receiver.try_recv().is_err());
    (0..2).for_each(|_| gate.release());
    assert_eq!([slow, behind].map(|(_, answers)| answers.next_ok()), [2.0, 1.0]);
}

fn ask_at_once(scheduler: &Scheduler, config: &ModelConfig, value: f32) -> Option<()> {
    let (_, answers) = ask(scheduler, config, value);
    answers.receiver.try_recv().ok().map(|(_, answer)| assert!(answer.is_ok()))
}

/// An ensemble of `a` and `b` that has a cache, as its models do not.
fn cached_ensemble(cache: &Arc<ResponseCache>) -> (Arc<Parts>, Arc<ModelConfig>, Scheduler) {
    let parts = Arc::<Parts>::default();
    load(&parts, cache, &["a", "b"]);
    let (config, ensemble) = chain(&["a", "b"]);
    let config = ModelConfig { response_cache: true, ..config };
    let Fixture { config, scheduler, .. } = Fixture::new(parts.clone(), (config, ensemble));
    (parts, config, scheduler.with_cache(cache.clone(), cache.identity()))
}

/// Loads models anew, of a server with this cache.
fn load(parts: &Parts, cache: &Arc<ResponseCache>, names: &[&str]) {
    parts.free(names);
    names.iter().for_each(|name| parts.change(name, |part| part.with_cache(cache.clone(), cache.identity())));
}

fn to_ensemble(config: &ModelConfig, value: f32, sequence: Sequence) -> ValidRequest {
    let input = InputTensor {
        name: config.inputs[0].name.to_string(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&[1, 1]),
        data: value.to_le_bytes().to_vec().into(),
    };
    ValidRequest::new(InferRequest { inputs: vec![input], sequence, ..Default::default() }, config).unwrap()
}

#[test]
fn an_ensemble_is_cached_until_one_of_its_models_is_loaded_anew() {
    let cache = local();
    let (parts, config, scheduler) = cached_ensemble(&cache);
    let answers = Answers::new();
    let ask = |times: usize| {
        for _ in 0..times {
            let request = to_ensemble(&config, 1.0, Sequence::default());
            enqueue(&scheduler, request, answers.responder(1.0));
            assert_eq!(answers.next_ok(), 1.0);
        }
        (looks(&scheduler), parts.counts("a").inference_count, parts.counts("b").inference_count)
    };
    assert_eq!(ask(3), ((1, 2, 1), 1, 1));
    load(&parts, &cache, &["b"]);
    assert_eq!(ask(2), ((2, 3, 2), 2, 1));
    assert_eq!(cache.values().unwrap().entries, 2);
}

#[test]
fn an_ensemble_without_one_of_its_models_has_no_answers() {
    let cache = local();
    let (parts, config, scheduler) = cached_ensemble(&cache);
    let answers = Answers::new();
    let ask = || {
        let request = to_ensemble(&config, 1.0, Sequence::default());
        enqueue(&scheduler, request, answers.responder(1.0));
        answers.next().1.map_err(|error| error.code())
    };
    assert!(ask().is_ok());
    parts.remove("b");
    assert_eq!(ask().unwrap_err(), ErrorCode::NotFound);
}

#[test]
fn sequences_pass_by_the_cache() {
    let cache = local();
    let (parts, config, scheduler) = cached_ensemble(&cache);
    let answers = Answers::new();
    for _ in 0..2 {
        let sequence = Sequence { id: CorrelationId::Number(7), start: true, end: true };
        enqueue(&scheduler, to_ensemble(&config, 1.0, sequence), answers.responder(1.0));
        assert_eq!(answers.next_ok(), 1.0);
    }
    assert_eq!((looks(&scheduler), parts.counts("a").inference_count), ((2, 0, 0), 2));
    assert_eq!(cache.values().unwrap().entries, 0);
}

/// A cache elsewhere that answers when the test says so.
#[derive(Debug, Default)]
struct Elsewhere {
    looks: Mutex<Vec<Look>>,
    stored: Mutex<Vec<(CacheKey, InferResponse)>>,
    is_down: std::sync::atomic::AtomicBool,
}

struct Look(CacheKey, Found);

impl std::fmt::Debug for Look {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl SharedCache for Elsewhere {
    fn look_up(&self, key: CacheKey, found: Found) -> Result<(), Found> {
        if self.is_down.load(Ordering::SeqCst) {
            return Err(found);
        }
        self.looks.lock().unwrap().push(Look(key, found));
        Ok(())
    }

    fn insert(&self, key: CacheKey, response: &InferResponse) {
        self.stored.lock().unwrap().push((key, response.clone()));
    }
}

impl Elsewhere {
    /// Answers the one look that is open.
    fn answer(&self, response: Option<InferResponse>) {
        let looks = std::mem::take(&mut *self.looks.lock().unwrap());
        assert_eq!(looks.len(), 1);
        looks.into_iter().for_each(|Look(_, found)| found(response.clone()));
    }

    fn stored(&self) -> InferResponse {
        self.stored.lock().unwrap()[0].1.clone()
    }
}

fn elsewhere() -> (Arc<Elsewhere>, Arc<AtomicUsize>, Arc<ModelConfig>, Scheduler) {
    let shared = Arc::new(Elsewhere::default());
    let cache = Arc::new(ResponseCache::shared(shared.clone()));
    assert!(cache.is_shared() && cache.values().is_none());
    let (runs, instance) = counting();
    let config = ModelConfig { response_cache: true, ..identity_config(8) };
    let (config, scheduler) = start(config, vec![instance]);
    (shared, runs, config, scheduler.with_cache(cache, ModelIdentity([3; 32])))
}

#[test]
fn what_is_found_elsewhere_answers_all_that_wait() {
    let (shared, runs, config, scheduler) = elsewhere();
    let clients = [(); 3].map(|()| ask(&scheduler, &config, 1.0));
    shared.answer(None);
    clients.iter().for_each(|(_, answers)| assert_eq!(answers.next_ok(), 1.0));
    assert_eq!(looks(&scheduler), (1, 2, 1));
    let clients = [(); 3].map(|()| ask(&scheduler, &config, 1.0));
    assert!(clients.iter().all(|(_, answers)| answers.receiver.try_recv().is_err()));
    shared.answer(Some(shared.stored()));
    clients.iter().for_each(|(_, answers)| assert_eq!(answers.next_ok(), 1.0));
    assert_eq!((looks(&scheduler), runs.load(Ordering::SeqCst)), ((1, 5, 1), 1));
}

#[test]
fn what_cannot_be_an_answer_is_none() {
    let (shared, runs, config, scheduler) = elsewhere();
    let (_, answers) = ask(&scheduler, &config, 1.0);
    shared.answer(None);
    assert_eq!(answers.next_ok(), 1.0);
    let mut broken = shared.stored();
    broken.outputs[0].data = Bytes::new();
    let (_, answers) = ask(&scheduler, &config, 1.0);
    shared.answer(Some(broken));
    assert_eq!((answers.next_ok(), runs.load(Ordering::SeqCst)), (1.0, 2));
}

#[test]
fn without_the_cache_elsewhere_requests_run() {
    let (shared, runs, config, scheduler) = elsewhere();
    shared.is_down.store(true, Ordering::SeqCst);
    assert_eq!([(); 3].map(|()| ask(&scheduler, &config, 1.0).1.next_ok()), [1.0; 3]);
    assert_eq!((runs.load(Ordering::SeqCst), looks(&scheduler)), (3, (3, 0, 3)));
}

#[test]
fn who_waits_for_a_look_elsewhere_can_leave_and_is_refused_by_a_stop() {
    let (shared, runs, config, scheduler) = elsewhere();
    let clients = [(); 3].map(|()| ask(&scheduler, &config, 1.0));
    scheduler.cancel(clients[0].0.clone());
    assert_eq!(clients[0].1.next_error().1, ErrorCode::Cancelled, "at once");
    shared.answer(None);
    assert_eq!([&clients[1], &clients[2]].map(|(_, answers)| answers.next_ok()), [1.0; 2]);
    let alone = ask(&scheduler, &config, 2.0);
    scheduler.cancel(alone.0.clone());
    assert_eq!(alone.1.next_error().1, ErrorCode::Cancelled);
    shared.answer(None); // for nobody
    let late = [(); 2].map(|()| ask(&scheduler, &config, 3.0));
    scheduler.join();
    shared.answer(None);
    late.iter().for_each(|(_, answers)| assert_eq!(answers.next_error().1, ErrorCode::Unavailable));
    assert_eq!((runs.load(Ordering::SeqCst), counts(&scheduler)), (1, (2, [2, 2, 0, 0])));
}

#[test]
fn a_look_that_is_dropped_runs_nothing_and_answers_all() {
    let (shared, runs, config, scheduler) = elsewhere();
    let clients = [(); 2].map(|()| ask(&scheduler, &config, 1.0));
    shared.looks.lock().unwrap().clear();
    clients.iter().for_each(|(_, answers)| assert_eq!(answers.next_ok(), 1.0));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[test]
fn eight_threads_that_ask_the_same_and_cancel_lose_nothing() {
    const EACH: usize = 400;
    let cache = Arc::new(ResponseCache::local(4_000)); // a few answers fit
    let instances = (0..2).map(|_| Box::new(TestInstance::identity()) as Box<dyn Instance>).collect();
    let (config, scheduler) = cached(batching(preferred(8)), instances, &cache);
    let (ok, gone) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begin = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (config, scheduler, ok, gone, begin) = (&config, &scheduler, &ok, &gone, &begin);
            scope.spawn(move || {
                begin.wait();
                for i in 0..EACH {
                    let answers = Answers::new();
                    let value = (i % 40) as f32;
                    let queued = scheduler
                        .enqueue(identity_request(config, 1, value), answers.responder(value))
                        .unwrap();
                    if (i + thread) % 3 == 0 {
                        scheduler.cancel(queued.ticket);
                    }
                    if let Some(mut lead) = queued.lead {
                        while lead.run() {}
                    }
                    let (_, result) = answers.next();
                    match result {
                        Ok(response) => {
                            assert_eq!(response.outputs[0].data[..], value.to_le_bytes());
                            ok.fetch_add(1, Ordering::SeqCst);
                        }
                        Err(error) => {
                            assert_eq!(error.code(), ErrorCode::Cancelled);
                            gone.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                    assert!(answers.ended(), "one answer");
                }
            });
        }
    });
    scheduler.join();
    let (ok, gone) = (ok.into_inner() as u64, gone.into_inner() as u64);
    let statistics = scheduler.statistics().snapshot();
    assert_eq!(ok + gone, 8 * EACH as u64);
    // A run whose request has left may still count as that of another.
    assert!(statistics.success.count >= ok && statistics.failures[1] >= gone, "{statistics:?}");
    assert_eq!(statistics.failures[2], 0);
    let values = values(&cache);
    assert!(values.hits > 0 && values.evictions > 0 && values.utilization <= 1.0, "{values:?}");
}
