//! Flags of metrics and tracing.

use std::time::Duration;

use nereid_scheduler::Quantile;

use super::super::value::{self, Result};
use super::Value::{Boolean, Form, Integer, Number, Text};
use super::{Draft, Flag, put, ready};

pub(super) const METRICS: &[Flag] = &[
    ready(
        "allow-metrics",
        Boolean,
        "true",
        |d, v| put(&mut d.options.metrics.enabled, value::boolean(v)),
        "Provide Prometheus metrics.",
    ),
    ready(
        "allow-gpu-metrics",
        Boolean,
        "true",
        |d, v| put(&mut d.options.metrics.families.gpu, value::boolean(v)),
        "Provide metrics of the GPUs that CUDA uses.",
    ),
    ready(
        "allow-cpu-metrics",
        Boolean,
        "true",
        |d, v| put(&mut d.options.metrics.families.cpu, value::boolean(v)),
        "Provide metrics of the CPU and its memory.",
    ),
    ready(
        "metrics-address",
        Text,
        "the value of --http-address",
        |d, v| put(&mut d.metrics_address, Ok((!v.is_empty()).then(|| v.to_owned()))),
        "Address of the metrics endpoint.",
    ),
    ready(
        "metrics-port",
        Integer,
        "8002",
        |d, v| put(&mut d.options.metrics.port, value::integer(v)),
        "Port of the metrics endpoint; 0 takes any free one.",
    ),
    ready(
        "metrics-interval-ms",
        Number,
        "2000",
        |d, v| put(&mut d.options.metrics.families.interval, value::number(v).map(milliseconds)),
        "Least milliseconds between two readings of metrics that are not counted per request.",
    ),
    ready(
        "metrics-config",
        Form("string>=<string"),
        "counter_latencies=true, histogram_latencies=false, summary_latencies=false, \
         summary_quantiles=0.5:0.05,0.9:0.01,0.95:0.001,0.99:0.001,0.999:0.001",
        metrics_config,
        "<setting>=<value>, may be given several times. counter_latencies: cumulated durations of requests; \
         histogram_latencies: histogram of the time to the first response; summary_latencies: quantiles of \
         durations in the last minute; summary_quantiles: which ones, each with the error it may have.",
    ),
];

pub(super) const TRACING: &[Flag] = &[ready(
    "trace-config",
    Form("string>,<string>=<string"),
    "level=OFF, rate=1000, count=-1, mode=triton",
    |d, v| d.trace.config(v),
    "<mode>,<setting>=<value> with the mode triton or opentelemetry, or <setting>=<value> for level (OFF, \
     TIMESTAMPS, TENSORS), rate, count and mode. Mode triton has file, where traces are written to, and \
     log-frequency, the number of traces per file; mode opentelemetry has url, where a collector takes traces over \
     OTLP/HTTP (http://localhost:4318/v1/traces), resource=<key>=<value>, bsp_max_queue_size (2048), \
     bsp_schedule_delay (5000, in milliseconds) and bsp_max_export_batch_size (512). May be given several times.",
)];

fn milliseconds(number: f64) -> Duration {
    Duration::from_millis((number as u64).clamp(1, u64::from(u32::MAX)))
}

fn metrics_config(draft: &mut Draft, text: &str) -> Result<()> {
    let wrong = || format!("--metrics-config option format is <setting>=<value>. Got {text}");
    let (key, setting) = value::setting(text, &wrong)?;
    if key.contains(',') {
        return Err(wrong());
    }
    let families = &mut draft.options.metrics.families;
    let family = match key {
        "counter_latencies" => &mut families.counter_latencies,
        "histogram_latencies" => &mut families.histogram_latencies,
        "summary_latencies" => &mut families.summary_latencies,
        "summary_quantiles" => {
            let (quantiles, warnings) = quantiles(setting);
            if !quantiles.is_empty() {
                families.summary_quantiles = quantiles;
            }
            warnings.into_iter().for_each(|warning| draft.warn(warning));
            return Ok(());
        }
        _ => {
            // Triton passes over settings that it does not know; say so instead.
            draft.warn(format!("'--metrics-config {key}' is not supported and has no effect."));
            return Ok(());
        }
    };
    put(family, value::boolean(setting))
}

/// `0.5:0.05,0.9:0.01`; what is wrong is left out and named (`MetricReporterConfig::ParseQuantiles`).
fn quantiles(text: &str) -> (Vec<Quantile>, Vec<String>) {
    let (mut quantiles, mut warnings) = (Vec::new(), Vec::new());
    for pair in text.split(',') {
        let Some((quantile, error)) = pair.split_once(':') else {
            warnings.push(format!(
                "Invalid option: [{pair}]. No ':' delimiter found. Expected format is <quantile>:<error>"
            ));
            continue;
        };
        let share = |text: &str| text.trim().parse().ok().filter(|share| (0.0..=1.0).contains(share));
        match (share(quantile), share(error)) {
            (Some(quantile), Some(error)) => quantiles.push(Quantile { quantile, error }),
            _ => warnings
                .push(format!("Invalid option: [{pair}]. Error: quantile and error are numbers from 0 to 1")),
        }
    }
    (quantiles, warnings)
}

#[cfg(test)]
#[path = "telemetry_tests.rs"]
mod tests;
