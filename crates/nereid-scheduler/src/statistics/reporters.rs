//! Metrics by labels, beside statistics by version object (Triton's `MetricModelReporter`, which models with the same
//! labels share through a weak pointer). While one version takes over from another with the same labels, their
//! metrics are one series that goes on; after the last of them is gone the series is gone, and one that comes later
//! starts at 0. Failures are the exception: Triton never takes these away, so they stay and go on.
//!
//! What a version does on a GPU is a series of its own, with the GPU's label, from the moment that the version has an
//! instance there. Queueing stays with the series without that label, and so do first responses.
//!
//! Requests know nothing of this: sums are made when somebody looks, and that a version is gone shows in that nobody
//! else holds its statistics.

use std::collections::BTreeMap;
use std::sync::Arc;

use nereid_core::Timestamp;
use parking_lot::Mutex;

use super::Statistics;
use super::latencies::{Latencies, LatencyOptions, LatencyValues};
use super::{Busy, Counts, FailureReason};

/// Failures of so many series that are gone are remembered, and only of those with labels of so many bytes together;
/// load requests choose labels, so there is an end to it.
const MAX_GONE: usize = 1000;
const MAX_GONE_LABELS_BYTES: usize = 4096;

/// Failures by reason, in the order of [`FailureReason::ALL`].
type Failures = [u64; FailureReason::ALL.len()];

/// What tells one series of metrics from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SeriesId {
    /// Repository of the model, where models are told apart by it; else empty.
    pub namespace: Arc<str>,
    pub model: Arc<str>,
    pub version: u64,
    /// The config's `metric_tags`.
    pub tags: BTreeMap<String, String>,
    /// Of what is done on one GPU. Last of all, so that a model's other series is retired first.
    pub gpu_uuid: Option<Arc<str>>,
}

/// A series at one moment.
#[derive(Debug, Clone)]
pub struct Series {
    pub id: SeriesId,
    /// In the order of [`FailureReason::ALL`], those of versions included that are long gone.
    pub failures: Failures,
    /// Everything else; `None` when no version has these labels any more.
    pub live: Option<Live>,
}

/// What there is to say while a version lives. Counters by batch size are left out.
#[derive(Debug, Clone, Default)]
pub struct Live {
    pub counts: Counts,
    pub latencies: LatencyValues,
    /// Time that its instances ran; it never falls from one look to the next.
    pub busy: Busy,
    /// The config of the newest version asks for the response cache.
    pub is_cached: bool,
}

/// The metrics of all models.
#[derive(Debug, Default)]
pub struct Reporters {
    options: LatencyOptions,
    reporters: Mutex<BTreeMap<SeriesId, Reporter>>,
}

/// One series.
#[derive(Debug, Default)]
struct Reporter {
    /// Failures of times when the series had ended.
    failures: Failures,
    /// Counters of versions that are gone, while another one lives.
    gone: Counts,
    /// Time that instances of such versions ran.
    gone_busy_ns: u64,
    /// As much of it as was ever shown: two looks may each catch a run that ends a little earlier or later.
    shown_busy_ns: u64,
    /// Held by us and, while the version lives, by its scheduler; those of a GPU by its version's, too.
    versions: Vec<Arc<Statistics>>,
}

impl SeriesId {
    fn bytes(&self) -> usize {
        self.model.len() + self.tags.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
    }
}

impl Reporters {
    /// No series yet; `options` is what each of them measures.
    pub fn new(options: LatencyOptions) -> Self {
        Self { options, reporters: Mutex::default() }
    }

    /// Counters for a new version. They are part of `series` until nobody else holds them.
    ///
    /// `first_response_ms` are the upper bounds of the histogram of first responses, ascending, in milliseconds, where
    /// the model has bounds of its own. A series that is there already keeps what it has. `is_cached`: the model's config
    /// asks for the response cache.
    pub fn version(
        &self,
        series: SeriesId,
        first_response_ms: Option<&[f64]>,
        is_cached: bool,
    ) -> Arc<Statistics> {
        let mut reporters = self.reporters.lock();
        let now = Timestamp::now();
        retire(&mut reporters, now);
        let reporter = reporters.entry(series.clone()).or_default();
        let latencies = match reporter.versions.last() {
            Some(other) => other.latencies().cloned(),
            None => Latencies::new(&self.options, first_response_ms, now).map(Arc::new),
        };
        let statistics = Arc::new(Statistics::new(series, latencies, is_cached));
        reporter.versions.push(statistics.clone());
        statistics
    }

    /// Counters of what `version` does on the GPU of this uuid. They are part of a series with its label, and of what
    /// [`Statistics::snapshot`] of `version` says; the same for every instance there.
    pub fn of_gpu(&self, version: &Statistics, gpu_uuid: &Arc<str>) -> Arc<Statistics> {
        let series = SeriesId { gpu_uuid: Some(gpu_uuid.clone()), ..version.series().clone() };
        let mut reporters = self.reporters.lock();
        version.of_gpu(&series, || {
            let reporter = reporters.entry(series.clone()).or_default();
            let latencies = match reporter.versions.last() {
                Some(other) => other.latencies().cloned(),
                None => version.latencies().map(|all| Arc::new(all.of_gpu(Timestamp::now()))),
            };
            let statistics = Arc::new(Statistics::new(series.clone(), latencies, version.is_cached()));
            reporter.versions.push(statistics.clone());
            statistics
        })
    }

    /// All series at this moment, in order. Requests wait for a copy of their model's counters at most.
    pub fn series(&self) -> Vec<Series> {
        let now = Timestamp::now();
        let mut reporters = self.reporters.lock();
        retire(&mut reporters, now);
        reporters.iter_mut().map(|(id, reporter)| reporter.series(id, now)).collect()
    }
}

impl Reporter {
    fn series(&mut self, id: &SeriesId, now: Timestamp) -> Series {
        let mut counts = self.gone.clone();
        let mut busy = Busy::default();
        for version in &self.versions {
            counts.add(&version.totals());
            busy.add(&version.busy(now));
        }
        self.shown_busy_ns = self.shown_busy_ns.max(self.gone_busy_ns + busy.total_ns);
        busy.total_ns = self.shown_busy_ns;
        let failures = std::array::from_fn(|reason| self.failures[reason] + counts.failures[reason]);
        let live = self.versions.last().map(|last| Live {
            counts,
            latencies: last.latencies().map(|latencies| latencies.values(now)).unwrap_or_default(),
            busy,
            is_cached: last.is_cached(),
        });
        Series { id: id.clone(), failures, live }
    }

    /// Notices versions that are gone.
    fn retire(&mut self, now: Timestamp) {
        let Self { failures, gone, gone_busy_ns, shown_busy_ns, versions } = self;
        versions.retain(|version| {
            // Nobody can take hold of it again: there are no weak references, and we are not being asked for it.
            let held = Arc::strong_count(version) > 1;
            if !held {
                gone.add(&version.totals());
                *gone_busy_ns += version.busy(now).total_ns;
            }
            held
        });
        if versions.is_empty() {
            let ended = std::mem::take(gone);
            (*gone_busy_ns, *shown_busy_ns) = (0, 0);
            failures.iter_mut().zip(ended.failures).for_each(|(sum, failed)| *sum += failed);
        }
    }
}

fn retire(reporters: &mut BTreeMap<SeriesId, Reporter>, now: Timestamp) {
    reporters.values_mut().for_each(|reporter| reporter.retire(now));
    reporters.retain(|id, reporter| !reporter.versions.is_empty() || id.bytes() <= MAX_GONE_LABELS_BYTES);
    let mut excess = reporters.values().filter(|r| r.versions.is_empty()).count().saturating_sub(MAX_GONE);
    reporters.retain(|_, reporter| {
        let forget = excess > 0 && reporter.versions.is_empty();
        excess -= usize::from(forget);
        !forget
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::ExecutionTimes;

    fn id(model: &str) -> SeriesId {
        SeriesId { model: model.into(), version: 1, ..Default::default() }
    }

    fn fail(statistics: &Statistics, times: usize) {
        (0..times).for_each(|_| statistics.record_failure(FailureReason::Backend, 2_000_000_000));
    }

    /// Failures of all time, failures of the living series, and how many first responses it saw.
    fn shown(reporters: &Reporters, model: &str) -> (u64, Option<(u64, u64)>) {
        let series = reporters.series().into_iter().find(|series| *series.id.model == *model).unwrap();
        let live = series.live.map(|live| {
            let first_response = live.latencies.first_response.map_or(0, |buckets| buckets.count);
            (live.counts.fail.count, first_response)
        });
        (series.failures[FailureReason::Backend as usize], live)
    }

    #[test]
    fn a_series_goes_on_while_versions_overlap_and_starts_anew_after_a_gap() {
        let reporters = Reporters::new(LatencyOptions { histograms: true, summaries: None });
        let first = reporters.version(id("m"), None, false);
        fail(&first, 3);
        assert_eq!(shown(&reporters, "m"), (3, Some((3, 3))));
        let second = reporters.version(id("m"), None, false);
        assert_eq!(second.snapshot().fail.count, 0, "statistics are each version's own");
        fail(&second, 1);
        fail(&first, 1); // still draining
        assert_eq!(shown(&reporters, "m"), (5, Some((5, 5))));
        drop(first);
        assert_eq!(shown(&reporters, "m"), (5, Some((5, 5))));
        let third = reporters.version(id("m"), None, false);
        drop(second);
        fail(&third, 1);
        assert_eq!(shown(&reporters, "m"), (6, Some((6, 6))));
        drop(third);
        assert_eq!(shown(&reporters, "m"), (6, None));
        let fourth = reporters.version(id("m"), None, false);
        fail(&fourth, 1);
        assert_eq!(shown(&reporters, "m"), (7, Some((1, 1))));
        // The same without anybody looking in between.
        drop(fourth);
        let fifth = reporters.version(id("m"), None, false);
        assert_eq!(shown(&reporters, "m"), (7, Some((0, 0))));
        drop(fifth);
    }

    #[test]
    fn busy_time_of_versions_that_are_gone_stays_and_never_falls() {
        let at = |ms: u64| Timestamp::from_ns(ms * 1_000_000);
        let mut reporter = Reporter::default();
        let version = || {
            let statistics = Arc::new(Statistics::default());
            (statistics.clock(), statistics)
        };
        let shown = |reporter: &mut Reporter, ms: u64| {
            reporter.retire(at(ms));
            let live = reporter.series(&id("m"), at(ms)).live;
            live.map(|live| (live.busy.instances, live.busy.total_ns / 1_000_000))
        };
        let (clock, first) = version();
        reporter.versions.push(first.clone());
        let run = clock.begin(at(100));
        assert_eq!(shown(&mut reporter, 400), Some((1, 300)));
        // It has ended a little before somebody looked, and says so only now.
        run.end(at(399));
        assert_eq!(shown(&mut reporter, 400), Some((1, 300)));
        clock.begin(at(400)).end(at(900));
        let (next_clock, second) = version();
        reporter.versions.push(second.clone());
        next_clock.begin(at(800)).end(at(1000));
        assert_eq!(shown(&mut reporter, 1000), Some((2, 999)));
        drop((clock, first));
        assert_eq!(shown(&mut reporter, 1000), Some((1, 999)));
        next_clock.begin(at(1000)).end(at(1010));
        assert_eq!(shown(&mut reporter, 1010), Some((1, 1009)), "on top of what is gone");
        drop((next_clock, second));
        assert_eq!(shown(&mut reporter, 1010), None);
        let (_clock, third) = version();
        reporter.versions.push(third.clone());
        assert_eq!(shown(&mut reporter, 1010), Some((1, 0)), "a new series begins");
    }

    #[test]
    fn labels_keep_series_apart() {
        let reporters = Reporters::default();
        let tagged = SeriesId { tags: BTreeMap::from([("a".into(), "b".into())]), ..id("m") };
        let (plain, tagged) =
            (reporters.version(id("m"), None, false), reporters.version(tagged, None, false));
        fail(&plain, 1);
        fail(&tagged, 2);
        let failures: Vec<u64> = reporters.series().iter().map(|s| s.failures[2]).collect();
        assert_eq!(failures, [1, 2]);
        assert_eq!(shown(&reporters, "m").1, Some((1, 0)), "no histogram unless asked for");
    }

    #[test]
    fn bounds_are_those_of_the_version_that_began_the_series() {
        let reporters = Reporters::new(LatencyOptions { histograms: true, summaries: None });
        let bounds = |reporters: &Reporters| {
            reporters.series()[0].live.clone().unwrap().latencies.first_response.unwrap().bounds_ms
        };
        let first = reporters.version(id("m"), Some(&[1.0, 2.0]), false);
        let second = reporters.version(id("m"), None, false);
        assert_eq!(bounds(&reporters), [1.0, 2.0]);
        drop((first, second));
        let _third = reporters.version(id("m"), None, false);
        assert_eq!(bounds(&reporters), crate::statistics::latencies::FIRST_RESPONSE_MS);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let reporters = Reporters::default();
        let lives = reporters.version(id("0"), None, false);
        for i in 0..2 * MAX_GONE {
            fail(&reporters.version(id(&format!("m{i}")), None, false), 1);
        }
        assert_eq!(reporters.series().len(), MAX_GONE + 1);
        assert!(shown(&reporters, "0").1.is_some());
        drop(lives);
        let long = "x".repeat(MAX_GONE_LABELS_BYTES + 1);
        let tagged = SeriesId { tags: BTreeMap::from([("a".into(), long)]), ..id("0") };
        let lives = reporters.version(tagged.clone(), None, false);
        let is_there = || reporters.series().iter().any(|series| series.id == tagged);
        assert!(is_there());
        drop(lives);
        assert!(!is_there());
    }

    #[test]
    fn what_runs_on_a_gpu_is_a_series_of_its_own() {
        let options = LatencyOptions { histograms: true, summaries: Some(vec![]) };
        let reporters = Reporters::new(options);
        let version = reporters.version(id("m"), Some(&[7.0]), true);
        let (a, b): (Arc<str>, Arc<str>) = ("GPU-a".into(), "GPU-b".into());
        let on_a = reporters.of_gpu(&version, &a);
        assert!(Arc::ptr_eq(&on_a, &reporters.of_gpu(&version, &a)), "instances of one GPU count together");
        let on_b = reporters.of_gpu(&version, &b);
        fail(&version, 1);
        fail(&on_a, 2);
        fail(&on_b, 4);
        let at = |us: u64| Timestamp::from_ns(us * 1000);
        let times =
            ExecutionTimes { compute_start: at(10), inputs_ready: at(11), compute_done: at(15), end: at(18) };
        version.record_success(1, [(at(0), 1)].into_iter(), &times);
        on_a.record_success(2, [(at(0), 1), (at(1), 1)].into_iter(), &times);
        on_b.record_success(2, [(at(0), 2)].into_iter(), &times);
        let sum = version.snapshot();
        assert_eq!((sum.success.count, sum.inference_count, sum.execution_count), (4, 5, 3));
        assert_eq!((sum.fail.count, sum.failures), (7, [0, 0, 7, 0]));
        let batches: Vec<_> = sum.batches.iter().map(|(size, b)| (*size, b.compute_infer.count)).collect();
        assert_eq!(batches, [(1, 1), (2, 2)]);
        assert!(sum.last_inference_ms > 0);
        // GPU, successes, failures, first responses and their bounds, count of a summary.
        let shown = || -> Vec<_> {
            let series = reporters.series().into_iter();
            let shown = series.map(|series| {
                let live = series.live.map(|live| {
                    assert!(live.is_cached);
                    let first = live.latencies.first_response.unwrap();
                    let queue = live.latencies.summaries[1].count;
                    (live.counts.success.count, first.count, first.bounds_ms, queue)
                });
                (series.id.gpu_uuid, series.failures[FailureReason::Backend as usize], live)
            });
            shown.collect()
        };
        let bounds = vec![7.0];
        assert_eq!(
            shown(),
            [
                (None, 1, Some((1, 11, bounds.clone(), 1))),
                (Some(a.clone()), 2, Some((2, 0, bounds.clone(), 2))),
                (Some(b.clone()), 4, Some((1, 0, bounds.clone(), 1))),
            ]
        );
        // A version that comes meanwhile goes on where this one was, on the GPUs that it uses.
        let next = reporters.version(id("m"), None, true);
        let next_on_a = reporters.of_gpu(&next, &a);
        fail(&next_on_a, 1);
        assert_eq!(next.snapshot().fail.count, 1);
        drop((version, on_a, on_b));
        assert_eq!(
            shown(),
            [
                (None, 1, Some((1, 12, bounds.clone(), 1))),
                (Some(a.clone()), 3, Some((2, 0, bounds, 2))),
                (Some(b.clone()), 4, None),
            ]
        );
        drop((next, next_on_a));
        assert_eq!(shown(), [(None, 1, None), (Some(a), 3, None), (Some(b), 4, None)]);
    }
}
