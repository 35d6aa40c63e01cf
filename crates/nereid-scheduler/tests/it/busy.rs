//! How busy instances are, as metrics show it: while a batch runs, after it, and when they are gone.

use std::thread;

use nereid_scheduler::{ActiveInstance, Busy, Reporters, SeriesId};

use super::*;

/// The scheduler of `config`, which counts in `reporters`.
fn counted(reporters: &Reporters, config: ModelConfig, instances: Vec<Box<dyn Instance>>) -> Scheduler {
    let statistics = reporters.version(SeriesId::default(), None, false);
    let options = SchedulerOptions { statistics, ..options(Arc::new(config), instances) };
    Scheduler::start(options).unwrap()
}

fn shown(reporters: &Reporters) -> Busy {
    reporters.series()[0].live.clone().unwrap().busy
}

/// What is shown as soon as it shows more than `before`.
fn grown(reporters: &Reporters, before: Busy) -> Busy {
    for _ in 0..LONG.as_millis() {
        let now = shown(reporters);
        assert!(now.total_ns >= before.total_ns, "{before:?} became {now:?}");
        if now.total_ns > before.total_ns {
            return now;
        }
        thread::sleep(Duration::from_millis(1));
    }
    panic!("{before:?} does not grow");
}

/// What is shown, when it does not change any more.
fn still(reporters: &Reporters) -> u64 {
    let before = shown(reporters).total_ns;
    thread::sleep(Duration::from_millis(5)); // nothing is waited for: a clock that went on would show it
    assert_eq!(shown(reporters).total_ns, before);
    before
}

#[test]
fn a_batch_counts_while_it_runs_and_however_it_ends() {
    let reporters = Reporters::default();
    let (gate, instances) = gated(2);
    let config = batching(preferred(8));
    let scheduler = counted(&reporters, config.clone(), instances);
    let (config, answers) = (Arc::new(config), Answers::new());
    assert_eq!((shown(&reporters).instances, still(&reporters)), (2, 0));
    assert_eq!(shown(&reporters).ratio(), Some(0.0));
    enqueue(&scheduler, identity_request(&config, 1, 1.0), answers.responder(1.0));
    assert_eq!(gate.entered(), 1);
    let first = grown(&reporters, Busy::default());
    grown(&reporters, first);
    assert_eq!(scheduler.statistics().snapshot().execution_count, 0, "it runs still");
    let ratio = shown(&reporters).ratio().unwrap();
    assert!(0.0 < ratio && ratio <= 0.5, "{ratio}: one of two instances");
    gate.release();
    assert_eq!(answers.next_ok(), 1.0);
    let first = still(&reporters);
    enqueue(&scheduler, identity_request(&config, 1, 2.0), answers.responder(2.0));
    assert_eq!(gate.entered(), 1);
    drop(gate); // it fails
    assert_eq!(answers.next_error().1, ErrorCode::Internal);
    assert!(still(&reporters) > first);
}

#[test]
fn instances_of_sequences_are_busy_too() {
    let reporters = Reporters::default();
    let (gate, instances) = sequence::accumulators(2);
    let config = sequence::direct(4);
    let scheduler = counted(&reporters, config.clone(), instances);
    let answers = Answers::new();
    assert_eq!((shown(&reporters).instances, still(&reporters)), (2, 0));
    enqueue(&scheduler, sequence::request(&config, 7, "+", 1.0, 0), answers.responder(1.0));
    assert_eq!(gate.entered(), 1);
    let first = grown(&reporters, Busy::default());
    grown(&reporters, first);
    gate.release();
    answers.next().1.unwrap();
    assert!(still(&reporters) > 0);
}

#[test]
fn time_of_an_instance_stays_when_another_version_takes_over() {
    let reporters = Reporters::default();
    let run = |scheduler: &Scheduler, gate: &Gate| {
        let answers = Answers::new();
        let config = Arc::new(identity_config(8));
        enqueue(scheduler, identity_request(&config, 1, 1.0), answers.responder(1.0));
        assert_eq!(gate.entered(), 1);
        let now = grown(&reporters, shown(&reporters));
        gate.release();
        assert_eq!(answers.next_ok(), 1.0);
        now
    };
    let (gate, instances) = gated(1);
    let first = counted(&reporters, identity_config(8), instances);
    run(&first, &gate);
    let (next_gate, instances) = gated(3);
    let second = counted(&reporters, identity_config(8), instances);
    let both = shown(&reporters);
    assert_eq!(both.instances, 4);
    first.join();
    drop(first);
    let after = shown(&reporters);
    assert_eq!((after.instances, after.total_ns), (3, both.total_ns));
    assert!(run(&second, &next_gate).total_ns > both.total_ns);
    second.join();
    drop(second);
    assert!(reporters.series()[0].live.is_none());
}

#[test]
fn instances_on_a_gpu_are_of_its_series() {
    let reporters = Reporters::default();
    let (gate, instances) = gated(1);
    let config = Arc::new(identity_config(8));
    let statistics = reporters.version(SeriesId::default(), None, false);
    let on_gpu = reporters.of_gpu(&statistics, &"GPU-0".into());
    let options = SchedulerOptions { statistics, ..options(config.clone(), instances) };
    let place = |active: ActiveInstance| ActiveInstance { statistics: Some(on_gpu.clone()), ..active };
    let instances = options.instances.into_iter().map(place).collect();
    let scheduler = Scheduler::start(SchedulerOptions { instances, ..options }).unwrap();
    let answers = Answers::new();
    enqueue(&scheduler, identity_request(&config, 1, 1.0), answers.responder(1.0));
    assert_eq!(gate.entered(), 1);
    gate.release();
    assert_eq!(answers.next_ok(), 1.0);
    let shown: Vec<_> = reporters.series().into_iter().map(|series| series.live.unwrap().busy).collect();
    assert_eq!((shown[0].instances, shown[0].total_ns, shown[0].ratio()), (0, 0, None));
    assert_eq!(shown[1].instances, 1);
    assert!(shown[1].total_ns > 0 && shown[1].ratio().is_some());
}
