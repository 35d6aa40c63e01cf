//! Counting a batch, and of that the latency histograms of one request.

use std::hint::black_box;

use criterion::Criterion;
use nereid_core::Timestamp;
use nereid_scheduler::Statistics;
use nereid_scheduler::statistics::{ExecutionTimes, Histogram};

/// Adds them.
pub(crate) fn all(criterion: &mut Criterion) {
    let at = Timestamp::from_ns;
    let times = ExecutionTimes {
        compute_start: at(300_000),
        inputs_ready: at(301_000),
        compute_done: at(900_000),
        end: at(910_000),
    };
    for size in [1, 8] {
        let statistics = Statistics::default();
        let requests: Vec<_> = (0..size).map(|i| (at(i * 30_000), 1)).collect();
        criterion.bench_function(&format!("statistics/batch of {size}"), |b| {
            b.iter(|| statistics.record_success(size as usize, black_box(&requests).iter().copied(), &times));
        });
    }
    let mut histograms = [Histogram::default(); 3];
    criterion.bench_function("statistics/histograms of a request", |b| {
        b.iter(|| {
            let durations = black_box([910_000, 300_000, 610_000]);
            histograms.iter_mut().zip(durations).for_each(|(histogram, ns)| histogram.observe(ns));
        });
    });
}
