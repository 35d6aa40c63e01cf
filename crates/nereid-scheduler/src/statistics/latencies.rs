//! Latencies beyond sums: what `--metrics-config` can ask for. Shared by the overlapping versions behind one series of
//! metrics, hence with a lock of its own; not there at all unless asked for.

use std::sync::Arc;

use nereid_core::Timestamp;
use parking_lot::Mutex;

use super::quantiles::Quantile;
use super::summary::{Answer, Summary, SummaryValues};
use super::{ComputeTimes, ExecutionTimes};

/// Upper bounds of the histogram of first responses, in milliseconds (`metric_model_reporter.h`).
pub const FIRST_RESPONSE_MS: [f64; 4] = [100.0, 500.0, 2_000.0, 5_000.0];

/// What is measured of every model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LatencyOptions {
    /// `histogram_latencies`.
    pub histograms: bool,
    /// `summary_latencies`: the quantiles of the summaries.
    pub summaries: Option<Vec<Quantile>>,
}

/// The parts of a request's time, in the order of [`LatencyValues::summaries`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Request,
    Queue,
    ComputeInput,
    ComputeInfer,
    ComputeOutput,
    CacheHit,
    CacheMiss,
}

const PARTS: usize = Part::CacheMiss as usize + 1;

/// A histogram with bounds of its own.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Buckets {
    /// Upper bounds in milliseconds, ascending.
    pub bounds_ms: Vec<f64>,
    /// Observations at or below each bound and above the one before; the last is the rest.
    pub counts: Vec<u64>,
    pub count: u64,
    pub sum_ns: u64,
}

/// All of it at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LatencyValues {
    /// From the arrival of a request to its first response, failures included, as Triton counts.
    pub first_response: Option<Buckets>,
    /// In whole microseconds, of successful requests, by [`Part`]; empty unless asked for.
    pub summaries: Vec<SummaryValues>,
}

/// Takes in the latencies of one series of metrics.
#[derive(Debug)]
pub(crate) struct Latencies {
    wanted: Vec<Quantile>,
    /// Those of the model as a whole, where these are of one GPU: they take in first responses, as in Triton.
    of_model: Option<Arc<Self>>,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    first_response: Option<Buckets>,
    summaries: Option<[Summary; PARTS]>,
}

impl Latencies {
    /// `None` when nothing is asked for. `bounds_ms` replaces [`FIRST_RESPONSE_MS`].
    pub(crate) fn new(options: &LatencyOptions, bounds_ms: Option<&[f64]>, now: Timestamp) -> Option<Self> {
        let first_response =
            options.histograms.then(|| Buckets::new(bounds_ms.unwrap_or(&FIRST_RESPONSE_MS)));
        let summaries = options.summaries.is_some().then(|| [(); PARTS].map(|()| Summary::new(now)));
        (first_response.is_some() || summaries.is_some()).then(|| Self {
            wanted: options.summaries.clone().unwrap_or_default(),
            of_model: None,
            inner: Mutex::new(Inner { first_response, summaries }),
        })
    }

    /// Those of one GPU beside these of the whole model, with nothing in them.
    pub(crate) fn of_gpu(self: &Arc<Self>, now: Timestamp) -> Self {
        let inner = self.inner.lock();
        let first_response = inner.first_response.as_ref().map(|buckets| Buckets::new(&buckets.bounds_ms));
        let summaries = inner.summaries.is_some().then(|| [(); PARTS].map(|()| Summary::new(now)));
        let inner = Mutex::new(Inner { first_response, summaries });
        Self { wanted: self.wanted.clone(), of_model: Some(self.clone()), inner }
    }

    /// Takes in one successful execution; `enqueued` are its requests.
    pub(crate) fn success(&self, enqueued: impl Iterator<Item = Timestamp> + Clone, times: &ExecutionTimes) {
        let now = times.end;
        let mut inner = self.of_model.as_deref().unwrap_or(self).inner.lock();
        if let Some(first_response) = &mut inner.first_response {
            enqueued.clone().for_each(|enqueued| first_response.observe(now.ns_since(enqueued)));
        }
        if self.of_model.is_some() {
            drop(inner);
            inner = self.inner.lock();
        }
        if let Some(summaries) = &mut inner.summaries {
            let mut observe = |part: Part, ns: u64, times: usize| {
                summaries[part as usize].observe(ns / 1000, times, now, &self.wanted);
            };
            let mut requests = 0;
            for enqueued in enqueued {
                requests += 1;
                observe(Part::Request, now.ns_since(enqueued), 1);
                observe(Part::Queue, times.compute_start.ns_since(enqueued), 1);
            }
            observe(Part::ComputeInput, times.inputs_ready.ns_since(times.compute_start), requests);
            observe(Part::ComputeInfer, times.compute_done.ns_since(times.inputs_ready), requests);
            observe(Part::ComputeOutput, now.ns_since(times.compute_done), requests);
        }
    }

    /// Takes in one successful request to an ensemble, which ends `now`.
    pub(crate) fn composed(&self, request_ns: u64, spent: &ComputeTimes, now: Timestamp) {
        let parts = [
            (Part::Request, request_ns),
            (Part::Queue, 0),
            (Part::ComputeInput, spent.input_ns),
            (Part::ComputeInfer, spent.infer_ns),
            (Part::ComputeOutput, spent.output_ns),
        ];
        self.one(request_ns, &parts, now);
    }

    /// Takes in a request that was answered at `now` from the cache.
    pub(crate) fn cache_hit(&self, request_ns: u64, queue_ns: u64, look_up_ns: u64, now: Timestamp) {
        let parts = [(Part::Request, request_ns), (Part::Queue, queue_ns), (Part::CacheHit, look_up_ns)];
        self.one(request_ns, &parts, now);
    }

    /// Takes in the time that a request which ran spent on the cache.
    pub(crate) fn cache_miss(&self, ns: u64, now: Timestamp) {
        if let Some(summaries) = &mut self.inner.lock().summaries {
            summaries[Part::CacheMiss as usize].observe(ns / 1000, 1, now, &self.wanted);
        }
    }

    /// Takes in one request that was no part of a batch, and the nanoseconds of its parts.
    fn one(&self, request_ns: u64, parts: &[(Part, u64)], now: Timestamp) {
        let mut inner = self.inner.lock();
        if let Some(first_response) = &mut inner.first_response {
            first_response.observe(request_ns);
        }
        if let Some(summaries) = &mut inner.summaries {
            for &(part, ns) in parts {
                summaries[part as usize].observe(ns / 1000, 1, now, &self.wanted);
            }
        }
    }

    /// Takes in a request that failed `ns` after it was accepted: that was its first response.
    pub(crate) fn failure(&self, ns: u64) {
        let of_model = self.of_model.as_deref().unwrap_or(self);
        if let Some(first_response) = &mut of_model.inner.lock().first_response {
            first_response.observe(ns);
        }
    }

    /// What there is to say at `now`. Requests wait only for a copy.
    pub(crate) fn values(&self, now: Timestamp) -> LatencyValues {
        let mut inner = self.inner.lock();
        let first_response = inner.first_response.clone();
        let answer = |summary: &mut Summary| summary.answer(now, &self.wanted);
        let answers: Vec<Answer> = inner.summaries.iter_mut().flatten().map(answer).collect();
        drop(inner);
        let summaries = answers.into_iter().map(|answer| answer.values(&self.wanted)).collect();
        LatencyValues { first_response, summaries }
    }
}

impl Buckets {
    fn new(bounds_ms: &[f64]) -> Self {
        let counts = vec![0; bounds_ms.len() + 1];
        Self { bounds_ms: bounds_ms.to_vec(), counts, count: 0, sum_ns: 0 }
    }

    fn observe(&mut self, ns: u64) {
        let ms = ns as f64 / 1e6;
        self.counts[self.bounds_ms.partition_point(|bound| *bound < ms)] += 1;
        self.count += 1;
        self.sum_ns += ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUANTILES: [Quantile; 2] =
        [Quantile { quantile: 0.5, error: 0.05 }, Quantile { quantile: 1.0, error: 0.001 }];

    fn at(us: u64) -> Timestamp {
        Timestamp::from_ns(us * 1000)
    }

    fn run(options: &LatencyOptions, bounds_ms: Option<&[f64]>) -> LatencyValues {
        let latencies = Latencies::new(options, bounds_ms, at(0)).unwrap();
        let times = ExecutionTimes {
            compute_start: at(1_000),
            inputs_ready: at(1_010),
            compute_done: at(100_000),
            end: at(100_500),
        };
        latencies.success([at(0), at(500)].into_iter(), &times);
        latencies.failure(7_000_000_000);
        latencies.values(at(200_000))
    }

    #[test]
    fn nothing_is_kept_unless_asked_for() {
        assert!(Latencies::new(&LatencyOptions::default(), None, at(0)).is_none());
        let values = run(&LatencyOptions { histograms: true, summaries: None }, None);
        assert!(values.summaries.is_empty());
        let values = run(&LatencyOptions { histograms: false, summaries: Some(QUANTILES.into()) }, None);
        assert!(values.first_response.is_none());
    }

    #[test]
    fn first_responses_are_counted_by_bound() {
        let options = LatencyOptions { histograms: true, summaries: None };
        let check = |bounds_ms: Option<&[f64]>, expected: &[u64]| {
            let buckets = run(&options, bounds_ms).first_response.unwrap();
            assert_eq!(buckets.counts, expected);
            assert_eq!((buckets.count, buckets.sum_ns), (3, 100_500_000 + 100_000_000 + 7_000_000_000));
        };
        check(None, &[1, 1, 0, 0, 1]); // 100 ms is within 100 ms, 100.5 ms is not
        check(Some(&[0.5, 100.25]), &[0, 1, 2]);
        check(Some(&[f64::INFINITY]), &[3, 0]);
    }

    #[test]
    fn summaries_count_each_request_of_a_batch() {
        let options = LatencyOptions { histograms: false, summaries: Some(QUANTILES.into()) };
        let summaries = run(&options, None).summaries;
        let check = |part: Part, sum: u64, median: f64, most: f64| {
            let quantiles = vec![(0.5, median), (1.0, most)];
            assert_eq!(summaries[part as usize], SummaryValues { count: 2, sum, quantiles }, "{part:?}");
        };
        check(Part::Request, 200_500, 100_000.0, 100_500.0);
        check(Part::Queue, 1_500, 500.0, 1_000.0);
        check(Part::ComputeInput, 20, 10.0, 10.0);
        check(Part::ComputeInfer, 2 * 98_990, 98_990.0, 98_990.0);
        check(Part::ComputeOutput, 1_000, 500.0, 500.0);
        assert_eq!(summaries.len(), PARTS);
    }
}
