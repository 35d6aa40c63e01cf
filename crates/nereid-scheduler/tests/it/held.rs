//! `TRITONSERVER_DELAY_SCHEDULER`: the first batch of a dynamic batcher waits until so many requests are there, once, and
//! nobody waits for ever.

use super::*;

fn held(
    config: ModelConfig,
    until: usize,
    instances: Vec<Box<dyn Instance>>,
) -> (Arc<ModelConfig>, Scheduler) {
    let config = Arc::new(config);
    let options = SchedulerOptions { delay_until_queued: until, ..options(config.clone(), instances) };
    (config, Scheduler::start(options).unwrap())
}

fn identity() -> Vec<Box<dyn Instance>> {
    vec![Box::new(TestInstance::identity())]
}

fn send(scheduler: &Scheduler, config: &ModelConfig, answers: &Answers, tag: f32) -> Ticket {
    enqueue(scheduler, identity_request(config, 1, tag), answers.responder(tag))
}

#[test]
fn the_first_batch_waits_for_so_many_requests_and_later_ones_do_not() {
    let (config, scheduler) = held(batching(preferred(8)), 3, identity());
    let answers = Answers::new();
    for tag in [1.0, 2.0, 3.0] {
        send(&scheduler, &config, &answers, tag);
    }
    assert_eq!([answers.next_ok(), answers.next_ok(), answers.next_ok()], [1.0, 2.0, 3.0]);
    let counts = scheduler.statistics().snapshot();
    assert_eq!(counts.batches.keys().copied().collect::<Vec<_>>(), [3]);
    send(&scheduler, &config, &answers, 4.0);
    assert_eq!(answers.next_ok(), 4.0);
}

#[test]
fn models_that_do_not_batch_dynamically_hold_nothing() {
    let (config, scheduler) = held(identity_config(8), 3, identity());
    let answers = Answers::new();
    send(&scheduler, &config, &answers, 1.0);
    assert_eq!(answers.next_ok(), 1.0);
}

#[test]
fn held_requests_leave_when_they_are_cancelled_or_time_out() {
    let policy = DynamicBatching { default_queue_policy: overridable(), ..preferred(8) };
    let (config, scheduler) = held(batching(policy), 3, identity());
    let answers = Answers::new();
    let ticket = send(&scheduler, &config, &answers, 1.0);
    scheduler.cancel(ticket);
    assert_eq!(answers.next_error(), (1.0, ErrorCode::Cancelled, String::new()));
    enqueue(&scheduler, hasty_request(&config), answers.responder(2.0));
    assert_eq!(answers.next_error(), (2.0, ErrorCode::Unavailable, "Request timeout expired".into()));
    // Neither of them counts any more.
    for tag in [3.0, 4.0] {
        send(&scheduler, &config, &answers, tag);
    }
    assert_eq!(scheduler.pending(), 2);
    send(&scheduler, &config, &answers, 5.0);
    assert_eq!([answers.next_ok(), answers.next_ok(), answers.next_ok()], [3.0, 4.0, 5.0]);
}

#[test]
fn nothing_waits_for_company_that_will_not_come() {
    let hour = DynamicBatching { max_queue_delay_us: 3_600_000_000, ..preferred(8) };
    let (config, scheduler) = held(batching(hour), 0, identity());
    let answers = Answers::new();
    send(&scheduler, &config, &answers, 1.0);
    scheduler.stop_waiting();
    assert_eq!(answers.next_ok(), 1.0);
    send(&scheduler, &config, &answers, 2.0);
    assert_eq!(answers.next_ok(), 2.0, "what comes all the same is served");
}

#[test]
fn held_requests_run_when_no_more_can_come() {
    for end in [Scheduler::release_held, Scheduler::stop_waiting, Scheduler::stop] {
        let (config, scheduler) = held(batching(preferred(8)), 3, identity());
        let answers = Answers::new();
        send(&scheduler, &config, &answers, 1.0);
        end(&scheduler);
        assert_eq!(answers.next_ok(), 1.0);
    }
    let (config, scheduler) = held(batching(preferred(8)), 3, identity());
    let answers = Answers::new();
    send(&scheduler, &config, &answers, 1.0);
    drop(scheduler);
    assert_eq!(answers.next_ok(), 1.0);
}
