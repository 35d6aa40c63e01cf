//! What a config says about its model's metrics. No metric is counted or shown here.

use nereid_protocol::inference::ModelConfig;
use nereid_protocol::inference::model_metrics::metric_control::MetricOptions;
use nereid_scheduler::SeriesId;

use crate::ModelId;

/// The one family whose options a config may change (`MetricReporterConfig`).
const FIRST_RESPONSE: &str = "nv_inference_first_response_histogram_ms";

/// The series of metrics that `version` of `model` is part of.
pub(crate) fn series(model: &ModelId, version: u64, config: &ModelConfig) -> SeriesId {
    let ModelId { namespace, name } = model.clone();
    SeriesId { model: name, namespace, version, tags: config.metric_tags.clone(), gpu_uuid: None }
}

/// Upper bounds of the histogram of first responses, where the config has its own; the last ones count. Other
/// families are named in the log.
pub(crate) fn first_response_ms(config: &ModelConfig) -> Option<&[f64]> {
    let mut bounds = None;
    for control in config.model_metrics.iter().flat_map(|metrics| &metrics.metric_control) {
        let family = control.metric_identifier.as_ref().map_or("", |identifier| identifier.family.as_str());
        match &control.metric_options {
            Some(MetricOptions::HistogramOptions(options)) if family == FIRST_RESPONSE => {
                bounds = Some(options.buckets.as_slice());
            }
            _ => tracing::warn!(
                "Metric family '{family}' in 'metric_identifier' is not a customizable metric in Triton core."
            ),
        }
    }
    bounds
}
