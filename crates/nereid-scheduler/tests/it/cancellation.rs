//! Requests that nobody waits for any more: in the queue, in a batch, and between the two.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::sync::{Barrier, Weak};

use bytes::Bytes;
use nereid_core::backend::Terminate;
use nereid_scheduler::statistics::Counts;

use super::*;

/// What tells a [`stoppable`] instance to stop.
#[derive(Default)]
pub(super) struct Stop {
    pub(super) now: AtomicBool,
    times: AtomicUsize,
}

impl Terminate for Stop {
    fn terminate(&self) {
        self.now.store(true, Ordering::SeqCst);
        self.times.fetch_add(1, Ordering::SeqCst);
    }

    fn reset(&self) {
        self.now.store(false, Ordering::SeqCst);
    }
}

/// An instance that reports each batch's size, waits for leave, and fails if it was told to stop by then.
pub(super) fn stoppable() -> (Gate, Arc<Stop>, Box<dyn Instance>) {
    let (enter, entered) = mpsc::channel();
    let (leave, wait) = mpsc::channel();
    let wait = Mutex::new(wait);
    let stop = Arc::new(Stop::default());
    let seen = stop.clone();
    let instance = TestInstance::with_hook(move |batch| {
        let _ = enter.send(batch.size());
        wait.lock().unwrap().recv().map_err(|_| Error::internal("gate closed"))?;
        match seen.now.load(Ordering::SeqCst) {
            true => Err(Error::internal("told to stop")),
            false => Ok(()),
        }
    });
    (Gate { entered, leave }, stop.clone(), Box::new(instance.terminated_by(stop)))
}

fn send(scheduler: &Scheduler, config: &ModelConfig, answers: &Answers, tag: f32) -> Ticket {
    enqueue(scheduler, identity_request(config, 1, tag), answers.responder(tag))
}

fn cancelled(tag: f32) -> (f32, ErrorCode, String) {
    (tag, ErrorCode::Cancelled, String::new())
}

/// Successes, and failures by reason.
pub(super) fn counts(scheduler: &Scheduler) -> (u64, [u64; 4]) {
    let Counts { success, failures, fail, .. } = scheduler.statistics().snapshot();
    assert_eq!(fail.count, failures.iter().sum::<u64>());
    (success.count, failures)
}

#[test]
fn a_waiting_request_leaves_at_once() {
    let (gate, instances) = gated(1);
    let policy = QueuePolicy { max_queue_size: 2, ..Default::default() };
    let config = batching(DynamicBatching { default_queue_policy: policy, ..preferred(8) });
    let (config, scheduler) = start(config, instances);
    let answers = Answers::new();
    send(&scheduler, &config, &answers, 0.0);
    assert_eq!(gate.entered(), 1);
    let first = send(&scheduler, &config, &answers, 1.0);
    send(&scheduler, &config, &answers, 2.0);
    assert!(refused(&scheduler, identity_request(&config, 1, 3.0), &answers).ends_with("maximum queue size"));
    for _ in 0..2 {
        scheduler.cancel(first.clone()); // the second time it is gone already
        assert_eq!(scheduler.pending(), 1, "while the instance is busy");
    }
    assert_eq!(answers.next_error(), cancelled(1.0));
    send(&scheduler, &config, &answers, 4.0); // there is room again
    gate.release();
    assert_eq!(gate.entered(), 2, "the cancelled one is not in the batch");
    gate.release();
    assert_eq!([answers.next_ok(), answers.next_ok(), answers.next_ok()], [0.0, 2.0, 4.0]);
    assert_eq!(counts(&scheduler), (3, [0, 1, 0, 0]));
}

#[test]
fn what_is_left_may_be_a_preferred_size() {
    let hour = DynamicBatching {
        preferred_batch_sizes: vec![2, 8],
        max_queue_delay_us: 3_600_000_000,
        ..Default::default()
    };
    let (config, scheduler) = start(batching(hour), vec![Box::new(TestInstance::identity())]);
    let answers = Answers::new();
    for _ in 0..20 {
        let first = enqueue(&scheduler, identity_request(&config, 3, 1.0), answers.responder(1.0));
        enqueue(&scheduler, identity_request(&config, 2, 2.0), answers.responder(2.0));
        scheduler.cancel(first);
        let mut seen = [answers.next(), answers.next()].map(|(tag, result)| (tag, result.is_ok()));
        seen.sort_by(|a, b| a.0.total_cmp(&b.0));
        assert_eq!(seen, [(1.0, false), (2.0, true)]);
    }
    assert_eq!(counts(&scheduler), (20, [0, 20, 0, 0]));
}

#[test]
fn the_tensors_of_a_cancelled_request_are_freed() {
    struct Data(#[expect(dead_code, reason = "only whether it lives is asked")] Arc<()>, [u8; 4]);
    impl AsRef<[u8]> for Data {
        fn as_ref(&self) -> &[u8] {
            &self.1
        }
    }
    let (gate, instances) = gated(1);
    let (config, scheduler) = start(identity_config(8), instances);
    let answers = Answers::new();
    send(&scheduler, &config, &answers, 0.0);
    assert_eq!(gate.entered(), 1);
    let held = Arc::new(());
    let input = InputTensor {
        name: "INPUT0".into(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&[1, 1]),
        data: Bytes::from_owner(Data(held.clone(), [0; 4])),
    };
    let request = InferRequest { inputs: vec![input], ..Default::default() };
    let request = ValidRequest::new(request, &config).unwrap();
    let ticket = enqueue(&scheduler, request, answers.responder(1.0));
    assert_eq!(Arc::strong_count(&held), 2);
    scheduler.cancel(ticket);
    assert_eq!(Arc::strong_count(&held), 1);
    gate.release();
}

#[test]
fn a_batch_is_stopped_when_its_last_client_goes() {
    let (gate, stop, instance) = stoppable();
    let (config, scheduler) = start(batching(preferred(8)), vec![instance]);
    let answers = Answers::new();
    send(&scheduler, &config, &answers, 0.0);
    assert_eq!(gate.entered(), 1);
    let batch = [1.0, 2.0, 3.0].map(|tag| send(&scheduler, &config, &answers, tag));
    gate.release();
    assert_eq!(answers.next_ok(), 0.0);
    assert_eq!(gate.entered(), 3);
    for (ticket, times) in batch.into_iter().zip([0, 0, 1]) {
        scheduler.cancel(ticket.clone());
        scheduler.cancel(ticket);
        assert_eq!(stop.times.load(Ordering::SeqCst), times);
    }
    gate.release();
    let seen = [answers.next_error(), answers.next_error(), answers.next_error()];
    assert_eq!(seen, [1.0, 2.0, 3.0].map(cancelled));
    send(&scheduler, &config, &answers, 4.0);
    assert_eq!(gate.entered(), 1);
    assert!(!stop.now.load(Ordering::SeqCst), "the next batch starts afresh");
    gate.release();
    assert_eq!(answers.next_ok(), 4.0);
    assert_eq!(counts(&scheduler), (2, [0, 3, 0, 0]));
}

#[test]
fn a_batch_that_someone_waits_for_runs_to_its_end() {
    let (gate, stop, instance) = stoppable();
    let (config, scheduler) = start(batching(preferred(8)), vec![instance]);
    let answers = Answers::new();
    send(&scheduler, &config, &answers, 0.0);
    assert_eq!(gate.entered(), 1);
    let batch = [1.0, 2.0].map(|tag| send(&scheduler, &config, &answers, tag));
    gate.release();
    assert_eq!(gate.entered(), 2);
    scheduler.cancel(batch[0].clone());
    gate.release();
    assert_eq!([answers.next_ok(), answers.next_ok(), answers.next_ok()], [0.0, 1.0, 2.0]);
    assert_eq!(stop.times.load(Ordering::SeqCst), 0);
    assert_eq!(counts(&scheduler), (3, [0; 4]));
}

/// A client that holds its answer until the test lets it go.
struct Slow {
    reached: Sender<()>,
    leave: Receiver<()>,
    result: Sender<Result<InferResponse>>,
}

impl Respond for Slow {
    fn respond(self: Box<Self>, result: Result<InferResponse>) -> Option<Continuation> {
        self.reached.send(()).unwrap();
        self.leave.recv_timeout(LONG).unwrap();
        self.result.send(result).unwrap();
        None
    }
}

fn slow() -> (Responder, Receiver<()>, Sender<()>, Receiver<Result<InferResponse>>) {
    let (reached, seen) = mpsc::channel();
    let (go, leave) = mpsc::channel();
    let (result, answer) = mpsc::channel();
    (Responder::new(Slow { reached, leave, result }), seen, go, answer)
}

#[test]
fn a_stop_that_comes_too_late_does_not_meet_the_next_batch() {
    let (gate, stop, instance) = stoppable();
    let (config, scheduler) = start(identity_config(8), vec![instance]);
    let answers = Answers::new();
    let (responder, reached, go, answer) = slow();
    let ticket = enqueue(&scheduler, identity_request(&config, 1, 1.0), responder);
    assert_eq!(gate.entered(), 1);
    gate.release();
    reached.recv_timeout(LONG).unwrap(); // the execution is over, the instance not yet idle
    scheduler.cancel(ticket.clone());
    assert!(stop.now.load(Ordering::SeqCst));
    send(&scheduler, &config, &answers, 2.0);
    go.send(()).unwrap();
    assert!(answer.recv_timeout(LONG).unwrap().is_ok());
    assert_eq!(gate.entered(), 1);
    assert!(!stop.now.load(Ordering::SeqCst));
    gate.release();
    assert_eq!(answers.next_ok(), 2.0);
    scheduler.cancel(ticket);
    assert_eq!((stop.times.load(Ordering::SeqCst), counts(&scheduler)), (1, (2, [0; 4])));
}

#[test]
fn a_backend_that_fails_by_itself_is_blamed() {
    let (gate, stop, instance) = stoppable();
    let (config, scheduler) = start(identity_config(8), vec![instance]);
    let answers = Answers::new();
    send(&scheduler, &config, &answers, 1.0);
    assert_eq!(gate.entered(), 1);
    stop.now.store(true, Ordering::SeqCst); // nobody told it through the scheduler
    gate.release();
    assert_eq!(answers.next_error(), (1.0, ErrorCode::Internal, "told to stop".into()));
    assert_eq!(counts(&scheduler), (0, [0, 0, 1, 0]));
}

#[test]
fn joining_ends_when_the_last_request_is_cancelled() {
    let (gate, instances) = gated(1);
    let policy = QueuePolicy { default_timeout_us: 3_600_000_000, ..Default::default() };
    let config = batching(DynamicBatching { default_queue_policy: policy, ..preferred(8) });
    let (config, scheduler) = start(config, instances);
    let answers = Answers::new();
    send(&scheduler, &config, &answers, 1.0);
    assert_eq!(gate.entered(), 1);
    let waiting = send(&scheduler, &config, &answers, 2.0);
    scheduler.stop();
    scheduler.cancel(waiting);
    assert_eq!(answers.next_error(), cancelled(2.0));
    let (joined, wait) = mpsc::channel();
    std::thread::spawn(move || {
        scheduler.join();
        joined.send(scheduler)
    });
    gate.release();
    assert_eq!(answers.next_ok(), 1.0);
    let _scheduler = wait.recv_timeout(LONG).expect("the threads end");
    assert_eq!(
        gate.entered.recv_timeout(LONG),
        Err(RecvTimeoutError::Disconnected),
        "the instances are gone"
    );
}

#[test]
fn a_lead_whose_request_is_cancelled_has_nothing_to_do() {
    let (config, scheduler) = start(batching(preferred(8)), vec![Box::new(TestInstance::identity())]);
    let answers = Answers::new();
    for i in 0..200 {
        drive(&scheduler, &config, &answers, i as f32);
        assert_eq!(answers.next_ok(), i as f32);
    }
    let mut lead = a_lead(&scheduler, &config, &answers);
    let second = send(&scheduler, &config, &answers, 1.0);
    scheduler.cancel(second);
    assert_eq!(answers.next_error(), cancelled(1.0));
    assert!(!lead.run());
    assert_eq!(answers.next_ok(), 0.5);
    assert!(!lead.run(), "and the queue is empty");
    assert_eq!(counts(&scheduler).1, [0, 1, 0, 0]);
}

/// A client that sends another request as soon as it is answered.
struct Again {
    scheduler: Weak<Scheduler>,
    config: Arc<ModelConfig>,
    next: Sender<(f32, Result<InferResponse>)>,
    answer: Sender<(f32, Result<InferResponse>)>,
}

impl Respond for Again {
    fn respond(self: Box<Self>, result: Result<InferResponse>) -> Option<Continuation> {
        let responder = Responder::new(Tagged(9.0, self.next));
        let scheduler = self.scheduler.upgrade().unwrap();
        drop(scheduler.enqueue(identity_request(&self.config, 1, 9.0), responder));
        self.answer.send((1.0, result)).unwrap();
        None
    }
}

#[test]
fn whoever_is_answered_may_enqueue() {
    type Cause = fn(&Scheduler, Ticket);
    let cancel: Cause = |scheduler, ticket| scheduler.cancel(ticket);
    let nothing: Cause = |_, _| {};
    for (cause, preserve_ordering, hasty, code) in [
        (nothing, false, false, None),
        (nothing, true, false, None),
        (cancel, false, false, Some(ErrorCode::Cancelled)),
        (nothing, false, true, Some(ErrorCode::Unavailable)), // the timer
    ] {
        let (gate, instances) = gated(1);
        let batching =
            DynamicBatching { default_queue_policy: overridable(), preserve_ordering, ..preferred(8) };
        let (config, scheduler) = start(self::batching(batching), instances);
        let scheduler = Arc::new(scheduler);
        let answers = Answers::new();
        if code.is_some() {
            send(&scheduler, &config, &answers, 0.0);
            assert_eq!(gate.entered(), 1);
        }
        let (next, answer) = (answers.sender.clone(), answers.sender.clone());
        let again = Again { scheduler: Arc::downgrade(&scheduler), config: config.clone(), next, answer };
        let request = if hasty { hasty_request(&config) } else { identity_request(&config, 1, 1.0) };
        let ticket = enqueue(&scheduler, request, Responder::new(again));
        cause(&scheduler, ticket);
        if code.is_none() {
            assert_eq!(gate.entered(), 1);
            gate.release();
        }
        let (tag, result) = answers.next();
        assert_eq!((tag, result.err().map(|error| error.code())), (1.0, code));
        drop(gate);
        drop(answers.next()); // the second request or, where one runs first, that one
    }
}

#[test]
fn an_ordered_answer_that_takes_long_holds_up_no_instance() {
    let (gate, instances) = gated(2);
    let config = batching(DynamicBatching { preserve_ordering: true, ..preferred(1) });
    let (config, scheduler) = start(ModelConfig { max_batch_size: 2, ..config }, instances);
    let answers = Answers::new();
    let (responder, reached, go, answer) = slow();
    enqueue(&scheduler, identity_request(&config, 1, 1.0), responder);
    assert_eq!(gate.entered(), 1);
    gate.release();
    reached.recv_timeout(LONG).unwrap();
    for tag in [2.0, 3.0, 4.0] {
        send(&scheduler, &config, &answers, tag);
        assert_eq!(gate.entered(), 1, "the other instance runs one after the other");
        gate.release();
    }
    assert!(answers.receiver.try_recv().is_err(), "they wait for the first");
    go.send(()).unwrap();
    assert!(answer.recv_timeout(LONG).unwrap().is_ok());
    assert_eq!([answers.next_ok(), answers.next_ok(), answers.next_ok()], [2.0, 3.0, 4.0]);
}

#[test]
fn eight_threads_that_cancel_lose_nothing_and_count_nothing_twice() {
    const EACH: usize = 500;
    let (mut instances, mut stops) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let stop = Arc::new(Stop::default());
        let seen = stop.clone();
        let instance = TestInstance::with_hook(move |_| match seen.now.load(Ordering::SeqCst) {
            true => Err(Error::internal("told to stop")),
            false => Ok(()),
        });
        instances.push(Box::new(instance.terminated_by(stop.clone())) as Box<dyn Instance>);
        stops.push(stop);
    }
    let (config, scheduler) = start(batching(preferred(8)), instances);
    let (ok, cancelled) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begin = Barrier::new(8);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (config, scheduler, ok, cancelled, begin) = (&config, &scheduler, &ok, &cancelled, &begin);
            scope.spawn(move || {
                let answers = Answers::new();
                begin.wait();
                for i in 0..EACH {
                    let tag = (thread * EACH + i) as f32;
                    let queued =
                        scheduler.enqueue(identity_request(config, 1, tag), answers.responder(tag)).unwrap();
                    if i % 3 == 0 {
                        scheduler.cancel(queued.ticket.clone());
                    }
                    if let Some(mut lead) = queued.lead {
                        while lead.run() {}
                    }
                    if i % 3 == 1 {
                        scheduler.cancel(queued.ticket);
                    }
                    match answers.next() {
                        (seen, Ok(_)) => {
                            assert_eq!(seen, tag);
                            ok.fetch_add(1, Ordering::SeqCst);
                        }
                        (seen, Err(error)) => {
                            assert_eq!((seen, error.code()), (tag, ErrorCode::Cancelled));
                            cancelled.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            });
        }
    });
    let (ok, cancelled) = (ok.into_inner() as u64, cancelled.into_inner() as u64);
    assert_eq!((ok + cancelled, counts(&scheduler)), (8 * EACH as u64, (ok, [0, cancelled, 0, 0])));
    assert!(cancelled > 0);
    scheduler.join();
    assert!(stops.iter().all(|stop| !stop.now.load(Ordering::SeqCst)), "every stop was taken back");
}
