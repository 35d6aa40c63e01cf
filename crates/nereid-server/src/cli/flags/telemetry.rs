//! Flags of metrics and tracing.

use super::super::value::{self, Result};
use super::Value::{Boolean, Form, Integer, Number, Text};
use super::{Draft, Flag, is, not_yet, put, ready};

pub(super) const METRICS: &[Flag] = &[
    ready(
        "allow-metrics",
        Boolean,
        "true",
        |d, v| put(&mut d.options.metrics.enabled, value::boolean(v)),
        "Provide Prometheus metrics.",
    ),
    not_yet("allow-gpu-metrics", Boolean, "true", is::boolean, "Provide metrics of the GPUs."),
    not_yet("allow-cpu-metrics", Boolean, "true", is::boolean, "Provide metrics of the CPU and its memory."),
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
        |d, v| put(&mut d.options.metrics.interval_ms, value::number(v).map(|ms| (ms as u32).max(1))),
        "Milliseconds between two readings of metrics that are not counted per request.",
    ),
    ready(
        "metrics-config",
        Form("string>=<string"),
        "counter_latencies=true, histogram_latencies=false",
        metrics_config,
        "<setting>=<value>, may be given several times. counter_latencies: cumulated durations of requests; \
         histogram_latencies: histogram of the time to the first response. summary_latencies and \
         summary_quantiles are not there yet.",
    ),
];

pub(super) const TRACING: &[Flag] = &[ready(
    "trace-config",
    Form("string>,<string>=<string"),
    "level=OFF, rate=1000, count=-1, mode=triton",
    |d, v| d.trace.config(v),
    "<mode>,<setting>=<value> with the mode triton or opentelemetry, or <setting>=<value> for level (OFF, \
     TIMESTAMPS, TENSORS), rate, count and mode. Mode triton has file, where traces are written to, and \
     log-frequency, the number of traces per file; opentelemetry is not there yet. May be given several times.",
)];

fn metrics_config(draft: &mut Draft, text: &str) -> Result<()> {
    let wrong = || format!("--metrics-config option format is <setting>=<value>. Got {text}");
    let (key, on) = value::setting(text, &wrong)?;
    if key.contains(',') {
        return Err(wrong());
    }
    let families = &mut draft.options.metrics.families;
    let family = match key {
        "counter_latencies" => &mut families.counter_latencies,
        "histogram_latencies" => &mut families.histogram_latencies,
        _ => {
            // Triton passes over settings that it does not know; say so instead.
            draft.warn(format!("'--metrics-config {key}' is not supported and has no effect."));
            return Ok(());
        }
    };
    put(family, value::boolean(on))
}
