//! From the queue to the response: batches of a real scheduler, from many threads, over several instances.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use nereid_core::config::{DynamicBatching, Scheduling};
use nereid_core::{Continuation, InferResponse, ModelConfig, Respond, Responder, Result, ValidRequest};
use nereid_scheduler::{ActiveInstance, Scheduler, SchedulerOptions};

use crate::fixture::{ADD_SUB, Served, add_sub_config, check_counting, counting, on_both};

const LONG: Duration = Duration::from_secs(60);

struct Channel(Sender<Result<InferResponse>>);

impl Respond for Channel {
    fn respond(self: Box<Self>, result: Result<InferResponse>) -> Option<Continuation> {
        let _ = self.0.send(result);
        None
    }
}

fn start(served: &Served<'_>, instances: usize, held: usize) -> Scheduler {
    let instance = |_| ActiveInstance { instance: served.instance(), statistics: None };
    let instances = (0..instances).map(instance).collect();
    Scheduler::start(SchedulerOptions {
        config: served.config.clone(),
        instances,
        delay_until_queued: held,
        delay_until_backlogged: 0,
        statistics: Arc::default(),
        rate_limiter: None,
    })
    .unwrap()
}

/// Queues a request; its answer comes to what this gives.
fn send(scheduler: &Scheduler, request: ValidRequest) -> Receiver<Result<InferResponse>> {
    let (sender, receiver) = mpsc::channel();
    let queued = scheduler.enqueue(request, Responder::new(Channel(sender))).unwrap();
    assert!(queued.lead.is_none(), "batches wait for the GPU on threads of their own");
    receiver
}

fn batching() -> ModelConfig {
    let batching = DynamicBatching { preferred_batch_sizes: vec![8], ..Default::default() };
    ModelConfig { scheduling: Scheduling::DynamicBatching(batching), ..add_sub_config() }
}

#[test]
fn requests_share_an_execution() {
    on_both(|setup| {
        let served = setup.load(batching(), ADD_SUB);
        let scheduler = start(&served, 1, 4);
        let answers: Vec<_> =
            [1, 3, 2, 2].map(|rows| (rows, send(&scheduler, counting(&served, rows, rows as f32)))).into();
        for (rows, answer) in answers {
            check_counting(&answer.recv_timeout(LONG).unwrap().unwrap(), rows, rows as f32);
        }
        let counts = scheduler.statistics().snapshot();
        assert_eq!((counts.execution_count, counts.inference_count, counts.success.count), (1, 8, 4));
        assert_eq!(counts.batches.keys().copied().collect::<Vec<_>>(), [8]);
        scheduler.stop();
        scheduler.join();
    });
}

#[test]
fn eight_threads_and_three_instances() {
    on_both(|setup| {
        let mut config = batching();
        config.optimization.cuda.graphs = true;
        let served = setup.load(config, ADD_SUB);
        let scheduler = start(&served, 3, 0);
        std::thread::scope(|scope| {
            for thread in 0..8_i64 {
                let (scheduler, served) = (&scheduler, &served);
                let request = move |at: i64| (at % 3 + 1, (thread * 1000 + at) as f32);
                let requests: Vec<_> =
                    (0..50).map(|at| counting(served, request(at).0, request(at).1)).collect();
                scope.spawn(move || {
                    let answers: Vec<_> =
                        requests.into_iter().map(|request| send(scheduler, request)).collect();
                    for (at, answer) in (0..50).zip(answers) {
                        let (rows, first) = request(at);
                        check_counting(&answer.recv_timeout(LONG).unwrap().unwrap(), rows, first);
                    }
                });
            }
        });
        assert_eq!(scheduler.statistics().snapshot().success.count, 400);
        assert!(setup.device.launches() > 0);
        scheduler.stop();
        scheduler.join();
    });
}

/// What was accepted is answered, and the memory comes back afterwards.
#[test]
fn a_model_goes_while_it_runs() {
    on_both(|setup| {
        let plan = ADD_SUB.replace("op add_sub", "op delay 20");
        let served = setup.load(batching(), &plan);
        let scheduler = start(&served, 2, 0);
        let requests = (0..6).map(|_| counting(&served, 8, 1.0));
        let answers: Vec<_> = requests.map(|request| send(&scheduler, request)).collect();
        drop(served);
        scheduler.stop();
        scheduler.join();
        assert_eq!(setup.live_objects(), 0);
        assert!(answers.into_iter().all(|answer| answer.recv_timeout(LONG).unwrap().is_ok()));
    });
}

/// A batch that fails is answered, and so is the next.
#[test]
fn errors_reach_their_requests() {
    on_both(|setup| {
        let plan = ADD_SUB.replace("op add_sub", "op fail");
        let served = setup.load(batching(), &plan);
        let scheduler = start(&served, 1, 2);
        let answers = [1, 2].map(|rows| send(&scheduler, counting(&served, rows, 1.0)));
        for answer in answers {
            let error = answer.recv_timeout(LONG).unwrap().unwrap_err();
            assert!(error.message().starts_with("unable to enqueue for inference m_0: "), "{error}");
        }
        assert_eq!(scheduler.statistics().snapshot().failures, [0, 0, 2, 0]);
        scheduler.stop();
        scheduler.join();
    });
}
