//! The scheduler with its threads, driven by instances that block until the test lets them go.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod busy;
mod cache;
mod cancellation;
mod ensemble;
mod ensemble_trace;
mod held;
mod rate_limiter;
mod sequence;
mod statistics;
mod warm_up;

use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nereid_core::backend::Instance;
use nereid_core::config::{DynamicBatching, QueuePolicy, Scheduling};
use nereid_core::testing::{TestInstance, identity_config, identity_request};
use nereid_core::{
    Continuation, DataType, Error, ErrorCode, InferRequest, InferResponse, InputTensor, ModelConfig, Respond,
    Responder, Result, Shape, ValidRequest,
};
use nereid_scheduler::{Lead, Scheduler, SchedulerOptions, Ticket};

const LONG: Duration = Duration::from_secs(20);

/// Answers with their tags, in the order in which they come.
struct Answers {
    sender: Sender<(f32, Result<InferResponse>)>,
    receiver: Receiver<(f32, Result<InferResponse>)>,
}

struct Tagged(f32, Sender<(f32, Result<InferResponse>)>);

impl Respond for Tagged {
    fn respond(self: Box<Self>, result: Result<InferResponse>) -> Option<Continuation> {
        let _ = self.1.send((self.0, result));
        None
    }
}

impl Answers {
    fn new() -> Self {
        let (sender, receiver) = mpsc::channel();
        Self { sender, receiver }
    }

    fn responder(&self, tag: f32) -> Responder {
        Responder::new(Tagged(tag, self.sender.clone()))
    }

    fn next(&self) -> (f32, Result<InferResponse>) {
        self.receiver.recv_timeout(LONG).expect("every request is answered")
    }

    /// The next answer's tag, after checking that the answer is that request's own data.
    fn next_ok(&self) -> f32 {
        let (tag, result) = self.next();
        let data = &result.unwrap().outputs[0].data;
        assert!(data.chunks(4).all(|c| c == tag.to_le_bytes()), "answer {data:?} to request {tag}");
        tag
    }

    /// Whether no answer is left and none can come any more.
    fn ended(self) -> bool {
        drop(self.sender);
        matches!(self.receiver.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected))
    }

    fn next_error(&self) -> (f32, ErrorCode, String) {
        let (tag, result) = self.next();
        let error = result.unwrap_err();
        (tag, error.code(), error.message().to_owned())
    }
}

/// Instances that report each batch's size and wait for leave.
struct Gate {
    entered: Receiver<usize>,
    leave: Sender<()>,
}

fn gated(count: usize) -> (Gate, Vec<Box<dyn Instance>>) {
    let (enter, entered) = mpsc::channel();
    let (leave, wait) = mpsc::channel();
    let wait = Arc::new(Mutex::new(wait));
    let instances = (0..count).map(|_| {
        let (enter, wait) = (enter.clone(), wait.clone());
        Box::new(TestInstance::with_hook(move |batch| {
            let _ = enter.send(batch.size());
            wait.lock().unwrap().recv().map_err(|_| Error::internal("gate closed"))
        })) as Box<dyn Instance>
    });
    let instances = instances.collect();
    (Gate { entered, leave }, instances)
}

impl Gate {
    fn entered(&self) -> usize {
        self.entered.recv_timeout(LONG).expect("a batch starts")
    }

    fn release(&self) {
        self.leave.send(()).unwrap();
    }
}

fn start(config: ModelConfig, instances: Vec<Box<dyn Instance>>) -> (Arc<ModelConfig>, Scheduler) {
    let config = Arc::new(config);
    (config.clone(), Scheduler::start(options(config, instances)).unwrap())
}

fn options(config: Arc<ModelConfig>, instances: Vec<Box<dyn Instance>>) -> SchedulerOptions {
    SchedulerOptions {
        config,
        instances: instances.into_iter().map(Into::into).collect(),
        delay_until_queued: 0,
        delay_until_backlogged: 0,
        statistics: Arc::default(),
        rate_limiter: None,
    }
}

fn batching(batching: DynamicBatching) -> ModelConfig {
    ModelConfig { scheduling: Scheduling::DynamicBatching(batching), ..identity_config(8) }
}

/// Requests time out after an hour, unless they say otherwise.
fn overridable() -> QueuePolicy {
    QueuePolicy { default_timeout_us: 3_600_000_000, allow_timeout_override: true, ..Default::default() }
}

/// A request that times out after a microsecond.
fn hasty_request(config: &ModelConfig) -> ValidRequest {
    let input = InputTensor {
        name: "INPUT0".into(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&[1, 1]),
        data: vec![0; 4].into(),
    };
    let request = InferRequest { inputs: vec![input], timeout_us: 1, ..Default::default() };
    ValidRequest::new(request, config).unwrap()
}

fn preferred(size: u32) -> DynamicBatching {
    DynamicBatching { preferred_batch_sizes: vec![size], ..Default::default() }
}

/// Queues a request that must be accepted; a lead is left to the instances' threads.
fn enqueue(scheduler: &Scheduler, request: ValidRequest, responder: Responder) -> Ticket {
    scheduler.enqueue(request, responder).unwrap().ticket
}

/// The text with which a request is refused.
fn refused(scheduler: &Scheduler, request: ValidRequest, answers: &Answers) -> String {
    let error = scheduler.enqueue(request, answers.responder(f32::NAN)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Unavailable);
    error.message().to_owned()
}

#[test]
fn requests_that_arrive_while_the_instance_is_busy_share_the_next_batch() {
    let (gate, instances) = gated(1);
    let (config, scheduler) = start(batching(preferred(8)), instances);
    let answers = Answers::new();
    enqueue(&scheduler, identity_request(&config, 1, 1.0), answers.responder(1.0));
    assert_eq!(gate.entered(), 1);
    for tag in [2.0, 3.0, 4.0] {
        enqueue(&scheduler, identity_request(&config, 2, tag), answers.responder(tag));
    }
    assert_eq!(scheduler.pending(), 3);
    gate.release();
    assert_eq!(answers.next_ok(), 1.0);
    assert_eq!(gate.entered(), 6);
    gate.release();
    assert_eq!([answers.next_ok(), answers.next_ok(), answers.next_ok()], [2.0, 3.0, 4.0]);
    let counts = scheduler.statistics().snapshot();
    assert_eq!((counts.inference_count, counts.execution_count, counts.success.count), (7, 2, 4));
    assert_eq!(counts.batches.keys().copied().collect::<Vec<_>>(), [1, 6]);
}

#[test]
fn an_error_or_a_panic_fails_its_batch_and_nothing_else() {
    let instance = TestInstance::with_hook(|batch| match batch.requests()[0].inputs()[0].data[0] {
        1 => Err(Error::internal("onnx runtime error 2: bad")),
        2 => panic!("boom"),
        _ => Ok(()),
    });
    let (config, scheduler) = start(identity_config(8), vec![Box::new(instance)]);
    let answers = Answers::new();
    let tag = |first_byte: u32| f32::from_bits(first_byte);
    for byte in [1, 2, 3] {
        enqueue(&scheduler, identity_request(&config, 1, tag(byte)), answers.responder(tag(byte)));
    }
    assert_eq!(answers.next_error(), (tag(1), ErrorCode::Internal, "onnx runtime error 2: bad".into()));
    let (_, code, message) = answers.next_error();
    assert_eq!((code, &*message), (ErrorCode::Internal, "model 'identity' failed: backend panicked: boom"));
    assert_eq!(answers.next_ok(), tag(3));
    let counts = scheduler.statistics().snapshot();
    assert_eq!((counts.fail.count, counts.failures, counts.execution_count), (2, [0, 0, 2, 0], 1));
}

#[test]
fn a_full_queue_refuses_and_counts_nothing() {
    let (gate, instances) = gated(1);
    let policy = QueuePolicy { max_queue_size: 1, ..Default::default() };
    let config = batching(DynamicBatching { default_queue_policy: policy, ..preferred(8) });
    let (config, scheduler) = start(config, instances);
    let answers = Answers::new();
    enqueue(&scheduler, identity_request(&config, 1, 1.0), answers.responder(1.0));
    assert_eq!(gate.entered(), 1);
    enqueue(&scheduler, identity_request(&config, 1, 2.0), answers.responder(2.0));
    let full = "[request id: <id_unknown>] Exceeds maximum queue size";
    assert_eq!(refused(&scheduler, identity_request(&config, 1, 3.0), &answers), full);
    assert_eq!(scheduler.statistics().snapshot().fail.count, 0);
    gate.release();
    gate.release();
    assert_eq!([answers.next_ok(), answers.next_ok()], [1.0, 2.0]);
}

#[test]
fn a_queue_timeout_answers_while_every_instance_is_busy() {
    let (gate, instances) = gated(1);
    let config = batching(DynamicBatching { default_queue_policy: overridable(), ..preferred(8) });
    let (config, scheduler) = start(config, instances);
    let answers = Answers::new();
    enqueue(&scheduler, identity_request(&config, 1, 1.0), answers.responder(1.0));
    assert_eq!(gate.entered(), 1);
    enqueue(&scheduler, hasty_request(&config), answers.responder(2.0));
    assert_eq!(answers.next_error(), (2.0, ErrorCode::Unavailable, "Request timeout expired".into()));
    gate.release();
    assert_eq!(answers.next_ok(), 1.0);
    assert_eq!(scheduler.statistics().snapshot().failures, [1, 0, 0, 0]);
}

#[test]
fn order_is_preserved_over_several_instances() {
    let (enter, entered) = mpsc::channel();
    let (first, wait) = mpsc::channel::<()>();
    let wait = Arc::new(Mutex::new(wait));
    let instance = || {
        let (enter, wait) = (enter.clone(), wait.clone());
        Box::new(TestInstance::with_hook(move |batch| {
            let data = &batch.requests()[0].inputs()[0].data;
            let _ = enter.send(f32::from_le_bytes(data[..4].try_into().unwrap()));
            if data[..] == 1.0_f32.to_le_bytes() {
                let _ = wait.lock().unwrap().recv(); // the first request is the slowest
            }
            Ok(())
        })) as Box<dyn Instance>
    };
    let config = batching(DynamicBatching { preserve_ordering: true, ..preferred(1) });
    let (config, scheduler) =
        start(ModelConfig { max_batch_size: 2, ..config }, vec![instance(), instance()]);
    let answers = Answers::new();
    for tag in [1.0, 2.0, 3.0] {
        enqueue(&scheduler, identity_request(&config, 1, tag), answers.responder(tag));
    }
    for _ in 0..3 {
        entered.recv_timeout(LONG).unwrap();
    }
    assert!(answers.receiver.try_recv().is_err(), "2 and 3 wait for 1");
    first.send(()).unwrap();
    assert_eq!([answers.next_ok(), answers.next_ok(), answers.next_ok()], [1.0, 2.0, 3.0]);
}

#[test]
fn stopping_refuses_the_new_and_finishes_the_old_without_delay() {
    let config = batching(DynamicBatching { max_queue_delay_us: 3_600_000_000, ..preferred(8) });
    let (config, scheduler) = start(config, vec![Box::new(TestInstance::identity())]);
    let answers = Answers::new();
    enqueue(&scheduler, identity_request(&config, 1, 1.0), answers.responder(1.0));
    scheduler.stop();
    let text = "Server is stopping, scheduler for model has stopped accepting new inference requests";
    let refusal = refused(&scheduler, identity_request(&config, 1, 2.0), &answers);
    assert_eq!(refusal, format!("[request id: <id_unknown>] {text}"));
    assert_eq!(answers.next_ok(), 1.0);
    drop(scheduler);
    assert!(answers.ended(), "the refused one is not answered, too");
}

#[test]
fn a_request_that_cannot_join_sends_the_waiting_batch_at_once() {
    let hour = DynamicBatching { max_queue_delay_us: 3_600_000_000, ..preferred(8) };
    let (config, scheduler) = start(batching(hour), vec![Box::new(TestInstance::identity())]);
    let answers = Answers::new();
    enqueue(&scheduler, identity_request(&config, 1, 1.0), answers.responder(1.0));
    let wide = InputTensor {
        name: "INPUT0".into(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&[1, 2]),
        data: [2.0_f32.to_le_bytes(), 2.0_f32.to_le_bytes()].concat().into(),
    };
    let wide = InferRequest { inputs: vec![wide], ..Default::default() };
    enqueue(&scheduler, ValidRequest::new(wide, &config).unwrap(), answers.responder(2.0));
    assert_eq!(answers.next_ok(), 1.0);
    scheduler.stop();
    assert_eq!(answers.next_ok(), 2.0);
}

/// Enqueues, runs leads to their end, and says how many there were.
fn drive(scheduler: &Scheduler, config: &ModelConfig, answers: &Answers, tag: f32) -> usize {
    match scheduler.enqueue(identity_request(config, 1, tag), answers.responder(tag)).unwrap().lead {
        Some(mut lead) => {
            while lead.run() {}
            1
        }
        None => 0,
    }
}

/// Sends 0.5 until a lead comes back with it, which is when an instance is idle again.
fn a_lead(scheduler: &Scheduler, config: &ModelConfig, answers: &Answers) -> Lead {
    for _ in 0..1_000_000 {
        let queued = scheduler.enqueue(identity_request(config, 1, 0.5), answers.responder(0.5)).unwrap();
        match queued.lead {
            Some(lead) => return lead,
            None => assert_eq!(answers.next_ok(), 0.5),
        }
    }
    panic!("an identity takes microseconds, and yet there is no lead");
}

#[test]
fn a_fast_model_runs_on_the_calling_thread() {
    let thread_of_batch = Arc::new(Mutex::new(None));
    let seen = thread_of_batch.clone();
    let instance = TestInstance::with_hook(move |_| {
        *seen.lock().unwrap() = Some(std::thread::current().id());
        Ok(())
    });
    let (config, scheduler) = start(batching(preferred(8)), vec![Box::new(instance)]);
    let answers = Answers::new();
    for i in 0..200 {
        drive(&scheduler, &config, &answers, i as f32);
        assert_eq!(answers.next_ok(), i as f32);
    }
    let mut lead = a_lead(&scheduler, &config, &answers);
    // The batches of one tick run together, under one lead.
    let second = scheduler.enqueue(identity_request(&config, 1, 1.5), answers.responder(1.5));
    assert!(second.unwrap().lead.is_none());
    assert!(!lead.run());
    assert_eq!(*thread_of_batch.lock().unwrap(), Some(std::thread::current().id()));
    assert_eq!([answers.next_ok(), answers.next_ok()], [0.5, 1.5]);
    assert!(scheduler.statistics().snapshot().batches.contains_key(&2));
    // A lead that is dropped hands its work over.
    enqueue(&scheduler, identity_request(&config, 1, 2.5), answers.responder(2.5));
    assert_eq!(answers.next_ok(), 2.5);
}

#[test]
fn eight_threads_lose_nothing() {
    let instances = (0..3).map(|_| Box::new(TestInstance::identity()) as Box<dyn Instance>).collect();
    let (config, scheduler) = start(batching(preferred(8)), instances);
    std::thread::scope(|scope| {
        for t in 0..8 {
            let (config, scheduler) = (&config, &scheduler);
            scope.spawn(move || {
                let answers = Answers::new();
                for i in 0..500 {
                    drive(scheduler, config, &answers, (t * 1000 + i) as f32);
                    if i % 5 == 4 {
                        (0..5).for_each(|_| assert!(answers.next_ok() >= 0.0));
                    }
                }
            });
        }
    });
    assert_eq!(scheduler.statistics().snapshot().inference_count, 4000);
}

#[test]
fn a_model_without_instances_refuses() {
    let (config, scheduler) = start(identity_config(0), Vec::new());
    let request = identity_request(&config, 1, 1.0);
    let error = scheduler.enqueue(request, Answers::new().responder(1.0)).unwrap_err();
    let text = "Unable to find the payload queue for the model identity";
    assert_eq!((error.code(), error.message()), (ErrorCode::Internal, text));
}
