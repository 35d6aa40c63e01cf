//! The counters of a version of a model, and the moments that they are made of. What is counted when is in `version`.

use std::collections::BTreeMap;
use std::ops::AddAssign;

use nereid_core::{Timestamp, Timing};

/// Why a request failed after it was accepted; the `reason` label of `nv_inference_request_failure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailureReason {
    /// Timed out in the queue.
    Rejected,
    /// Nobody waited for the answer any more.
    Canceled,
    /// The model failed.
    Backend,
    /// Anything else.
    Other,
}

impl FailureReason {
    /// Every reason, in the order of [`Counts::failures`].
    pub const ALL: [Self; 4] = [Self::Rejected, Self::Canceled, Self::Backend, Self::Other];

    /// The label's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "REJECTED",
            Self::Canceled => "CANCELED",
            Self::Backend => "BACKEND",
            Self::Other => "OTHER",
        }
    }
}

/// How often, and how long in total.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Duration {
    pub count: u64,
    /// Exact sum, for the statistics endpoint.
    pub ns: u64,
    /// Sum of single durations truncated to microseconds, as Triton's metrics count.
    pub us: u64,
}

impl Duration {
    pub(super) fn add(&mut self, ns: u64) {
        self.count += 1;
        self.ns += ns;
        self.us += ns / 1000;
    }
}

impl AddAssign for Duration {
    fn add_assign(&mut self, other: Self) {
        self.count += other.count;
        self.ns += other.ns;
        self.us += other.us;
    }
}

/// Durations of the executions of one batch size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BatchCounts {
    pub compute_input: Duration,
    pub compute_infer: Duration,
    pub compute_output: Duration,
}

/// Upper bounds of [`Histogram`] buckets, in microseconds. 100 ms, 500 ms, 2 s and 5 s are among them because
/// Triton's histogram of first responses has these.
pub const BUCKETS_US: [u64; 18] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_000_000, 2_500_000, 5_000_000, 10_000_000,
];

/// A latency histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Observations at or below each bound of [`BUCKETS_US`] and above the one before; the last is the rest.
    pub buckets: [u64; BUCKETS_US.len() + 1],
    pub count: u64,
    pub sum_ns: u64,
}

impl Histogram {
    /// Takes in one observation of `ns` nanoseconds.
    pub fn observe(&mut self, ns: u64) {
        self.buckets[BUCKETS_US.partition_point(|bound| bound * 1000 < ns)] += 1;
        self.count += 1;
        self.sum_ns += ns;
    }
}

impl AddAssign for Histogram {
    fn add_assign(&mut self, other: Self) {
        add_all(&mut self.buckets, &other.buckets);
        self.count += other.count;
        self.sum_ns += other.sum_ns;
    }
}

/// All counters at one moment.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// Rows of successful requests; a request of a model that does not batch counts 1.
    pub inference_count: u64,
    /// Executions in which at least one request succeeded.
    pub execution_count: u64,
    /// Milliseconds since the epoch of the last execution; 0 before the first.
    pub last_inference_ms: u64,
    pub success: Duration,
    pub fail: Duration,
    pub queue: Duration,
    pub compute_input: Duration,
    pub compute_infer: Duration,
    pub compute_output: Duration,
    /// Looks into the response cache that made a run of the model needless.
    pub cache_hit: Duration,
    /// Looks that did not, with the time to store what the model then gave.
    pub cache_miss: Duration,
    /// By batch size.
    pub batches: BTreeMap<usize, BatchCounts>,
    /// In the order of [`FailureReason::ALL`].
    pub failures: [u64; FailureReason::ALL.len()],
    pub request_histogram: Histogram,
    pub queue_histogram: Histogram,
    pub compute_histogram: Histogram,
}

impl Counts {
    /// Adds the counters of `other`, but for those by batch size, which no metric shows.
    pub(crate) fn add(&mut self, other: &Self) {
        self.inference_count += other.inference_count;
        self.execution_count += other.execution_count;
        self.last_inference_ms = self.last_inference_ms.max(other.last_inference_ms);
        self.success += other.success;
        self.fail += other.fail;
        self.queue += other.queue;
        self.compute_input += other.compute_input;
        self.compute_infer += other.compute_infer;
        self.compute_output += other.compute_output;
        self.cache_hit += other.cache_hit;
        self.cache_miss += other.cache_miss;
        add_all(&mut self.failures, &other.failures);
        self.request_histogram += other.request_histogram;
        self.queue_histogram += other.queue_histogram;
        self.compute_histogram += other.compute_histogram;
    }

    /// Adds the counters by batch size of `other`.
    pub(crate) fn add_batches(&mut self, other: &Self) {
        for (size, more) in &other.batches {
            let batch = self.batches.entry(*size).or_default();
            batch.compute_input += more.compute_input;
            batch.compute_infer += more.compute_infer;
            batch.compute_output += more.compute_output;
        }
    }
}

/// When the steps of one execution ended.
#[derive(Debug, Clone, Copy)]
pub struct ExecutionTimes {
    pub compute_start: Timestamp,
    pub inputs_ready: Timestamp,
    pub compute_done: Timestamp,
    pub end: Timestamp,
}

impl ExecutionTimes {
    /// The moments of a request that was queued at `enqueued` and ran in this execution.
    pub fn timing(&self, enqueued: Timestamp) -> Timing {
        let Self { compute_start, inputs_ready, compute_done, end } = *self;
        let compute_end = end;
        Timing {
            queue_start: enqueued,
            compute_start,
            inputs_ready,
            compute_done,
            compute_end,
            ..Timing::default()
        }
    }
}

/// How long the models of an ensemble have computed for one request, all steps together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ComputeTimes {
    pub input_ns: u64,
    pub infer_ns: u64,
    pub output_ns: u64,
}

impl ComputeTimes {
    /// Adds the times of one step.
    pub(crate) fn add(&mut self, step: &Timing) {
        self.input_ns += step.inputs_ready.ns_since(step.compute_start);
        self.infer_ns += step.compute_done.ns_since(step.inputs_ready);
        self.output_ns += step.compute_end.ns_since(step.compute_done);
    }

    /// Moments that are these times apart, as if all steps had run one after the other from `start`.
    pub(crate) fn timing(&self, start: Timestamp) -> Timing {
        let after = |moment: Timestamp, ns: u64| Timestamp::from_ns(moment.as_ns().saturating_add(ns));
        let inputs_ready = after(start, self.input_ns);
        let compute_done = after(inputs_ready, self.infer_ns);
        let compute_end = after(compute_done, self.output_ns);
        Timing {
            queue_start: start,
            compute_start: start,
            inputs_ready,
            compute_done,
            compute_end,
            ..Timing::default()
        }
    }

    pub(super) fn total_ns(&self) -> u64 {
        self.input_ns + self.infer_ns + self.output_ns
    }
}

fn add_all<const N: usize>(sums: &mut [u64; N], more: &[u64; N]) {
    for (sum, more) in sums.iter_mut().zip(more) {
        *sum += more;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histogram_bounds_are_inclusive() {
        let mut histogram = Histogram::default();
        for ns in [50_000, 50_001, 10_000_000_000, 10_000_000_001] {
            histogram.observe(ns);
        }
        assert_eq!((histogram.buckets[0], histogram.buckets[1]), (1, 1));
        assert_eq!(histogram.buckets[BUCKETS_US.len() - 1..], [1, 1]);
    }
}
