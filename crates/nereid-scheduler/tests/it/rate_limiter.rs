//! Schedulers that share a rate limiter: who runs, who waits, and that resources come back whatever happens.

use std::sync::atomic::{AtomicUsize, Ordering};

use nereid_core::Timestamp;
use nereid_core::config::{InstanceSpec, RateLimiterSpec, ResourceSpec};
use nereid_scheduler::{RateLimiter, ResourceLimits};

use super::*;

/// `config` with instances that need so many copies of `R` each.
pub(super) fn needing(config: ModelConfig, priority: u32, copies: &[u32]) -> ModelConfig {
    let spec = |&count: &u32| InstanceSpec {
        rate_limiter: RateLimiterSpec {
            resources: vec![ResourceSpec { name: "R".into(), global: false, count }],
            priority,
        },
        ..Default::default()
    };
    ModelConfig { instances: copies.iter().map(spec).collect(), ..config }
}

pub(super) fn limiter() -> Arc<RateLimiter> {
    Arc::new(RateLimiter::new(ResourceLimits::default()))
}

pub(super) fn limited(
    limiter: &Arc<RateLimiter>,
    config: ModelConfig,
    instances: Vec<Box<dyn Instance>>,
) -> (Arc<ModelConfig>, Scheduler) {
    let config = Arc::new(config);
    let options = options(config.clone(), instances);
    let scheduler = Scheduler::start(SchedulerOptions { rate_limiter: Some(limiter.clone()), ..options });
    (config, scheduler.unwrap())
}

/// A model with one gated instance that needs the only copy of `R`.
fn gated_model(
    limiter: &Arc<RateLimiter>,
    config: ModelConfig,
) -> (Gate, Arc<ModelConfig>, Scheduler, Answers) {
    let (gate, instances) = gated(1);
    let (config, scheduler) = limited(limiter, needing(config, 1, &[1]), instances);
    (gate, config, scheduler, Answers::new())
}

impl Gate {
    /// Whether nothing has started, once so many instances wait for their turn.
    fn is_quiet_while(&self, waiting: usize, limiter: &RateLimiter) -> bool {
        wait_for(waiting, limiter);
        self.entered.try_recv().is_err()
    }
}

/// Until so many instances wait for their turn.
pub(super) fn wait_for(waiting: usize, limiter: &RateLimiter) {
    let start = Timestamp::now();
    while limiter.waiting() != waiting {
        assert!(Timestamp::now().since(start) < LONG, "{} instances wait, not {waiting}", limiter.waiting());
        std::thread::yield_now();
    }
}

#[test]
fn a_batch_grows_while_another_model_has_the_resource() {
    let limiter = limiter();
    let (busy, busy_config, first, first_answers) = gated_model(&limiter, identity_config(8));
    let (gate, config, second, answers) = gated_model(&limiter, batching(preferred(8)));
    enqueue(&first, identity_request(&busy_config, 1, 1.0), first_answers.responder(1.0));
    assert_eq!(busy.entered(), 1);
    for tag in [2.0, 3.0, 4.0] {
        enqueue(&second, identity_request(&config, 1, tag), answers.responder(tag));
    }
    assert_eq!(second.pending(), 3);
    assert!(gate.is_quiet_while(1, &limiter));
    busy.release();
    assert_eq!(first_answers.next_ok(), 1.0);
    assert_eq!(gate.entered(), 3, "one batch of all that came");
    gate.release();
    assert_eq!([answers.next_ok(), answers.next_ok(), answers.next_ok()], [2.0, 3.0, 4.0]);
}

#[test]
fn models_that_compete_run_by_priority() {
    let limiter = limiter();
    let (turns, order) = mpsc::channel();
    let (leave, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let start = |name: char, priority: u32| {
        let (turns, wait) = (turns.clone(), wait.clone());
        let instance = TestInstance::with_hook(move |_| {
            let _ = turns.send(name);
            wait.lock().unwrap().recv().map_err(|_| Error::internal("gate closed"))
        });
        limited(&limiter, needing(identity_config(0), priority, &[1]), vec![Box::new(instance)])
    };
    let models = [start('a', 1), start('b', 2), start('c', 4)];
    let (blocker, blocker_config, first, first_answers) = gated_model(&limiter, identity_config(0));
    enqueue(&first, identity_request(&blocker_config, 1, 1.0), first_answers.responder(1.0));
    blocker.entered();
    let answers = Answers::new();
    for (config, scheduler) in &models {
        for _ in 0..40 {
            enqueue(scheduler, identity_request(config, 1, 1.0), answers.responder(1.0));
        }
    }
    wait_for(3, &limiter);
    blocker.release();
    let mut counts = [0; 3];
    for _ in 0..70 {
        let model = order.recv_timeout(LONG).unwrap();
        assert!(order.try_recv().is_err(), "one at a time");
        counts[('a'..='c').position(|name| name == model).unwrap()] += 1;
        leave.send(()).unwrap();
    }
    assert_eq!(counts, [40, 20, 10]);
    drop((leave, order)); // what is left fails, one by one
    (0..120).for_each(|_| drop(answers.next()));
}

#[test]
fn instances_of_one_model_share_what_there_is() {
    let limiter = limiter();
    let (gate, instances) = gated(3);
    let (config, scheduler) = limited(&limiter, needing(identity_config(0), 1, &[2, 1, 1]), instances);
    let answers = Answers::new();
    for tag in [1.0, 2.0, 3.0, 4.0] {
        enqueue(&scheduler, identity_request(&config, 1, tag), answers.responder(tag));
    }
    gate.entered(); // the first instance, which needs both
    assert!(gate.is_quiet_while(2, &limiter));
    gate.release();
    assert_eq!(answers.next_ok(), 1.0);
    gate.entered();
    gate.entered();
    assert!(gate.is_quiet_while(1, &limiter));
    (0..3).for_each(|_| gate.release());
    let mut tags = [answers.next_ok(), answers.next_ok(), answers.next_ok()];
    tags.sort_by(f32::total_cmp);
    assert_eq!(tags, [2.0, 3.0, 4.0]);
}

#[test]
fn resources_come_back_whatever_becomes_of_a_batch() {
    let limiter = limiter();
    let instance = TestInstance::with_hook(|batch| match batch.requests()[0].inputs()[0].data[0] {
        1 => Err(Error::internal("bad")),
        2 => panic!("boom"),
        _ => Ok(()),
    });
    let (config, failing) = limited(&limiter, needing(identity_config(0), 1, &[1]), vec![Box::new(instance)]);
    let (gate, other_config, other, other_answers) = gated_model(&limiter, identity_config(0));
    let answers = Answers::new();
    for byte in [1, 2, 3] {
        let tag = f32::from_bits(byte);
        enqueue(&failing, identity_request(&config, 1, tag), answers.responder(tag));
        let (_, result) = answers.next();
        assert_eq!(result.is_ok(), byte == 3);
        enqueue(&other, identity_request(&other_config, 1, tag), other_answers.responder(tag));
        gate.entered();
        gate.release();
        assert_eq!(other_answers.next_ok(), tag);
    }
}

#[test]
fn a_request_that_leaves_makes_way_for_others() {
    let limiter = limiter();
    let (busy, busy_config, first, first_answers) = gated_model(&limiter, identity_config(0));
    let (_, config, second, answers) = gated_model(&limiter, identity_config(0));
    let (gate, third_config, third, third_answers) = gated_model(&limiter, identity_config(0));
    enqueue(&first, identity_request(&busy_config, 1, 1.0), first_answers.responder(1.0));
    busy.entered();
    let ticket = enqueue(&second, identity_request(&config, 1, 2.0), answers.responder(2.0));
    enqueue(&third, identity_request(&third_config, 1, 3.0), third_answers.responder(3.0));
    wait_for(2, &limiter);
    second.cancel(ticket);
    assert_eq!(answers.next_error().1, ErrorCode::Cancelled);
    wait_for(1, &limiter);
    busy.release();
    first_answers.next_ok();
    gate.entered();
    gate.release();
    assert_eq!(third_answers.next_ok(), 3.0);
}

#[test]
fn a_request_that_waits_for_its_turn_times_out() {
    let limiter = limiter();
    let (busy, busy_config, first, first_answers) = gated_model(&limiter, identity_config(0));
    let config = batching(DynamicBatching { default_queue_policy: overridable(), ..preferred(8) });
    let (gate, config, second, answers) = gated_model(&limiter, config);
    enqueue(&first, identity_request(&busy_config, 1, 1.0), first_answers.responder(1.0));
    busy.entered();
    enqueue(&second, hasty_request(&config), answers.responder(2.0));
    assert_eq!(answers.next_error(), (2.0, ErrorCode::Unavailable, "Request timeout expired".into()));
    wait_for(0, &limiter);
    busy.release();
    first_answers.next_ok();
    enqueue(&second, identity_request(&config, 1, 3.0), answers.responder(3.0));
    gate.entered();
    gate.release();
    assert_eq!(answers.next_ok(), 3.0);
}

#[test]
fn what_waits_for_its_turn_runs_before_the_scheduler_ends() {
    let limiter = limiter();
    let (busy, busy_config, first, first_answers) = gated_model(&limiter, identity_config(0));
    let (gate, config, second, answers) = gated_model(&limiter, batching(preferred(8)));
    enqueue(&first, identity_request(&busy_config, 1, 1.0), first_answers.responder(1.0));
    busy.entered();
    enqueue(&second, identity_request(&config, 1, 2.0), answers.responder(2.0));
    wait_for(1, &limiter);
    second.stop();
    std::thread::scope(|scope| {
        let joined = scope.spawn(|| second.join());
        busy.release();
        first_answers.next_ok();
        gate.entered();
        gate.release();
        assert_eq!(answers.next_ok(), 2.0);
        joined.join().unwrap();
    });
    assert!(answers.ended());
}

#[test]
fn a_scheduler_that_ends_leaves_its_resources_and_its_place() {
    let limiter = limiter();
    let (busy, busy_config, first, first_answers) = gated_model(&limiter, identity_config(0));
    let (gate, config, second, answers) = gated_model(&limiter, identity_config(0));
    enqueue(&first, identity_request(&busy_config, 1, 1.0), first_answers.responder(1.0));
    busy.entered();
    enqueue(&second, identity_request(&config, 1, 2.0), answers.responder(2.0));
    wait_for(1, &limiter);
    busy.release();
    first.join();
    drop(first);
    assert_eq!(first_answers.next_ok(), 1.0);
    gate.entered();
    gate.release();
    assert_eq!(answers.next_ok(), 2.0);
}

#[test]
fn instances_that_could_never_run_are_refused_and_leave_nothing() {
    let mut limits = ResourceLimits::default();
    limits.add("R", 3, None);
    let limiter = Arc::new(RateLimiter::new(limits));
    let start = |copies: &[u32]| {
        let instances = copies.iter().map(|_| Box::new(TestInstance::identity()) as Box<dyn Instance>);
        let config = Arc::new(needing(identity_config(0), 1, copies));
        let options = options(config.clone(), instances.collect());
        Scheduler::start(SchedulerOptions { rate_limiter: Some(limiter.clone()), ..options })
    };
    let error = start(&[3, 4]).unwrap_err();
    let expected = "Resource count for \"R\" is limited to 3 which will prevent scheduling of one or more model instances, \
                    the minimum required count is 4";
    assert_eq!((error.code(), error.message()), (ErrorCode::InvalidArg, expected));
    start(&[3, 3]).unwrap().join();
}

#[test]
fn models_without_settings_do_not_wait() {
    let limiter = limiter();
    let (busy, busy_config, first, first_answers) = gated_model(&limiter, identity_config(0));
    enqueue(&first, identity_request(&busy_config, 1, 1.0), first_answers.responder(1.0));
    busy.entered();
    let (gate, instances) = gated(1);
    let (config, free) = limited(&limiter, identity_config(0), instances);
    let answers = Answers::new();
    enqueue(&free, identity_request(&config, 1, 2.0), answers.responder(2.0));
    gate.entered();
    gate.release();
    assert_eq!(answers.next_ok(), 2.0);
    busy.release();
    first_answers.next_ok();
}

#[test]
fn many_models_and_clients_lose_nothing_and_never_take_too_much() {
    const EACH: usize = 300;
    let limiter = limiter();
    let in_use = Arc::new(AtomicUsize::new(0));
    // There are 3 copies, because one instance needs as many.
    let models: Vec<_> = [(1, vec![1, 2]), (2, vec![3]), (3, vec![2, 2])]
        .into_iter()
        .map(|(priority, copies)| {
            let instance = |count: &u32| {
                let (in_use, count) = (in_use.clone(), *count as usize);
                Box::new(TestInstance::with_hook(move |batch| {
                    assert!(in_use.fetch_add(count, Ordering::SeqCst) + count <= 3);
                    std::thread::yield_now();
                    in_use.fetch_sub(count, Ordering::SeqCst);
                    match batch.requests()[0].inputs()[0].data[2] % 16 {
                        0 => Err(Error::internal("bad")),
                        _ => Ok(()),
                    }
                })) as Box<dyn Instance>
            };
            let instances = copies.iter().map(instance).collect();
            limited(&limiter, needing(batching(preferred(8)), priority, &copies), instances)
        })
        .collect();
    std::thread::scope(|scope| {
        for thread in 0..6 {
            let (config, scheduler) = &models[thread % models.len()];
            scope.spawn(move || {
                let answers = Answers::new();
                for i in 0..EACH {
                    let tag = (thread * EACH + i) as f32;
                    let request = identity_request(config, 1, tag);
                    let queued = scheduler.enqueue(request, answers.responder(tag)).unwrap();
                    if i % 3 == 0 {
                        scheduler.cancel(queued.ticket);
                    }
                    if let Some(mut lead) = queued.lead {
                        while lead.run() {}
                    }
                    let (seen, result) = answers.next();
                    assert_eq!(seen, tag);
                    let error = result.err();
                    let expected = |e: &Error| e.code() == ErrorCode::Cancelled || e.message() == "bad";
                    assert!(error.as_ref().is_none_or(expected), "{error:?}");
                }
            });
        }
    });
    for (_, scheduler) in models {
        scheduler.join();
    }
}
