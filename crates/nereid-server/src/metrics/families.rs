//! The table of metric families, and samples as text by it.

use nereid_scheduler::statistics::{BUCKETS_US, Counts, FailureReason, Histogram};
use prometheus::TextEncoder;
use prometheus::proto::{self, LabelPair, Metric, MetricFamily, MetricType};

use super::MetricsOptions;
use super::sample::Sample;

/// One family.
struct Family {
    name: &'static str,
    help: &'static str,
    values: Values,
    shown: fn(&MetricsOptions) -> bool,
}

/// Where a family's values come from.
enum Values {
    Counter(fn(&Counts) -> u64),
    /// One counter per reason, all of them from the start.
    Failures,
    Gauge(fn(&Sample) -> f64),
    /// In seconds, with the buckets that the statistics have.
    Seconds(fn(&Counts) -> &Histogram),
    /// In milliseconds, with [`FIRST_RESPONSE_MS`].
    Milliseconds(fn(&Counts) -> &Histogram),
}

/// Bounds of `nv_inference_first_response_histogram_ms` (`metric_model_reporter.h`).
const FIRST_RESPONSE_MS: [u64; 4] = [100, 500, 2_000, 5_000];

const FAMILIES: [Family; 15] = [
    counter(
        "nv_inference_request_success",
        "Number of successful inference requests, all batch sizes",
        |counts| counts.success.count,
    ),
    Family {
        name: "nv_inference_request_failure",
        help: "Number of failed inference requests, all batch sizes",
        values: Values::Failures,
        shown: always,
    },
    counter(
        "nv_inference_count",
        "Number of inferences performed (does not include cached requests)",
        |counts| counts.inference_count,
    ),
    counter(
        "nv_inference_exec_count",
        "Number of model executions performed (does not include cached requests)",
        |counts| counts.execution_count,
    ),
    duration(
        "nv_inference_request_duration_us",
        "Cumulative inference request duration in microseconds (includes cached requests)",
        |counts| counts.success.us,
    ),
    duration(
        "nv_inference_queue_duration_us",
        "Cumulative inference queuing duration in microseconds (includes cached requests)",
        |counts| counts.queue.us,
    ),
    duration(
        "nv_inference_compute_input_duration_us",
        "Cumulative compute input duration in microseconds (does not include cached requests)",
        |counts| counts.compute_input.us,
    ),
    duration(
        "nv_inference_compute_infer_duration_us",
        "Cumulative compute inference duration in microseconds (does not include cached requests)",
        |counts| counts.compute_infer.us,
    ),
    duration(
        "nv_inference_compute_output_duration_us",
        "Cumulative inference compute output duration in microseconds (does not include cached requests)",
        |counts| counts.compute_output.us,
    ),
    gauge(
        "nv_inference_pending_request_count",
        "Instantaneous number of pending requests awaiting execution per-model.",
        |sample| sample.pending as f64,
    ),
    gauge("nv_model_load_duration_secs", "Model load time in seconds", |sample| {
        sample.load_duration.as_secs_f64()
    }),
    Family {
        name: "nv_inference_first_response_histogram_ms",
        help: "Duration from request to first response in milliseconds",
        // A model that is not decoupled has one response, so the first one ends the request.
        values: Values::Milliseconds(|counts| &counts.request_histogram),
        shown: |options| options.histogram_latencies,
    },
    seconds(
        "nereid_inference_request_duration_seconds",
        "Time from the arrival of a request in its model's queue to its answer",
        |counts| &counts.request_histogram,
    ),
    seconds(
        "nereid_inference_queue_duration_seconds",
        "Time that a request waited in its model's queue",
        |counts| &counts.queue_histogram,
    ),
    seconds(
        "nereid_inference_compute_duration_seconds",
        "Time from the start of the execution that a request was part of to its answer",
        |counts| &counts.compute_histogram,
    ),
];

/// The families that `options` want, each with all `samples`.
pub(super) fn render(samples: &[Sample], options: &MetricsOptions) -> String {
    if samples.is_empty() {
        return String::new();
    }
    let families: Vec<_> = FAMILIES
        .iter()
        .filter(|family| (family.shown)(options))
        .map(|family| family.collect(samples))
        .collect();
    TextEncoder::new().encode_to_string(&families).expect("every family has a name and a sample")
}

const fn counter(name: &'static str, help: &'static str, value: fn(&Counts) -> u64) -> Family {
    Family { name, help, values: Values::Counter(value), shown: always }
}

const fn duration(name: &'static str, help: &'static str, value: fn(&Counts) -> u64) -> Family {
    Family { name, help, values: Values::Counter(value), shown: |options| options.counter_latencies }
}

const fn gauge(name: &'static str, help: &'static str, value: fn(&Sample) -> f64) -> Family {
    Family { name, help, values: Values::Gauge(value), shown: always }
}

const fn seconds(name: &'static str, help: &'static str, value: fn(&Counts) -> &Histogram) -> Family {
    Family { name, help, values: Values::Seconds(value), shown: always }
}

fn always(_: &MetricsOptions) -> bool {
    true
}

impl Family {
    fn collect(&self, samples: &[Sample]) -> MetricFamily {
        let mut family = MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.values.kind());
        family.set_metric(samples.iter().flat_map(|sample| self.values.metrics(sample)).collect());
        family
    }
}

impl Values {
    fn kind(&self) -> MetricType {
        match self {
            Self::Counter(_) | Self::Failures => MetricType::COUNTER,
            Self::Gauge(_) => MetricType::GAUGE,
            Self::Seconds(_) | Self::Milliseconds(_) => MetricType::HISTOGRAM,
        }
    }

    fn metrics(&self, sample: &Sample) -> Vec<Metric> {
        let mut metric = Metric::from_label(sample.labels.iter().map(label).collect());
        match self {
            Self::Counter(value) => metric.set_counter(count(value(&sample.counts))),
            Self::Failures => return failures(sample),
            Self::Gauge(value) => metric.set_gauge({
                let mut gauge = proto::Gauge::default();
                gauge.set_value(value(sample));
                gauge
            }),
            Self::Seconds(value) => metric.set_histogram(histogram(value(&sample.counts), &BUCKETS_US, 1e6)),
            Self::Milliseconds(value) => {
                let bounds_us = FIRST_RESPONSE_MS.map(|ms| ms * 1000);
                metric.set_histogram(histogram(value(&sample.counts), &bounds_us, 1e3));
            }
        }
        vec![metric]
    }
}

fn failures(sample: &Sample) -> Vec<Metric> {
    let of_reason = |(reason, failed): (FailureReason, u64)| {
        let mut labels = sample.labels.clone();
        labels.push(("reason".to_owned(), reason.as_str().to_owned()));
        labels.sort();
        let mut metric = Metric::from_label(labels.iter().map(label).collect());
        metric.set_counter(count(failed));
        metric
    };
    FailureReason::ALL.into_iter().zip(sample.counts.failures).map(of_reason).collect()
}

/// `observed` with the buckets `bounds_us`, each of them one of [`BUCKETS_US`], in a unit that has `us_per_unit`
/// microseconds.
fn histogram(observed: &Histogram, bounds_us: &[u64], us_per_unit: f64) -> proto::Histogram {
    let bucket = |&bound_us: &u64| {
        let within = BUCKETS_US.partition_point(|us| *us <= bound_us);
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(bound_us as f64 / us_per_unit);
        bucket.set_cumulative_count(observed.buckets[..within].iter().sum());
        bucket
    };
    let mut histogram = proto::Histogram::default();
    histogram.set_bucket(bounds_us.iter().map(bucket).collect());
    histogram.set_sample_count(observed.count);
    histogram.set_sample_sum(observed.sum_ns as f64 / (us_per_unit * 1e3));
    histogram
}

fn count(value: u64) -> proto::Counter {
    let mut counter = proto::Counter::default();
    counter.set_value(value as f64);
    counter
}

fn label((name, value): &(String, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.clone());
    pair.set_value(value.clone());
    pair
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_triton_are_bounds_of_the_statistics() {
        assert!(FIRST_RESPONSE_MS.iter().all(|ms| BUCKETS_US.contains(&(ms * 1000))));
    }
}
