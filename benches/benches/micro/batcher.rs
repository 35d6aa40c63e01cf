//! The batcher's decision over queues of different lengths.

use std::hint::black_box;

use criterion::Criterion;
use nereid_core::config::{DynamicBatching, Scheduling};
use nereid_core::testing::{identity_config, identity_request};
use nereid_core::{ModelConfig, Responder, Timestamp};
use nereid_scheduler::batching::batcher::Batcher;
use nereid_scheduler::batching::queue::{Entry, Queue};

/// Adds them.
pub(crate) fn all(criterion: &mut Criterion) {
    decide(criterion);
}

fn decide(criterion: &mut Criterion) {
    let batching =
        DynamicBatching { preferred_batch_sizes: vec![4, 8], max_queue_delay_us: 100, ..Default::default() };
    let config =
        ModelConfig { scheduling: Scheduling::DynamicBatching(batching.clone()), ..identity_config(8) };
    let batcher = Batcher::new(&config);
    for waiting in [1, 8, 64] {
        let mut queue = Queue::new(&batching);
        for _ in 0..waiting {
            let entry =
                Entry::new(identity_request(&config, 1, 0.0), Responder::nobody(), Timestamp::from_ns(0));
            assert!(queue.push(entry).is_ok(), "the queue has no limit");
        }
        criterion.bench_function(&format!("batcher/decide, {waiting} waiting"), |b| {
            b.iter(|| batcher.decide(black_box(&queue), Timestamp::from_ns(1000)));
        });
    }
}
