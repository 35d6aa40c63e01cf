//! From what config.pbtxt says to what the program trusts, one step per file:
//! [`backend_name`] guesses the backend, [`normalize`] adds defaults, [`complete`] adds what the backend
//! reads from the model, [`validate`], [`tensors`], [`batch_io`], [`instances`], [`ensemble`] and [`composing`] refuse,
//! [`convert`] gives core's config (of which [`warm_up`] is a part), and [`metrics`] says under which labels the model is
//! counted.
//!
//! Every step works on the generated `ModelConfig` message, which is what clients are shown; only
//! [`convert`] knows the trusted form. No step reads a model file.

pub(crate) mod backend_name;
pub(crate) mod batch_io;
pub(crate) mod complete;
pub(crate) mod composing;
pub(crate) mod convert;
pub(crate) mod ensemble;
pub(crate) mod instances;
pub(crate) mod metrics;
pub(crate) mod normalize;
pub(crate) mod sequence;
mod state;
pub(crate) mod tensors;
pub(crate) mod unsupported;
pub(crate) mod validate;
pub(crate) mod warm_up;

use nereid_protocol::inference::model_config::SchedulingChoice;
use nereid_protocol::inference::{ModelConfig, ModelDynamicBatching};

/// Platform of models that are made of other models.
const ENSEMBLE: &str = "ensemble";
/// Platform and backend of TensorRT engines.
const TENSORRT: (&str, &str) = ("tensorrt_plan", "tensorrt");
/// Platform and backend of ONNX models.
const ONNXRUNTIME: (&str, &str) = ("onnxruntime_onnx", "onnxruntime");

fn dynamic_batching(config: &ModelConfig) -> Option<&ModelDynamicBatching> {
    match &config.scheduling_choice {
        Some(SchedulingChoice::DynamicBatching(batching)) => Some(batching),
        _ => None,
    }
}

pub(crate) fn is_ensemble(config: &ModelConfig) -> bool {
    matches!(config.scheduling_choice, Some(SchedulingChoice::EnsembleScheduling(_)))
}
