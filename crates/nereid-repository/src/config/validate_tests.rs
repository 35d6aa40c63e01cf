//! Each refusal of a config once.

use nereid_protocol::inference::model_config::SchedulingChoice;
use nereid_protocol::inference::{
    ModelEnsembling, ModelResponseCache, ModelSequenceBatching, ModelTransactionPolicy, ModelVersionPolicy,
};

use super::*;

fn good() -> ModelConfig {
    let mut config = ModelConfig {
        name: "m".into(),
        platform: "onnxruntime_onnx".into(),
        backend: "onnxruntime".into(),
        max_batch_size: 8,
        ..Default::default()
    };
    super::super::normalize::defaults(&mut config);
    config
}

#[track_caller]
fn refused(change: impl FnOnce(&mut ModelConfig), expected: &str) {
    let mut config = good();
    assert_eq!(validate(&config), Ok(()));
    change(&mut config);
    assert_eq!(validate(&config).unwrap_err().message(), expected);
}

#[track_caller]
fn batching(batching: ModelDynamicBatching, expected: &str) {
    refused(|config| config.scheduling_choice = Some(SchedulingChoice::DynamicBatching(batching)), expected);
}

#[test]
fn names_platforms_and_backends() {
    refused(|config| config.name.clear(), "model configuration must specify 'name'");
    refused(
        |config| {
            config.backend.clear();
            config.platform = "nosuch_platform".into();
        },
        "unexpected platform type 'nosuch_platform' for m",
    );
    refused(
        |config| config.platform = "tensorrt_plan".into(),
        "unexpected 'platform' and 'backend' pair, got:tensorrt_plan, onnxruntime",
    );
    refused(
        |config| config.backend = "tensorrt".into(),
        "unexpected 'platform' and 'backend' pair, got:onnxruntime_onnx, tensorrt",
    );
    refused(
        |config| config.platform = "ensemble".into(),
        "Ensemble model 'm' must have platform type 'ensemble' and empty backend type",
    );
    let mut own = good();
    (own.platform, own.backend) = ("anything".into(), "mine".into());
    assert_eq!(validate(&own), Ok(()), "an unknown backend may have any platform");
}

#[test]
fn ensembles() {
    refused(
        |config| {
            config.scheduling_choice = Some(SchedulingChoice::EnsembleScheduling(ModelEnsembling::default()));
        },
        "ensemble scheduling cannot be set for model 'm' whose platform is not ensemble",
    );
    refused(
        |config| {
            config.backend.clear();
            config.platform = "ensemble".into();
        },
        "ensemble scheduling must be set for ensemble m whose platform is ensemble",
    );
}

#[test]
fn sizes_and_policies() {
    refused(|config| config.max_batch_size = -1, "'max_batch_size' must be non-negative value for m");
    refused(|config| config.version_policy = None, "must specify 'version policy' for m");
    let chooses_nothing = Some(ModelVersionPolicy { policy_choice: None });
    assert_eq!(validate(&ModelConfig { version_policy: chooses_nothing, ..good() }), Ok(()));
    refused(
        |config| {
            config.model_transaction_policy = Some(ModelTransactionPolicy { decoupled: true });
            config.response_cache = Some(ModelResponseCache { enable: true });
        },
        "Response Cache does not currently support model m with 'decoupled' transaction policy. Please disable the \
         response cache.",
    );
}

#[test]
fn response_cache_of_sequences() {
    let cached = |enable| {
        let scheduling_choice = Some(SchedulingChoice::SequenceBatching(ModelSequenceBatching::default()));
        ModelConfig { scheduling_choice, response_cache: Some(ModelResponseCache { enable }), ..good() }
    };
    assert_eq!(response_cache(&cached(false)), Ok(()));
    let text = "Response Cache does not currently support model m with sequence batching scheduler. Please disable the \
                response cache.";
    for check in [response_cache, validate] {
        assert_eq!(check(&cached(true)), invalid(text));
    }
}

#[test]
fn dynamic_batching_fields() {
    let default = ModelDynamicBatching::default;
    batching(
        ModelDynamicBatching { preferred_batch_size: vec![4, 0], ..default() },
        "dynamic batching preferred size must be positive for m",
    );
    batching(
        ModelDynamicBatching { preferred_batch_size: vec![16], ..default() },
        "dynamic batching preferred size must be <= max batch size for m",
    );
    for level in [0, 4] {
        batching(
            ModelDynamicBatching { priority_levels: 3, default_priority_level: level, ..default() },
            "default priority level must be in range [1, 3] for m",
        );
    }
    let delay = ModelQueuePolicy {
        timeout_action: TimeoutAction::Delay as i32,
        default_timeout_microseconds: 1,
        ..Default::default()
    };
    batching(
        ModelDynamicBatching {
            priority_levels: 3,
            default_priority_level: 1,
            priority_queue_policy: [(4, delay)].into(),
            ..default()
        },
        "priority queue policy must have priority level in range [1, 3] for m",
    );
    batching(
        ModelDynamicBatching {
            priority_levels: 2,
            default_priority_level: 1,
            preserve_ordering: true,
            ..default()
        },
        "Only one priority level is allowed when 'preserve_ordering' is true for m",
    );
    let text = "Queue policy can not have DELAY as timeout action when 'preserve_ordering' is true for m";
    batching(
        ModelDynamicBatching { preserve_ordering: true, default_queue_policy: Some(delay), ..default() },
        text,
    );
    batching(
        ModelDynamicBatching {
            preserve_ordering: true,
            priority_queue_policy: [(1, delay)].into(),
            ..default()
        },
        text,
    );
}

#[test]
fn metrics() {
    use model_metrics::MetricControl;
    use model_metrics::metric_control::{HistogramOptions, MetricIdentifier, MetricOptions};
    let control = |family: Option<&str>, buckets: Option<Vec<f64>>| MetricControl {
        metric_identifier: family.map(|family| MetricIdentifier { family: family.into() }),
        metric_options: buckets.map(|buckets| MetricOptions::HistogramOptions(HistogramOptions { buckets })),
    };
    let descending = "histogram options must specify 'buckets' in ascending order for metric family 'f'";
    for (control, expected) in [
        (control(None, None), "metric control must specify 'metric_identifier'"),
        (control(Some(""), None), "metric identifier must specify non-empty 'family'"),
        (control(Some("f"), None), "metric control must specify 'histogram_options'"),
        (control(Some("f"), Some(vec![])), "histogram options must specify non-empty 'buckets'"),
        (control(Some("f"), Some(vec![1.0, 1.0])), descending),
        (control(Some("f"), Some(vec![2.0, 1.0])), descending),
        (control(Some("f"), Some(vec![f64::NAN])), descending),
        (control(Some("f"), Some(vec![1.0, f64::NAN, 2.0])), descending),
    ] {
        refused(
            |config| config.model_metrics = Some(ModelMetrics { metric_control: vec![control] }),
            expected,
        );
    }
}
