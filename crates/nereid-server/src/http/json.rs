//! Descriptions as JSON: the members, their order and when they are left out are Triton's.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use nereid_core::Error;
use nereid_protocol::inference::{
    InferBatchStatistics, InferStatistics, ModelMetadataResponse, ModelStatistics, ModelStatisticsResponse,
    RepositoryIndexResponse, ServerMetadataResponse, StatisticDuration,
};
use serde::Serialize;

use super::reply::{self, Refused};
use crate::shared_memory::{Place, Region};

pub(super) type Answer = Result<Response, Refused>;

pub(super) fn server(metadata: &ServerMetadataResponse) -> Answer {
    #[derive(Serialize)]
    struct Server<'a> {
        name: &'a str,
        version: &'a str,
        extensions: &'a [String],
    }
    let ServerMetadataResponse { name, version, extensions } = metadata;
    write(&Server { name, version, extensions })
}

pub(super) fn model(metadata: &ModelMetadataResponse) -> Answer {
    #[derive(Serialize)]
    struct Model<'a> {
        name: &'a str,
        versions: &'a [String],
        platform: &'a str,
        inputs: Vec<Tensor<'a>>,
        outputs: Vec<Tensor<'a>>,
    }
    #[derive(Serialize)]
    struct Tensor<'a> {
        name: &'a str,
        datatype: &'a str,
        shape: &'a [i64],
    }
    let ModelMetadataResponse { name, versions, platform, inputs, outputs } = metadata;
    let (inputs, outputs) = [inputs, outputs]
        .map(|tensors| {
            tensors.iter().map(|t| Tensor { name: &t.name, datatype: &t.datatype, shape: &t.shape }).collect()
        })
        .into();
    write(&Model { name, versions, platform, inputs, outputs })
}

pub(super) fn statistics(statistics: &ModelStatisticsResponse) -> Answer {
    #[derive(Serialize)]
    struct All<'a> {
        model_stats: Vec<Model<'a>>,
    }
    write(&All { model_stats: statistics.model_stats.iter().map(Model::from).collect() })
}

pub(super) fn index(index: &RepositoryIndexResponse) -> Answer {
    #[derive(Serialize)]
    struct Entry<'a> {
        name: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        version: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        state: &'a str,
        #[serde(skip_serializing_if = "str::is_empty")]
        reason: &'a str,
    }
    let entries = index.models.iter().map(|model| Entry {
        name: &model.name,
        version: &model.version,
        state: &model.state,
        reason: &model.reason,
    });
    write(&entries.collect::<Vec<_>>())
}

pub(super) fn regions(regions: &[Arc<Region>]) -> Answer {
    #[derive(Serialize)]
    struct Entry<'a> {
        name: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        offset: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        device_id: Option<u64>,
        byte_size: u64,
    }
    let entries = regions.iter().map(|region| {
        let (key, offset, device_id) = match &region.place {
            Place::System { key, offset } => (Some(key.as_str()), Some(*offset), None),
            Place::Cuda { device_id } => (None, None, Some(*device_id)),
        };
        Entry { name: &region.name, key, offset, device_id, byte_size: region.byte_size }
    });
    write(&entries.collect::<Vec<_>>())
}

pub(super) fn write(value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(body) => Ok(reply::json(body)),
        Err(e) => Err(Refused::Json(Error::internal(format!("failed to write JSON: {e}")))),
    }
}

#[derive(Serialize)]
struct Model<'a> {
    name: &'a str,
    version: &'a str,
    last_inference: u64,
    inference_count: u64,
    execution_count: u64,
    inference_stats: Inference,
    /// Responses of decoupled models, which are not served.
    response_stats: BTreeMap<(), ()>,
    batch_stats: Vec<Batch>,
    memory_usage: [(); 0],
}

#[derive(Serialize)]
struct Inference {
    success: Duration,
    fail: Duration,
    queue: Duration,
    compute_input: Duration,
    compute_infer: Duration,
    compute_output: Duration,
    cache_hit: Duration,
    cache_miss: Duration,
}

#[derive(Serialize)]
struct Batch {
    batch_size: u64,
    compute_input: Duration,
    compute_infer: Duration,
    compute_output: Duration,
}

#[derive(Serialize, Default)]
struct Duration {
    count: u64,
    ns: u64,
}

impl<'a> From<&'a ModelStatistics> for Model<'a> {
    fn from(model: &'a ModelStatistics) -> Self {
        Self {
            name: &model.name,
            version: &model.version,
            last_inference: model.last_inference,
            inference_count: model.inference_count,
            execution_count: model.execution_count,
            inference_stats: model.inference_stats.unwrap_or_default().into(),
            response_stats: BTreeMap::new(),
            batch_stats: model.batch_stats.iter().map(Batch::from).collect(),
            memory_usage: [],
        }
    }
}

impl From<InferStatistics> for Inference {
    fn from(stats: InferStatistics) -> Self {
        Self {
            success: stats.success.into(),
            fail: stats.fail.into(),
            queue: stats.queue.into(),
            compute_input: stats.compute_input.into(),
            compute_infer: stats.compute_infer.into(),
            compute_output: stats.compute_output.into(),
            cache_hit: stats.cache_hit.into(),
            cache_miss: stats.cache_miss.into(),
        }
    }
}

impl From<&InferBatchStatistics> for Batch {
    fn from(batch: &InferBatchStatistics) -> Self {
        Self {
            batch_size: batch.batch_size,
            compute_input: batch.compute_input.into(),
            compute_infer: batch.compute_infer.into(),
            compute_output: batch.compute_output.into(),
        }
    }
}

impl From<Option<StatisticDuration>> for Duration {
    fn from(duration: Option<StatisticDuration>) -> Self {
        duration.map_or_else(Self::default, |d| Self { count: d.count, ns: d.ns })
    }
}
