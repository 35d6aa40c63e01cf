//! What the command line says about metrics. No parsing here.

use std::time::Duration;

use nereid_scheduler::{LatencyOptions, Quantile};

/// Quantiles of the summaries unless others are asked for (`MetricReporterConfig::quantiles_`).
pub const DEFAULT_QUANTILES: [Quantile; 5] = [
    Quantile { quantile: 0.5, error: 0.05 },
    Quantile { quantile: 0.9, error: 0.01 },
    Quantile { quantile: 0.95, error: 0.001 },
    Quantile { quantile: 0.99, error: 0.001 },
    Quantile { quantile: 0.999, error: 0.001 },
];

/// Which families are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct MetricsOptions {
    /// The cumulated durations, `nv_inference_…_duration_us`. Counts are always shown.
    pub counter_latencies: bool,
    /// `nv_inference_first_response_histogram_ms`.
    pub histogram_latencies: bool,
    /// `nv_inference_…_summary_us`.
    pub summary_latencies: bool,
    /// What the summaries show.
    pub summary_quantiles: Vec<Quantile>,
    /// `nv_gpu_…` and `nv_energy_consumption`, and the label `gpu_uuid` of models.
    pub gpu: bool,
    /// `nv_cpu_…`.
    pub cpu: bool,
    /// How old the values of `nv_gpu_…` and `nv_cpu_…` may be.
    pub interval: Duration,
}

impl MetricsOptions {
    /// What has to be measured of each model.
    pub fn latencies(&self) -> LatencyOptions {
        LatencyOptions {
            histograms: self.histogram_latencies,
            summaries: self.summary_latencies.then(|| self.summary_quantiles.clone()),
        }
    }
}

/// Triton's defaults.
impl Default for MetricsOptions {
    fn default() -> Self {
        Self {
            counter_latencies: true,
            histogram_latencies: false,
            summary_latencies: false,
            summary_quantiles: DEFAULT_QUANTILES.to_vec(),
            gpu: true,
            cpu: true,
            interval: Duration::from_secs(2),
        }
    }
}
