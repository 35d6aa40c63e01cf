//! What one version of a model has done, counted once per batch and shown twice: by the v2 statistics
//! endpoint and, through [`crate::Reporters`], by the metrics port. Counting rules are Triton's (`infer_stats.cc`).

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::Arc;

use nereid_core::{Timestamp, Timing, unix_ms};
use parking_lot::Mutex;

use super::latencies::Latencies;

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
    fn add(&mut self, ns: u64) {
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
    fn observe(&mut self, ns: u64) {
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
        Timing { queue_start: enqueued, compute_start, inputs_ready, compute_done, compute_end: end }
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
        Timing { queue_start: start, compute_start: start, inputs_ready, compute_done, compute_end }
    }

    fn total_ns(&self) -> u64 {
        self.input_ns + self.infer_ns + self.output_ns
    }
}

/// Counters of one version of a model.
#[derive(Debug, Default)]
pub struct Statistics {
    counts: Mutex<Counts>,
    /// What only metrics show, and only if asked for.
    latencies: Option<Arc<Latencies>>,
    /// The model's config asks for the response cache.
    is_cached: bool,
}

impl Statistics {
    /// Counters at 0 that also feed `latencies`.
    pub(crate) fn new(latencies: Option<Arc<Latencies>>, is_cached: bool) -> Self {
        Self { counts: Mutex::default(), latencies, is_cached }
    }

    /// Counts one successful execution of `rows` rows; `requests` gives (enqueued at, rows) of each.
    pub fn record_success(
        &self,
        rows: usize,
        requests: impl Iterator<Item = (Timestamp, usize)> + Clone,
        times: &ExecutionTimes,
    ) {
        if let Some(latencies) = &self.latencies {
            latencies.success(requests.clone().map(|(enqueued, _)| enqueued), times);
        }
        let input_ns = times.inputs_ready.ns_since(times.compute_start);
        let infer_ns = times.compute_done.ns_since(times.inputs_ready);
        let output_ns = times.end.ns_since(times.compute_done);
        let mut guard = self.counts.lock();
        let counts = &mut *guard;
        for (enqueued, request_rows) in requests {
            let queue_ns = times.compute_start.ns_since(enqueued);
            let request_ns = times.end.ns_since(enqueued);
            counts.inference_count += request_rows as u64;
            counts.success.add(request_ns);
            counts.queue.add(queue_ns);
            counts.compute_input.add(input_ns);
            counts.compute_infer.add(infer_ns);
            counts.compute_output.add(output_ns);
            counts.request_histogram.observe(request_ns);
            counts.queue_histogram.observe(queue_ns);
            counts.compute_histogram.observe(times.end.ns_since(times.compute_start));
        }
        counts.execution_count += 1;
        counts.last_inference_ms = counts.last_inference_ms.max(unix_ms());
        let batch = counts.batches.entry(rows).or_default();
        batch.compute_input.add(input_ns);
        batch.compute_infer.add(infer_ns);
        batch.compute_output.add(output_ns);
    }

    /// Counts one successful request of `rows` rows to an ensemble, accepted and answered at these moments, as an
    /// execution of its own; `spent` is what other models have done for it.
    pub(crate) fn record_composed(
        &self,
        rows: usize,
        accepted: Timestamp,
        end: Timestamp,
        spent: &ComputeTimes,
    ) {
        let request_ns = end.ns_since(accepted);
        if let Some(latencies) = &self.latencies {
            latencies.composed(request_ns, spent, end);
        }
        let mut guard = self.counts.lock();
        let counts = &mut *guard;
        counts.inference_count += rows as u64;
        counts.success.add(request_ns);
        counts.queue.add(0);
        counts.compute_input.add(spent.input_ns);
        counts.compute_infer.add(spent.infer_ns);
        counts.compute_output.add(spent.output_ns);
        counts.request_histogram.observe(request_ns);
        counts.queue_histogram.observe(0);
        counts.compute_histogram.observe(spent.total_ns());
        counts.execution_count += 1;
        counts.last_inference_ms = counts.last_inference_ms.max(unix_ms());
        let batch = counts.batches.entry(rows).or_default();
        batch.compute_input.add(spent.input_ns);
        batch.compute_infer.add(spent.infer_ns);
        batch.compute_output.add(spent.output_ns);
    }

    /// Counts a request of the moment `arrived` that is answered at `end` without a run, after a look into the cache of
    /// `look_up_ns`. The rest of its time it waited.
    pub fn record_cache_hit(&self, arrived: Timestamp, look_up_ns: u64, end: Timestamp) {
        let request_ns = end.ns_since(arrived);
        let queue_ns = request_ns.saturating_sub(look_up_ns);
        if let Some(latencies) = &self.latencies {
            latencies.cache_hit(request_ns, queue_ns, look_up_ns, end);
        }
        let mut guard = self.counts.lock();
        let counts = &mut *guard;
        counts.success.add(request_ns);
        counts.queue.add(queue_ns);
        counts.cache_hit.add(look_up_ns);
        counts.request_histogram.observe(request_ns);
        counts.queue_histogram.observe(queue_ns);
    }

    /// Counts `ns` that a request which ran, and was counted so, spent on the cache at the moment `now`. They are part of
    /// its duration.
    pub fn record_cache_miss(&self, ns: u64, now: Timestamp) {
        if let Some(latencies) = &self.latencies {
            latencies.cache_miss(ns, now);
        }
        let mut counts = self.counts.lock();
        counts.success.ns += ns;
        counts.success.us += ns / 1000;
        counts.cache_miss.add(ns);
    }

    /// Counts a request that failed `elapsed_ns` after it was accepted.
    pub fn record_failure(&self, reason: FailureReason, elapsed_ns: u64) {
        if let Some(latencies) = &self.latencies {
            latencies.failure(elapsed_ns);
        }
        let mut counts = self.counts.lock();
        counts.fail.add(elapsed_ns);
        counts.failures[reason as usize] += 1;
    }

    /// A consistent copy of all counters.
    pub fn snapshot(&self) -> Counts {
        self.counts.lock().clone()
    }

    /// [`Self::snapshot`] without the counters by batch size, which may be many: nothing is allocated while requests
    /// wait.
    pub(crate) fn totals(&self) -> Counts {
        Counts { batches: BTreeMap::new(), ..*self.counts.lock() }
    }

    /// Whether the model's config asks for the response cache.
    pub(crate) fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// The latencies that these counters feed.
    pub(crate) fn latencies(&self) -> Option<&Arc<Latencies>> {
        self.latencies.as_ref()
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
    fn a_batch_counts_once_and_its_requests_each() {
        let at = |us: u64| Timestamp::from_ns(us * 1000);
        let statistics = Statistics::default();
        let times =
            ExecutionTimes { compute_start: at(10), inputs_ready: at(11), compute_done: at(15), end: at(18) };
        statistics.record_success(8, [(at(0), 3), (at(4), 5)].into_iter(), &times);
        statistics.record_failure(FailureReason::Backend, 1_999);
        let counts = statistics.snapshot();
        assert_eq!((counts.inference_count, counts.execution_count), (8, 1));
        assert_eq!(counts.success, Duration { count: 2, ns: 32_000, us: 32 });
        assert_eq!(counts.queue, Duration { count: 2, ns: 16_000, us: 16 });
        assert_eq!(counts.compute_infer, Duration { count: 2, ns: 8_000, us: 8 });
        assert_eq!(counts.batches[&8].compute_output, Duration { count: 1, ns: 3_000, us: 3 });
        assert_eq!(counts.fail, Duration { count: 1, ns: 1_999, us: 1 });
        assert_eq!(counts.failures, [0, 0, 1, 0]);
        assert_eq!(counts.request_histogram.buckets[0], 2, "18 and 14 us are within 50 us");
        assert!(counts.last_inference_ms > 0);
    }

    #[test]
    fn a_composed_request_counts_as_one_execution() {
        let at = |us: u64| Timestamp::from_ns(us * 1000);
        let mut spent = ComputeTimes::default();
        for start in [10, 40] {
            spent.add(&Timing {
                queue_start: at(start),
                compute_start: at(start + 1),
                inputs_ready: at(start + 3),
                compute_done: at(start + 6),
                compute_end: at(start + 10),
            });
        }
        assert_eq!(spent, ComputeTimes { input_ns: 4_000, infer_ns: 6_000, output_ns: 8_000 });
        let statistics = Statistics::default();
        statistics.record_composed(3, at(5), at(55), &spent);
        let counts = statistics.snapshot();
        assert_eq!((counts.inference_count, counts.execution_count), (3, 1));
        assert_eq!(counts.success, Duration { count: 1, ns: 50_000, us: 50 });
        assert_eq!(counts.queue, Duration { count: 1, ns: 0, us: 0 });
        assert_eq!(counts.compute_infer, Duration { count: 1, ns: 6_000, us: 6 });
        assert_eq!(counts.batches[&3].compute_output, Duration { count: 1, ns: 8_000, us: 8 });
        let mut again = ComputeTimes::default();
        again.add(&spent.timing(at(5)));
        assert_eq!(again, spent, "an ensemble in an ensemble");
    }

    #[test]
    fn cached_requests_succeed_without_an_inference() {
        let at = |us: u64| Timestamp::from_ns(us * 1000);
        let statistics = Statistics::default();
        statistics.record_cache_hit(at(10), 2_500, at(70));
        statistics.record_cache_miss(1_999, at(80));
        let counts = statistics.snapshot();
        assert_eq!((counts.inference_count, counts.execution_count, counts.last_inference_ms), (0, 0, 0));
        assert_eq!(counts.success, Duration { count: 1, ns: 60_000 + 1_999, us: 61 });
        assert_eq!(counts.queue, Duration { count: 1, ns: 57_500, us: 57 });
        assert_eq!(counts.cache_hit, Duration { count: 1, ns: 2_500, us: 2 });
        assert_eq!(counts.cache_miss, Duration { count: 1, ns: 1_999, us: 1 });
        assert_eq!((counts.compute_infer.count, counts.request_histogram.count), (0, 1));
    }

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
