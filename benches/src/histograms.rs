//! What the latency histograms of the metrics cost: requests are counted as the server counts them, and in turn with that,
//! their durations go into three further histograms. The difference is the price of three, in CPU time.
//!
//! Each request is for another one of many models, whose counters together are more than the nearest cache holds, has other
//! durations, and is a batch of its own: a server with few models and large batches pays less.

use std::hint::black_box;

use anyhow::Result;
use nereid_core::Timestamp;
use nereid_scheduler::Statistics;
use nereid_scheduler::statistics::{ExecutionTimes, Histogram};

use crate::cpu::ProcessClock;
use crate::spread::Spread;

/// Pairs of stretches, with and without.
const PAIRS: usize = 30;
/// Requests in a stretch.
const REQUESTS: usize = 50_000;
const MODELS: usize = 512;

/// CPU time of a request's three histograms, in µs: the median of many pairs of stretches.
///
/// # Errors
/// The system does not tell this process's CPU time.
pub fn cpu_us() -> Result<f64> {
    let clock = ProcessClock::of(std::process::id())?;
    let mut counted = Counted::default();
    counted.stretch(true);
    let mut pairs = Vec::with_capacity(PAIRS);
    for pair in 0..PAIRS {
        let mut took = [0.0; 2];
        // Each of them is the first one as often as the other.
        for with in [pair % 2 == 0, pair % 2 == 1] {
            let before = clock.read()?;
            counted.stretch(with);
            took[usize::from(with)] = (clock.read()? - before).as_secs_f64() * 1e6;
        }
        pairs.push((took[1] - took[0]) / REQUESTS as f64);
    }
    black_box(&counted);
    Ok(Spread::of(pairs).median)
}

/// Where requests count.
struct Counted {
    models: Vec<(Statistics, [Histogram; 3])>,
    random: u64,
}

impl Default for Counted {
    fn default() -> Self {
        Self { models: (0..MODELS).map(|_| Default::default()).collect(), random: 1 }
    }
}

impl Counted {
    /// Counts some requests, whose durations go into further histograms if `with` says so.
    fn stretch(&mut self, with: bool) {
        for _ in 0..REQUESTS {
            let [waited, took] = [self.duration_us(), self.duration_us()];
            let (statistics, further) = &mut self.models[(self.random >> 50) as usize % MODELS];
            let enqueued = Timestamp::from_ns(1_000_000_000);
            let compute_start = enqueued.plus_us(waited);
            let end = compute_start.plus_us(took);
            let times = ExecutionTimes { compute_start, inputs_ready: compute_start, compute_done: end, end };
            statistics.record_success(1, [(enqueued, 1)].into_iter(), &times);
            if black_box(with) {
                let [request, queue, compute] = further;
                // The compiler must not know that the buckets were looked for already.
                request.observe(black_box(end.ns_since(enqueued)));
                queue.observe(black_box(compute_start.ns_since(enqueued)));
                compute.observe(black_box(end.ns_since(compute_start)));
            }
        }
    }

    /// From 8 µs to 0.5 s, as often in each octave, so that no two requests after each other meet the same buckets.
    fn duration_us(&mut self) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let octave = 3 + (self.random >> 33) % 16;
        (1 << octave) + (self.random >> 40) % (1 << octave)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_count_and_only_one_observes_more() {
        let mut counted = Counted::default();
        let sums = |counted: &Counted| {
            let models = &counted.models;
            let requests: u64 =
                models.iter().map(|(statistics, _)| statistics.snapshot().success.count).sum();
            let observed = |i: usize| models.iter().map(|(_, further)| further[i].count).sum::<u64>();
            (requests, [0, 1, 2].map(observed))
        };
        let all = REQUESTS as u64;
        counted.stretch(false);
        assert_eq!(sums(&counted), (all, [0; 3]));
        counted.stretch(true);
        assert_eq!(sums(&counted), (2 * all, [all; 3]));
        // They are spread over models and buckets.
        let (statistics, _) = &counted.models[0];
        let counts = statistics.snapshot();
        let most = counts.queue_histogram.buckets.iter().max().copied().unwrap();
        assert!(counts.success.count < all / 100 && most < counts.success.count / 2);
    }
}
