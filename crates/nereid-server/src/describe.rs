//! What the server says about itself and its models, as protobuf messages; HTTP shows the same ones as
//! JSON. Metadata, statistics and the repository index are described here once.

use nereid_core::{DataType, Result};
use nereid_protocol::inference::{
    InferBatchStatistics, InferStatistics, ModelMetadataResponse, ModelStatistics, ModelStatisticsResponse,
    RepositoryIndexResponse, ServerMetadataResponse, StatisticDuration,
    model_metadata_response::TensorMetadata, repository_index_response::ModelIndex,
};
use nereid_repository::ModelVersion;
use nereid_scheduler::statistics::Duration;

use crate::service::Service;

/// The Triton release whose behaviour Nereid follows, and whose number clients see.
pub const TRITON_VERSION: &str = "2.73.0";

/// Protocol extensions, in Triton's order.
const EXTENSIONS: [&str; 13] = [
    "classification",
    "sequence",
    "model_repository",
    "model_repository(unload_dependents)",
    "schedule_policy",
    "model_configuration",
    "system_shared_memory",
    "cuda_shared_memory",
    "binary_tensor_data",
    "parameters",
    "statistics",
    "trace",
    "logging",
];

/// Name, version and extensions.
pub(crate) fn server(service: &Service) -> ServerMetadataResponse {
    ServerMetadataResponse {
        name: service.id().to_owned(),
        version: TRITON_VERSION.to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).into(),
    }
}

/// Inputs and outputs of a model, and its ready versions: all of them unless one was asked for.
///
/// # Errors
/// The model or version is unknown or not ready.
pub(crate) fn model(service: &Service, name: &str, version: Option<u64>) -> Result<ModelMetadataResponse> {
    let model = service.model(name, version)?;
    let versions = match version {
        Some(version) => vec![version],
        None => service.repository().ready_versions(name),
    };
    let config = &model.wire_config;
    let tensor = |name: &str, datatype: i32, dims: &[i64]| {
        let batch = (config.max_batch_size > 0).then_some(-1);
        TensorMetadata {
            name: name.to_owned(),
            datatype: DataType::from_number(datatype).map_or("", DataType::protocol_name).to_owned(),
            shape: batch.into_iter().chain(dims.iter().copied()).collect(),
        }
    };
    Ok(ModelMetadataResponse {
        name: name.to_owned(),
        versions: versions.iter().map(u64::to_string).collect(),
        platform: model.platform.clone(),
        inputs: config.input.iter().map(|i| tensor(&i.name, i.data_type, &i.dims)).collect(),
        outputs: config.output.iter().map(|o| tensor(&o.name, o.data_type, &o.dims)).collect(),
    })
}

/// Statistics of one model or, with an empty name, of all. Where models are told apart by namespace, all go by
/// `namespace::name`, which is what `TRITONSERVER_ServerModelStatistics` has as their names (and fails to look up).
///
/// # Errors
/// The model or version is not loaded.
pub(crate) fn statistics(
    service: &Service,
    name: &str,
    version: Option<u64>,
) -> Result<ModelStatisticsResponse> {
    let models = service.repository().statistics_targets(name, version)?;
    // Among all of them, names alone would not tell models apart.
    let shown = |model: &ModelVersion| match name {
        "" => model.id.to_string(),
        name => name.to_owned(),
    };
    Ok(ModelStatisticsResponse {
        model_stats: models.iter().map(|model| statistics_of(model, shown(model))).collect(),
    })
}

fn statistics_of(model: &ModelVersion, name: String) -> ModelStatistics {
    let counts = model.scheduler().statistics().snapshot();
    let batch = |(size, counts): (&usize, &nereid_scheduler::statistics::BatchCounts)| InferBatchStatistics {
        batch_size: *size as u64,
        compute_input: duration(counts.compute_input),
        compute_infer: duration(counts.compute_infer),
        compute_output: duration(counts.compute_output),
    };
    ModelStatistics {
        name,
        version: model.version.to_string(),
        last_inference: counts.last_inference_ms,
        inference_count: counts.inference_count,
        execution_count: counts.execution_count,
        inference_stats: Some(InferStatistics {
            success: duration(counts.success),
            fail: duration(counts.fail),
            queue: duration(counts.queue),
            compute_input: duration(counts.compute_input),
            compute_infer: duration(counts.compute_infer),
            compute_output: duration(counts.compute_output),
            cache_hit: duration(counts.cache_hit),
            cache_miss: duration(counts.cache_miss),
        }),
        batch_stats: counts.batches.iter().map(batch).collect(),
        ..Default::default()
    }
}

fn duration(duration: Duration) -> Option<StatisticDuration> {
    Some(StatisticDuration { count: duration.count, ns: duration.ns })
}

/// Every model of the repository, or the ready ones.
///
/// # Errors
/// A repository cannot be read.
pub(crate) fn index(service: &Service, ready_only: bool) -> Result<RepositoryIndexResponse> {
    let entries = service.repository().index(ready_only)?.into_iter();
    let models = entries.map(|entry| ModelIndex {
        name: entry.name.to_string(),
        version: entry.version.map(|v| v.to_string()).unwrap_or_default(),
        state: entry.state.map(|s| s.as_str().to_owned()).unwrap_or_default(),
        reason: entry.reason,
    });
    Ok(RepositoryIndexResponse { models: models.collect() })
}
