//! Quantiles of the last minute, as prometheus-cpp's summaries have them: five sketches that started twelve seconds
//! apart, of which the oldest answers. Count and sum are those of all time.

use std::mem;

use nereid_core::Timestamp;

use super::quantiles::{Quantile, Sketch};

/// How old a value may be that still counts, in nanoseconds (prometheus-cpp, `Summary`).
const MAX_AGE_NS: u64 = 60_000_000_000;
const SKETCHES: usize = 5;
const STEP_NS: u64 = MAX_AGE_NS / SKETCHES as u64;

/// Values that wait until it is worth the while to sort them in.
const BATCH: usize = 128;

/// A summary that takes in values.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    count: u64,
    sum: u64,
    /// Seen by every sketch, in any order.
    waiting: Vec<u64>,
    sketches: [Sketch; SKETCHES],
    oldest: usize,
    /// When the oldest one became the oldest.
    since: Timestamp,
}

/// What a summary says at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct SummaryValues {
    /// Values of all time.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// Quantile and its value, which is NaN when there was nothing in the last minute.
    pub quantiles: Vec<(f64, f64)>,
}

/// A copy of what is needed to answer, so that nobody waits meanwhile.
#[derive(Debug)]
pub(crate) struct Answer {
    count: u64,
    sum: u64,
    waiting: Vec<u64>,
    sketch: Sketch,
}

impl Summary {
    pub(crate) fn new(now: Timestamp) -> Self {
        let sketches = Default::default();
        Self { count: 0, sum: 0, waiting: Vec::new(), sketches, oldest: 0, since: now }
    }

    /// Takes in `value`, `times` times.
    pub(crate) fn observe(&mut self, value: u64, times: usize, now: Timestamp, wanted: &[Quantile]) {
        self.rotate(now, wanted);
        self.count += times as u64;
        self.sum = self.sum.saturating_add(value.saturating_mul(times as u64));
        for _ in 0..times {
            self.waiting.push(value);
            if self.waiting.len() >= BATCH {
                self.sort_in(wanted);
            }
        }
    }

    /// What is to be said at `now`.
    pub(crate) fn answer(&mut self, now: Timestamp, wanted: &[Quantile]) -> Answer {
        self.rotate(now, wanted);
        let (sketch, waiting) = (self.sketches[self.oldest].clone(), self.waiting.clone());
        Answer { count: self.count, sum: self.sum, waiting, sketch }
    }

    /// Empties the sketches whose time is over.
    fn rotate(&mut self, now: Timestamp, wanted: &[Quantile]) {
        let steps = now.ns_since(self.since) / STEP_NS;
        if steps == 0 {
            return;
        }
        self.sort_in(wanted);
        for _ in 0..steps.min(SKETCHES as u64) {
            self.sketches[self.oldest].clear();
            self.oldest = (self.oldest + 1) % SKETCHES;
        }
        self.since = self.since.plus_us(steps * (STEP_NS / 1000));
    }

    fn sort_in(&mut self, wanted: &[Quantile]) {
        self.waiting.sort_unstable();
        for sketch in &mut self.sketches {
            sketch.insert(&self.waiting, wanted);
        }
        self.waiting.clear();
    }
}

impl Answer {
    pub(crate) fn values(mut self, wanted: &[Quantile]) -> SummaryValues {
        let mut waiting = mem::take(&mut self.waiting);
        waiting.sort_unstable();
        self.sketch.insert(&waiting, wanted);
        let quantiles = wanted.iter().map(|q| (q.quantile, self.sketch.get(q.quantile))).collect();
        SummaryValues { count: self.count, sum: self.sum, quantiles }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIAN: [Quantile; 1] = [Quantile { quantile: 0.5, error: 0.01 }];

    fn at(seconds: f64) -> Timestamp {
        Timestamp::from_ns((seconds * 1e9) as u64)
    }

    fn median(summary: &mut Summary, seconds: f64) -> f64 {
        summary.answer(at(seconds), &MEDIAN).values(&MEDIAN).quantiles[0].1
    }

    #[test]
    fn values_leave_after_a_minute_and_counts_stay() {
        let mut summary = Summary::new(at(0.0));
        assert!(median(&mut summary, 1.0).is_nan());
        summary.observe(10, 3, at(1.0), &MEDIAN);
        assert_eq!(median(&mut summary, 1.0), 10.0, "what waits counts");
        summary.observe(20, 4, at(30.0), &MEDIAN);
        assert_eq!(median(&mut summary, 59.9), 20.0);
        // The sketch that answers now started at 12 s.
        summary.observe(30, 1, at(60.0), &MEDIAN);
        let now = summary.answer(at(60.0), &MEDIAN).values(&MEDIAN);
        assert_eq!(now, SummaryValues { count: 8, sum: 140, quantiles: vec![(0.5, 20.0)] });
        assert_eq!(median(&mut summary, 95.9), 30.0, "the sketch of 36 s answers from 84 s on");
        assert_eq!(median(&mut summary, 119.9), 30.0);
        assert!(median(&mut summary, 120.0).is_nan());
        let idle = summary.answer(at(1e6), &MEDIAN).values(&MEDIAN);
        assert_eq!((idle.count, idle.sum), (8, 140));
        summary.observe(40, 1, at(1e6 + 1.0), &MEDIAN);
        assert_eq!(median(&mut summary, 1e6 + 2.0), 40.0, "a long sleep does no harm");
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut summary = Summary::new(at(0.0));
        for value in 0..10_000 {
            summary.observe(value, 3, at(value as f64 / 1e4), &MEDIAN);
            assert!(summary.waiting.len() < BATCH);
        }
        let median = median(&mut summary, 1.0);
        assert!((4_900.0..=5_100.0).contains(&median), "{median}");
    }
}
