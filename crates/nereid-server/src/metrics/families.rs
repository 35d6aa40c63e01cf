//! The table of metric families, in the order in which Triton's page has them (counters, gauges, histograms,
//! summaries, each in the order of `metrics.cc`), then our own.

use std::sync::Arc;

use nereid_repository::Readiness;
use nereid_scheduler::statistics::latencies::{Buckets, Part};
use nereid_scheduler::statistics::{BUCKETS_US, Counts, FailureReason, Histogram};
use nereid_scheduler::{Busy, CacheValues, SummaryValues};

use super::MetricsOptions;
use super::gpu::GpuValues;
use super::host::HostValues;
use super::limits::Limits;
use super::sample::{self, Sample, Serving};
use super::text::{Kind, Labels, Number, Text};
use crate::gpus::PinnedMemory;

/// One family.
struct Family {
    name: &'static str,
    help: &'static str,
    values: Values,
}

/// Where a family's values come from.
enum Values {
    Counter(fn(&Counts) -> u64),
    /// A counter that `counter_latencies=false` takes away.
    Latency(fn(&Counts) -> u64),
    /// The same, of models that use the response cache.
    Cache(fn(&Counts) -> u64),
    /// One counter per reason, all of them from the start.
    Failures,
    Gauge(fn(&Serving) -> f64),
    /// Of models that have instances there.
    Instances(Kind, fn(&Busy) -> f64),
    /// One value for each version that should serve.
    Readiness,
    /// One value without labels.
    Server(fn(&ServerValues) -> Option<f64>),
    /// The same, of a counter.
    ServerCounter(fn(&ServerValues) -> Option<f64>),
    /// The same, of the response cache in memory.
    CacheGauge(fn(&CacheValues) -> f64),
    /// One value for each GPU that tells it.
    Gpu(Kind, fn(&GpuValues) -> Option<f64>),
    /// In seconds, with the buckets that the statistics have.
    Seconds(fn(&Counts) -> &Histogram),
    /// In milliseconds, with the buckets that the model has.
    FirstResponse,
    Summary(Part),
}

/// What is not about a model.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerValues {
    /// The machine, unless `--allow-cpu-metrics=false`.
    pub(super) host: Option<HostValues>,
    /// The response cache, if there is one in memory.
    pub(super) cache: Option<CacheValues>,
    /// GPUs, unless `--allow-gpu-metrics=false`.
    pub(super) gpus: Arc<[GpuValues]>,
    /// Page-locked memory for copies to and from GPUs.
    pub(super) pinned: PinnedMemory,
    /// Every version that should serve.
    pub(super) models: Vec<Readiness>,
    /// What health checks are told.
    pub(super) ready: bool,
    /// What the process may use, and how requests in flight use it.
    pub(super) limits: Limits,
}

const FAMILIES: &[Family] = &[
    counter(
        "nv_inference_request_success",
        "Number of successful inference requests, all batch sizes",
        |counts| counts.success.count,
    ),
    family(
        "nv_inference_request_failure",
        "Number of failed inference requests, all batch sizes",
        Values::Failures,
    ),
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
    latency(
        "nv_inference_request_duration_us",
        "Cumulative inference request duration in microseconds (includes cached requests)",
        |counts| counts.success.us,
    ),
    latency(
        "nv_inference_queue_duration_us",
        "Cumulative inference queuing duration in microseconds (includes cached requests)",
        |counts| counts.queue.us,
    ),
    latency(
        "nv_inference_compute_input_duration_us",
        "Cumulative compute input duration in microseconds (does not include cached requests)",
        |counts| counts.compute_input.us,
    ),
    latency(
        "nv_inference_compute_infer_duration_us",
        "Cumulative compute inference duration in microseconds (does not include cached requests)",
        |counts| counts.compute_infer.us,
    ),
    latency(
        "nv_inference_compute_output_duration_us",
        "Cumulative inference compute output duration in microseconds (does not include cached requests)",
        |counts| counts.compute_output.us,
    ),
    family(
        "nv_cache_num_hits_per_model",
        "Number of cache hits per model",
        Values::Cache(|counts| counts.cache_hit.count),
    ),
    family(
        "nv_cache_hit_duration_per_model",
        "Total cache hit duration per model, in microseconds",
        Values::Cache(|counts| counts.cache_hit.us),
    ),
    family(
        "nv_cache_num_misses_per_model",
        "Number of cache misses per model",
        Values::Cache(|counts| counts.cache_miss.count),
    ),
    family(
        "nv_cache_miss_duration_per_model",
        "Total cache miss (insert+lookup) duration per model, in microseconds",
        Values::Cache(|counts| counts.cache_miss.us),
    ),
    gpu(
        Kind::Counter,
        "nv_energy_consumption",
        "GPU energy consumption in joules since the Triton Server started",
        |gpu| gpu.energy_joules,
    ),
    family(
        "nv_inference_pending_request_count",
        "Instantaneous number of pending requests awaiting execution per-model.",
        Values::Gauge(|serving| serving.pending as f64),
    ),
    family(
        "nv_model_load_duration_secs",
        "Model load time in seconds",
        Values::Gauge(|serving| serving.load_duration.as_secs_f64()),
    ),
    // None without a GPU: Triton shows the size that was asked for all the same.
    server("nv_pinned_memory_pool_total_bytes", "Pinned memory pool total memory size, in bytes", |server| {
        Some(server.pinned.total as f64)
    }),
    server("nv_pinned_memory_pool_used_bytes", "Pinned memory pool used memory size, in bytes", |server| {
        Some(server.pinned.used as f64)
    }),
    gpu(Kind::Gauge, "nv_gpu_utilization", "GPU utilization rate [0.0 - 1.0)", |gpu| gpu.utilization),
    gpu(Kind::Gauge, "nv_gpu_memory_total_bytes", "GPU total memory, in bytes", |gpu| {
        gpu.memory_total_bytes.map(|bytes| bytes as f64)
    }),
    gpu(Kind::Gauge, "nv_gpu_memory_used_bytes", "GPU used memory, in bytes", |gpu| {
        gpu.memory_used_bytes.map(|bytes| bytes as f64)
    }),
    gpu(Kind::Gauge, "nv_gpu_power_usage", "GPU power usage in watts", |gpu| gpu.power_usage_watts),
    gpu(Kind::Gauge, "nv_gpu_power_limit", "GPU power management limit in watts", |gpu| {
        gpu.power_limit_watts
    }),
    server("nv_cpu_utilization", "CPU utilization rate [0.0 - 1.0]", |server| {
        server.host.map(|host| host.utilization)
    }),
    server("nv_cpu_memory_total_bytes", "CPU total memory (RAM), in bytes", |server| {
        server.host.map(|host| host.memory_total_bytes as f64)
    }),
    server("nv_cpu_memory_used_bytes", "CPU used memory (RAM), in bytes", |server| {
        server.host.map(|host| host.memory_used_bytes as f64)
    }),
    cache("nv_cache_util", "Cache utilization [0.0 - 1.0]", |cache| cache.utilization),
    cache("nv_cache_num_entries", "Number of responses stored in response cache", |cache| {
        cache.entries as f64
    }),
    cache("nv_cache_num_hits", "Number of cache hits in response cache", |cache| cache.hits as f64),
    cache("nv_cache_num_misses", "Number of cache misses in response cache", |cache| cache.misses as f64),
    cache("nv_cache_num_lookups", "Number of cache lookups in response cache", |cache| {
        (cache.hits + cache.misses) as f64
    }),
    cache("nv_cache_num_evictions", "Number of cache evictions in response cache", |cache| {
        cache.evictions as f64
    }),
    cache(
        "nv_cache_lookup_duration",
        "Total cache lookup duration (hit and miss), in microseconds",
        |cache| cache.look_up_us as f64,
    ),
    cache("nv_cache_insertion_duration", "Total cache insertion duration, in microseconds", |cache| {
        cache.insertion_us as f64
    }),
    family(
        "nv_inference_first_response_histogram_ms",
        "Duration from request to first response in milliseconds",
        Values::FirstResponse,
    ),
    family(
        "nv_inference_request_summary_us",
        "Summary of inference request duration in microseconds (includes cached requests)",
        Values::Summary(Part::Request),
    ),
    family(
        "nv_inference_queue_summary_us",
        "Summary of inference queuing duration in microseconds (includes cached requests)",
        Values::Summary(Part::Queue),
    ),
    family(
        "nv_inference_compute_input_summary_us",
        "Cumulative compute input duration in microseconds (does not include cached requests)",
        Values::Summary(Part::ComputeInput),
    ),
    family(
        "nv_inference_compute_infer_summary_us",
        "Cumulative compute inference duration in microseconds (does not include cached requests)",
        Values::Summary(Part::ComputeInfer),
    ),
    family(
        "nv_inference_compute_output_summary_us",
        "Cumulative inference compute output duration in microseconds (does not include cached requests)",
        Values::Summary(Part::ComputeOutput),
    ),
    family(
        "nv_cache_hit_summary_per_model",
        "Summary of cache hit counts/durations per model, in microseconds.",
        Values::Summary(Part::CacheHit),
    ),
    family(
        "nv_cache_miss_summary_per_model",
        "Summary of cache miss counts/durations per model, in microseconds.",
        Values::Summary(Part::CacheMiss),
    ),
    family(
        "nereid_inference_request_duration_seconds",
        "Time from the arrival of a request in its model's queue to its answer",
        Values::Seconds(|counts| &counts.request_histogram),
    ),
    family(
        "nereid_inference_queue_duration_seconds",
        "Time that a request waited in its model's queue",
        Values::Seconds(|counts| &counts.queue_histogram),
    ),
    family(
        "nereid_inference_compute_duration_seconds",
        "Time from the start of the execution that a request was part of to its answer",
        Values::Seconds(|counts| &counts.compute_histogram),
    ),
    family(
        "nereid_instance_busy_seconds_total",
        "Time in which instances of the model ran batches, of all of them together",
        Values::Instances(Kind::Counter, |busy| busy.total_ns as f64 / 1e9),
    ),
    family(
        "nereid_instances",
        "Number of instances of the model",
        Values::Instances(Kind::Gauge, |busy| busy.instances as f64),
    ),
    family(
        "nereid_model_busy_ratio",
        "Share of the present second and the five before in which instances of the model ran batches [0.0 - 1.0]",
        Values::Instances(Kind::Gauge, |busy| busy.ratio().unwrap_or(0.0)),
    ),
    family(
        "nereid_model_ready",
        "Whether the model is ready (1), or loads for the first time or failed to load (0)",
        Values::Readiness,
    ),
    server("nereid_server_ready", "Whether the server is ready, as health checks are told", |server| {
        Some(f64::from(u8::from(server.ready)))
    }),
    server("nereid_cpu_quota_cores", "CPUs that the container may use at a time", |server| {
        server.limits.cpu_quota
    }),
    server_counter(
        "nereid_cpu_throttled_periods_total",
        "Periods in which the container had used up its CPU quota",
        |server| server.limits.throttling.map(|throttling| throttling.periods as f64),
    ),
    server_counter(
        "nereid_cpu_throttled_seconds_total",
        "Time for which the container was stopped because its CPU quota was used up, all CPUs together",
        |server| server.limits.throttling.map(|throttling| throttling.seconds),
    ),
    server("nereid_memory_limit_bytes", "Memory that the container may have", |server| {
        server.limits.memory.map(|bytes| bytes as f64)
    }),
    server("nereid_inflight_limit_bytes", "Memory that requests in flight may have", |server| {
        server.limits.in_flight.limit.map(|bytes| bytes as f64)
    }),
    server("nereid_inflight_bytes", "Memory that requests in flight have", |server| {
        Some(server.limits.in_flight.in_flight as f64)
    }),
    server_counter(
        "nereid_inflight_rejected_requests_total",
        "Requests that were refused because requests in flight had too much memory",
        |server| Some(server.limits.in_flight.refused as f64),
    ),
];

/// The page: the families that `options` want, each with all `samples` that have it.
pub(super) fn render(samples: &[Sample], server: &ServerValues, options: &MetricsOptions) -> String {
    let mut text = Text::default();
    for family in FAMILIES {
        text.family(family.name, family.help, family.values.kind());
        match family.values {
            Values::Latency(_) | Values::Cache(_) if !options.counter_latencies => {}
            Values::Server(value) | Values::ServerCounter(value) => {
                if let Some(value) = value(server) {
                    text.line(family.name, "", &Labels::default(), Number(value));
                }
            }
            Values::CacheGauge(value) => {
                if let Some(cache) = &server.cache {
                    text.line(family.name, "", &Labels::default(), Number(value(cache)));
                }
            }
            Values::Readiness => {
                for model in &server.models {
                    text.line(family.name, "", &sample::of_version(model), u8::from(model.ready));
                }
            }
            Values::Gpu(_, value) => {
                for (gpu, value) in server.gpus.iter().filter_map(|gpu| Some((gpu, value(gpu)?))) {
                    text.line(
                        family.name,
                        "",
                        &Labels::new([("gpu_uuid", gpu.uuid.as_str())]),
                        Number(value),
                    );
                }
            }
            _ => samples.iter().for_each(|sample| family.write(sample, &mut text)),
        }
    }
    text.finish()
}

const fn family(name: &'static str, help: &'static str, values: Values) -> Family {
    Family { name, help, values }
}

const fn counter(name: &'static str, help: &'static str, value: fn(&Counts) -> u64) -> Family {
    family(name, help, Values::Counter(value))
}

const fn latency(name: &'static str, help: &'static str, value: fn(&Counts) -> u64) -> Family {
    family(name, help, Values::Latency(value))
}

const fn server(name: &'static str, help: &'static str, value: fn(&ServerValues) -> Option<f64>) -> Family {
    family(name, help, Values::Server(value))
}

const fn server_counter(
    name: &'static str,
    help: &'static str,
    value: fn(&ServerValues) -> Option<f64>,
) -> Family {
    family(name, help, Values::ServerCounter(value))
}

const fn gpu(
    kind: Kind,
    name: &'static str,
    help: &'static str,
    value: fn(&GpuValues) -> Option<f64>,
) -> Family {
    family(name, help, Values::Gpu(kind, value))
}

const fn cache(name: &'static str, help: &'static str, value: fn(&CacheValues) -> f64) -> Family {
    family(name, help, Values::CacheGauge(value))
}

impl Values {
    fn kind(&self) -> Kind {
        match self {
            Self::Counter(_) | Self::Latency(_) | Self::Cache(_) | Self::Failures => Kind::Counter,
            Self::ServerCounter(_) => Kind::Counter,
            Self::Gpu(kind, _) | Self::Instances(kind, _) => *kind,
            Self::Gauge(_) | Self::Server(_) | Self::CacheGauge(_) | Self::Readiness => Kind::Gauge,
            Self::Seconds(_) | Self::FirstResponse => Kind::Histogram,
            Self::Summary(_) => Kind::Summary,
        }
    }
}

impl Family {
    /// Writes what `sample` has of this family.
    fn write(&self, sample: &Sample, text: &mut Text) {
        if let Values::Failures = self.values {
            for (reason, failed) in FailureReason::ALL.into_iter().zip(sample.series.failures) {
                text.line(self.name, "", &sample.labels_with("reason", reason.as_str()), failed);
            }
        }
        if let (Values::Gauge(value), Some(serving)) = (&self.values, &sample.serving) {
            text.line(self.name, "", &sample.labels, Number(value(serving)));
        }
        let Some(live) = &sample.series.live else { return };
        match self.values {
            Values::Counter(value) | Values::Latency(value) => {
                text.line(self.name, "", &sample.labels, value(&live.counts));
            }
            Values::Cache(value) => {
                if live.is_cached {
                    text.line(self.name, "", &sample.labels, value(&live.counts));
                }
            }
            Values::Instances(_, value) => {
                if live.busy.instances > 0 {
                    text.line(self.name, "", &sample.labels, Number(value(&live.busy)));
                }
            }
            Values::Seconds(value) => self.write_seconds(sample, value(&live.counts), text),
            Values::FirstResponse => {
                if let Some(buckets) = &live.latencies.first_response {
                    self.write_milliseconds(sample, buckets, text);
                }
            }
            Values::Summary(part) => {
                // As in Triton, the duration of requests has no summary where the cache has some.
                let is_there = match part {
                    Part::Request => !live.is_cached,
                    Part::CacheHit | Part::CacheMiss => live.is_cached,
                    _ => true,
                };
                if let Some(summary) = live.latencies.summaries.get(part as usize).filter(|_| is_there) {
                    self.write_summary(sample, summary, text);
                }
            }
            Values::Failures
            | Values::Gauge(_)
            | Values::Server(_)
            | Values::ServerCounter(_)
            | Values::CacheGauge(_)
            | Values::Readiness
            | Values::Gpu(..) => {}
        }
    }

    fn write_seconds(&self, sample: &Sample, histogram: &Histogram, text: &mut Text) {
        let bounds = BUCKETS_US.iter().map(|us| *us as f64 / 1e6);
        let sum = histogram.sum_ns as f64 / 1e9;
        self.write_histogram(sample, sum, bounds.zip(histogram.buckets), histogram.count, text);
    }

    fn write_milliseconds(&self, sample: &Sample, buckets: &Buckets, text: &mut Text) {
        let bounds = buckets.bounds_ms.iter().copied().zip(buckets.counts.iter().copied());
        self.write_histogram(sample, buckets.sum_ns as f64 / 1e6, bounds, buckets.count, text);
    }

    /// `buckets` are upper bounds and what is between them.
    fn write_histogram(
        &self,
        sample: &Sample,
        sum: f64,
        buckets: impl Iterator<Item = (f64, u64)>,
        count: u64,
        text: &mut Text,
    ) {
        text.line(self.name, "_count", &sample.labels, count);
        text.line(self.name, "_sum", &sample.labels, Number(sum));
        let mut within = 0;
        let rest = [(f64::INFINITY, 0)];
        for (bound, observed) in buckets.filter(|(bound, _)| *bound < f64::INFINITY).chain(rest) {
            within = if bound < f64::INFINITY { within + observed } else { count };
            text.line(self.name, "_bucket", &sample.labels.with("le", Number(bound)), within);
        }
    }

    fn write_summary(&self, sample: &Sample, summary: &SummaryValues, text: &mut Text) {
        text.line(self.name, "_count", &sample.labels, summary.count);
        text.line(self.name, "_sum", &sample.labels, summary.sum);
        for &(quantile, value) in &summary.quantiles {
            let labels = sample.labels.with("quantile", Number(quantile));
            text.line(self.name, "", &labels, Number(value));
        }
    }
}
