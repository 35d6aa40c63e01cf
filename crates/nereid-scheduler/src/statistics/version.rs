//! What one version of a model has done, counted once per batch and shown twice: by the v2 statistics endpoint and,
//! through [`crate::Reporters`], by the metrics port. Counting rules are Triton's (`infer_stats.cc`).
//!
//! What runs on a GPU counts apart, as Triton's metrics have it, and the statistics endpoint adds it up again.

use std::collections::BTreeMap;
use std::sync::Arc;

use nereid_core::{Timestamp, unix_ms};
use parking_lot::Mutex;

use super::busy::{Busy, Clock, Clocks};
use super::latencies::Latencies;
use super::{ComputeTimes, Counts, ExecutionTimes, FailureReason, SeriesId};

/// Counters of one version of a model, or of what it does on one GPU.
#[derive(Debug, Default)]
pub struct Statistics {
    /// The metrics that these counters are part of.
    series: SeriesId,
    counts: Mutex<Counts>,
    /// What only metrics show, and only if asked for.
    latencies: Option<Arc<Latencies>>,
    /// The model's config asks for the response cache.
    is_cached: bool,
    /// Of the instances whose executions count here.
    clocks: Clocks,
    /// What the version does on GPUs, each with its own; none where metrics do not tell GPUs apart.
    gpus: Mutex<Vec<Arc<Self>>>,
}

impl Statistics {
    /// Counters at 0, part of `series`, that also feed `latencies`.
    pub(crate) fn new(series: SeriesId, latencies: Option<Arc<Latencies>>, is_cached: bool) -> Self {
        Self { series, latencies, is_cached, ..Self::default() }
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

    /// A copy of all counters, those of GPUs added; each batch is in it with all that it counts, or not at all.
    pub fn snapshot(&self) -> Counts {
        let mut counts = self.counts.lock().clone();
        for gpu in self.gpus.lock().iter() {
            let more = gpu.snapshot();
            counts.add(&more);
            counts.add_batches(&more);
        }
        counts
    }

    /// The counters of these statistics alone, without those of GPUs and those by batch size, which may be many: nothing
    /// is allocated while requests wait.
    pub(crate) fn totals(&self) -> Counts {
        Counts { batches: BTreeMap::new(), ..*self.counts.lock() }
    }

    /// A clock for a new instance whose executions count here. The instance is there for as long as the clock is held.
    pub(crate) fn clock(&self) -> Arc<Clock> {
        self.clocks.add()
    }

    /// How busy the instances are whose executions count here, those on GPUs left out.
    pub(crate) fn busy(&self, now: Timestamp) -> Busy {
        self.clocks.busy(now)
    }

    /// Whether the model's config asks for the response cache.
    pub(crate) fn is_cached(&self) -> bool {
        self.is_cached
    }

    /// The latencies that these counters feed.
    pub(crate) fn latencies(&self) -> Option<&Arc<Latencies>> {
        self.latencies.as_ref()
    }

    /// The metrics that these counters are part of.
    pub(crate) fn series(&self) -> &SeriesId {
        &self.series
    }

    /// The statistics of what this version does on the GPU of `series`: those that are there, or what `new` makes.
    pub(crate) fn of_gpu(&self, series: &SeriesId, new: impl FnOnce() -> Arc<Self>) -> Arc<Self> {
        let mut gpus = self.gpus.lock();
        if let Some(gpu) = gpus.iter().find(|gpu| gpu.series == *series) {
            return gpu.clone();
        }
        let gpu = new();
        gpus.push(gpu.clone());
        gpu
    }
}

#[cfg(test)]
mod tests {
    use nereid_core::Timing;

    use super::super::Duration;
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
                ..Timing::default()
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
}
