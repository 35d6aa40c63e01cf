//! The metrics page: what the schedulers' statistics say, as Prometheus text.
//!
//! Names, types, labels and help texts of the `nv_*` families are Triton's (`metrics.cc`,
//! `metric_model_reporter.cc`); `nereid_*` families are our own. Nothing is counted here: every page is a
//! snapshot of the counters that the v2 statistics show too. No endpoint and no HTTP lives here.

mod families;
mod sample;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use nereid_repository::ModelVersion;
use sample::Sample;

/// Content type of [`render`]'s text, as Triton's metrics endpoint gives it.
pub const CONTENT_TYPE: &str = "text/plain; charset=utf-8";

/// Which families are shown (`--metrics-config`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetricsOptions {
    /// The cumulated durations, `nv_inference_…_duration_us`. Counts are always shown.
    pub counter_latencies: bool,
    /// `nv_inference_first_response_histogram_ms`.
    pub histogram_latencies: bool,
}

/// Triton's defaults.
impl Default for MetricsOptions {
    fn default() -> Self {
        Self { counter_latencies: true, histogram_latencies: false }
    }
}

/// The page that shows `models`, one series per version and family, zeros included; empty without models.
///
/// A model on a GPU has its one series without a `gpu_uuid` label, unlike in Triton.
pub fn render(models: &[Arc<ModelVersion>], options: &MetricsOptions) -> String {
    let samples: Vec<_> = models.iter().map(|model| Sample::of(model)).collect();
    families::render(&samples, options)
}
