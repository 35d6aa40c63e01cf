//! One mnist_mlp request through a scheduler whose model does nothing, run on the thread that sends it: without a cache,
//! answered by the cache, and stored in it.

use std::cell::Cell;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use criterion::Criterion;
use nereid_benches::model::{input_values, to_bytes};
use nereid_core::backend::Instance;
use nereid_core::config::{InputConfig, OutputConfig};
use nereid_core::testing::{TestInstance, identity_config};
use nereid_core::{
    Continuation, DataType, InferRequest, InferResponse, InputTensor, ModelConfig, Respond, Responder,
    Result, Shape, ValidRequest,
};
use nereid_scheduler::{ResponseCache, Scheduler, SchedulerOptions};

const ELEMENTS: usize = 784;

/// Adds them.
pub(crate) fn all(criterion: &mut Criterion) {
    let served = Served::new(None);
    criterion.bench_function("cache/none", |b| b.iter(|| served.ask(black_box(0))));
    let cache = Arc::new(ResponseCache::local(64 << 20));
    let served = Served::new(Some(cache));
    served.ask(0);
    criterion.bench_function("cache/hit, 784 floats", |b| b.iter(|| served.ask(black_box(0))));
    let next = Cell::new(1);
    criterion.bench_function("cache/miss, 784 floats", |b| {
        b.iter(|| {
            next.set(next.get() + 1);
            served.ask(black_box(next.get()));
        });
    });
}

struct Served {
    config: Arc<ModelConfig>,
    scheduler: Scheduler,
    data: Vec<u8>,
    sender: Sender<Result<InferResponse>>,
    answers: Receiver<Result<InferResponse>>,
}

struct Answer(Sender<Result<InferResponse>>);

impl Respond for Answer {
    fn respond(self: Box<Self>, result: Result<InferResponse>) -> Option<Continuation> {
        drop(self.0.send(result));
        None
    }
}

impl Served {
    fn new(cache: Option<Arc<ResponseCache>>) -> Self {
        let base = identity_config(8);
        let dims = vec![ELEMENTS as i64];
        let input = InputConfig { dims: dims.clone(), ..base.inputs[0].clone() };
        let output = OutputConfig { dims, ..base.outputs[0].clone() };
        let config = ModelConfig {
            inputs: vec![input],
            outputs: vec![output],
            response_cache: cache.is_some(),
            ..base
        };
        let config = Arc::new(config);
        let instance: Box<dyn Instance> = Box::new(TestInstance::identity());
        let options = SchedulerOptions {
            delay_until_backlogged: 0,
            config: config.clone(),
            instances: vec![instance.into()],
            delay_until_queued: 0,
            statistics: Arc::default(),
            rate_limiter: None,
        };
        let scheduler = Scheduler::start(options).expect("threads");
        let scheduler = match cache {
            Some(cache) => {
                let identity = cache.identity();
                scheduler.with_cache(cache, identity)
            }
            None => scheduler,
        };
        let (sender, answers) = channel();
        Self { config, scheduler, data: to_bytes(&input_values(ELEMENTS)), sender, answers }
    }

    /// Sends request number `which` and takes its answer.
    fn ask(&self, which: u64) {
        let mut data = self.data.clone();
        data[..8].copy_from_slice(&which.to_le_bytes());
        let input = InputTensor {
            name: "INPUT0".into(),
            datatype: DataType::Fp32,
            shape: Shape::from_slice(&[1, ELEMENTS as i64]),
            data: data.into(),
        };
        let request = InferRequest { inputs: vec![input], ..Default::default() };
        let request = ValidRequest::new(request, &self.config).expect("fits");
        let queued = self.scheduler.enqueue(request, Responder::new(Answer(self.sender.clone())));
        if let Some(mut lead) = queued.expect("accepted").lead {
            while lead.run() {}
        }
        drop(black_box(self.answers.recv().expect("an answer")));
    }
}
