//! Checks of a config that need no look at tensors, instances or the model (`ValidateModelConfig` in Triton's
//! model_config_utils.cc), with its texts and in its order.

use nereid_core::{Error, Result};
use nereid_protocol::inference::model_config::SchedulingChoice;
use nereid_protocol::inference::model_queue_policy::TimeoutAction;
use nereid_protocol::inference::{
    ModelConfig, ModelDynamicBatching, ModelMetrics, ModelQueuePolicy, model_metrics,
};

use super::{ENSEMBLE, dynamic_batching, ensemble, sequence};

/// Backends whose platform is fixed.
const PAIRS: [(&str, &[&str]); 4] = [
    ("onnxruntime", &["onnxruntime_onnx"]),
    ("tensorrt", &["tensorrt_plan"]),
    ("pytorch", &["pytorch_libtorch", "torch_aoti"]),
    ("tensorflow", &["tensorflow_graphdef", "tensorflow_savedmodel"]),
];

/// Refuses a config that contradicts itself.
///
/// # Errors
/// InvalidArg with Triton's text.
pub(crate) fn validate(config: &ModelConfig) -> Result<()> {
    let name = &config.name;
    if name.is_empty() {
        return invalid("model configuration must specify 'name'");
    }
    check_backend(config)?;
    if config.max_batch_size < 0 {
        return invalid(format!("'max_batch_size' must be non-negative value for {name}"));
    }
    if config.version_policy.is_none() {
        return invalid(format!("must specify 'version policy' for {name}"));
    }
    if let Some(batching) = dynamic_batching(config) {
        check_dynamic_batching(batching, config)?;
    }
    sequence::validate(config)?;
    if let Some(scheduling) = ensemble::of(config) {
        ensemble::validate(scheduling, config)?;
    } else if config.platform == ENSEMBLE {
        return invalid(format!(
            "ensemble scheduling must be set for ensemble {name} whose platform is {ENSEMBLE}"
        ));
    }
    response_cache(config)?;
    config.model_metrics.as_ref().map_or(Ok(()), check_metrics)
}

/// Refuses the response cache where it cannot be.
///
/// # Errors
/// InvalidArg with Triton's text.
pub(crate) fn response_cache(config: &ModelConfig) -> Result<()> {
    let reason = match &config.scheduling_choice {
        _ if !config.response_cache.is_some_and(|cache| cache.enable) => return Ok(()),
        Some(SchedulingChoice::SequenceBatching(_)) => "sequence batching scheduler",
        _ if config.model_transaction_policy.is_some_and(|policy| policy.decoupled) => {
            "'decoupled' transaction policy"
        }
        _ => return Ok(()),
    };
    invalid(format!(
        "Response Cache does not currently support model {} with {reason}. Please disable the response cache.",
        config.name
    ))
}

fn check_backend(config: &ModelConfig) -> Result<()> {
    let ModelConfig { name, platform, backend, .. } = config;
    if backend.is_empty() {
        if platform != ENSEMBLE {
            return invalid(format!("unexpected platform type '{platform}' for {name}"));
        }
    } else if platform == ENSEMBLE {
        return invalid(format!(
            "Ensemble model '{name}' must have platform type '{platform}' and empty backend type"
        ));
    }
    match PAIRS.iter().find(|(known, _)| known == backend) {
        Some((_, platforms)) if !platforms.contains(&platform.as_str()) => {
            invalid(format!("unexpected 'platform' and 'backend' pair, got:{platform}, {backend}"))
        }
        _ => Ok(()),
    }
}

fn check_dynamic_batching(batching: &ModelDynamicBatching, config: &ModelConfig) -> Result<()> {
    let name = &config.name;
    for &size in &batching.preferred_batch_size {
        if size <= 0 {
            return invalid(format!("dynamic batching preferred size must be positive for {name}"));
        }
        if size > config.max_batch_size {
            return invalid(format!("dynamic batching preferred size must be <= max batch size for {name}"));
        }
    }
    let levels = batching.priority_levels;
    if levels != 0 {
        if !(1..=levels).contains(&batching.default_priority_level) {
            return invalid(format!("default priority level must be in range [1, {levels}] for {name}"));
        }
        if batching.priority_queue_policy.keys().any(|level| !(1..=levels).contains(level)) {
            return invalid(format!(
                "priority queue policy must have priority level in range [1, {levels}] for {name}"
            ));
        }
    }
    if !batching.preserve_ordering {
        return Ok(());
    }
    if levels > 1 {
        return invalid(format!(
            "Only one priority level is allowed when 'preserve_ordering' is true for {name}"
        ));
    }
    let delays = |policy: &ModelQueuePolicy| {
        policy.default_timeout_microseconds != 0 && policy.timeout_action() == TimeoutAction::Delay
    };
    let mut policies = batching.default_queue_policy.iter().chain(batching.priority_queue_policy.values());
    if policies.any(delays) {
        return invalid(format!(
            "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true for {name}"
        ));
    }
    Ok(())
}

fn check_metrics(metrics: &ModelMetrics) -> Result<()> {
    use model_metrics::metric_control::MetricOptions;
    for control in &metrics.metric_control {
        let Some(identifier) = &control.metric_identifier else {
            return invalid("metric control must specify 'metric_identifier'");
        };
        if identifier.family.is_empty() {
            return invalid("metric identifier must specify non-empty 'family'");
        }
        let Some(MetricOptions::HistogramOptions(options)) = &control.metric_options else {
            return invalid("metric control must specify 'histogram_options'");
        };
        if options.buckets.is_empty() {
            return invalid("histogram options must specify non-empty 'buckets'");
        }
        // Triton leaves this to prometheus-cpp, which ends the process.
        let ascending = options.buckets.windows(2).all(|pair| pair[0] < pair[1]);
        if !ascending || options.buckets[0].is_nan() {
            return invalid(format!(
                "histogram options must specify 'buckets' in ascending order for metric family '{}'",
                identifier.family
            ));
        }
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> Result<()> {
    Err(Error::invalid_arg(message))
}

#[cfg(test)]
#[path = "validate_tests.rs"]
mod tests;
