//! The model config that the program trusts: what is left of a `ModelConfig` after it was parsed,
//! completed and validated. Only what serving needs; the full message stays with the repository.

mod batch_io;
mod cuda;
mod ensemble;
mod instances;
mod placement;
mod scheduling;
mod sequence;
mod warm_up;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::DataType;

pub use batch_io::{BatchInput, BatchInputElement, BatchInputKind, BatchOutput};
pub use cuda::{CudaOptimization, GraphShape, GraphSpec, StreamPriority};
pub use ensemble::{Ensemble, EnsembleStep, Mapping};
pub use instances::{InstanceKind, InstanceSpec, RateLimiterSpec, ResourceSpec};
pub use scheduling::{DynamicBatching, QueuePolicy, Scheduling, TimeoutAction};
pub use sequence::{Control, Direct, Flag, Oldest, SequenceBatching, State, StateTensor, Strategy};
pub use warm_up::{WarmUpData, WarmUpInput, WarmUpSample};

/// Configuration of one model, checked.
#[derive(Debug, Clone, Default)]
pub struct ModelConfig {
    pub name: String,
    /// Backend that runs the model, such as `onnxruntime`.
    pub backend: String,
    /// 0 means that shapes are full; above 0 the first dimension of every tensor is the batch.
    pub max_batch_size: u32,
    pub inputs: Vec<InputConfig>,
    pub outputs: Vec<OutputConfig>,
    pub batch_inputs: Vec<BatchInput>,
    pub batch_outputs: Vec<BatchOutput>,
    /// Inputs that the scheduler adds to a request and no client sends. Their positions go on after `inputs`.
    pub injected_inputs: Vec<InputConfig>,
    /// Outputs that the scheduler takes and no client sees. Their positions go on after `outputs`.
    pub hidden_outputs: Vec<OutputConfig>,
    pub scheduling: Scheduling,
    /// `response_cache.enable`: responses are cached, if the server has a cache.
    pub response_cache: bool,
    /// Instances to create, already resolved to kinds and devices.
    pub instances: Vec<InstanceSpec>,
    /// File inside the version directory, such as `model.onnx`.
    pub model_filename: String,
    /// `parameters { key value { string_value } }`.
    pub parameters: BTreeMap<String, String>,
    pub optimization: Optimization,
    /// Model files by the compute capability of the GPU, such as `9.0`; others use `model_filename`.
    pub cc_model_filenames: BTreeMap<String, String>,
    /// Custom operator libraries, relative to the model directory.
    pub op_libraries: Vec<String>,
    /// What every instance runs before it takes requests.
    pub warm_up: Vec<WarmUpSample>,
}

/// One input as the config declares it. `dims` excludes the batch dimension.
#[derive(Debug, Clone)]
pub struct InputConfig {
    pub name: Arc<str>,
    pub datatype: DataType,
    /// Sizes of at least 1, or -1 for variable.
    pub dims: Vec<i64>,
    /// Shape that the model itself wants instead of `dims`.
    pub reshape: Option<Vec<i64>>,
    /// The client may leave it out.
    pub optional: bool,
    /// Requests of different shapes may share a batch.
    pub allow_ragged_batch: bool,
    pub form: TensorForm,
}

/// One output as the config declares it. `dims` excludes the batch dimension.
#[derive(Debug, Clone)]
pub struct OutputConfig {
    pub name: Arc<str>,
    pub datatype: DataType,
    /// Shape that the client sees; -1 is variable.
    pub dims: Vec<i64>,
    /// Shape that the model itself gives instead of `dims`.
    pub reshape: Option<Vec<i64>>,
    pub form: TensorForm,
}

/// What the elements of a tensor are to a TensorRT engine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TensorForm {
    /// Values in row-major order, as in every other backend.
    #[default]
    Linear,
    /// Sizes of other tensors: the engine reads or writes them in host memory (`is_shape_tensor`).
    Shape,
    /// Values in a vectorized layout, in which channels are padded (`is_non_linear_format_io`).
    NonLinear,
}

/// `optimization` of a config, as far as backends read it.
#[derive(Debug, Clone, Default)]
pub struct Optimization {
    /// `graph.level`; `None` when not given.
    pub graph_level: Option<i32>,
    pub gpu_accelerators: Vec<Accelerator>,
    pub cpu_accelerators: Vec<Accelerator>,
    /// Stage inputs in page-locked memory when the device is a GPU.
    pub pinned_input: bool,
    /// Stage outputs in page-locked memory when the device is a GPU.
    pub pinned_output: bool,
    /// Of the streams of instances on GPUs.
    pub priority: StreamPriority,
    pub cuda: CudaOptimization,
    /// Gather a batch of at least this many buffers with a kernel; 0 never.
    pub gather_kernel_buffer_threshold: u32,
    /// Prepare the next batch while the current one runs.
    pub eager_batching: bool,
}

/// An execution accelerator and its parameters.
#[derive(Debug, Clone, Default)]
pub struct Accelerator {
    pub name: String,
    pub parameters: BTreeMap<String, String>,
}

impl ModelConfig {
    /// Whether tensors carry a batch dimension.
    pub fn batches(&self) -> bool {
        self.max_batch_size > 0
    }

    /// Position of the input named `name`.
    pub fn input_index(&self, name: &str) -> Option<usize> {
        self.inputs.iter().position(|i| &*i.name == name)
    }

    /// How the output at `index` goes back to requests, where it is not by rows.
    pub fn batch_output(&self, index: usize) -> Option<&BatchOutput> {
        self.batch_outputs.iter().find(|scattered| scattered.output == index)
    }

    /// Position of the output named `name`, if clients see it.
    pub fn output_index(&self, name: &str) -> Option<usize> {
        self.outputs.iter().position(|o| &*o.name == name)
    }

    /// What the model is given, by position: clients' inputs and those that the scheduler adds.
    pub fn all_inputs(&self) -> impl Iterator<Item = &InputConfig> {
        self.inputs.iter().chain(&self.injected_inputs)
    }

    /// What the model gives, by position: outputs for clients and those that the scheduler takes.
    pub fn all_outputs(&self) -> impl Iterator<Item = &OutputConfig> {
        self.outputs.iter().chain(&self.hidden_outputs)
    }

    /// The sequence batcher's part, if one serves the model.
    pub fn sequence(&self) -> Option<&SequenceBatching> {
        match &self.scheduling {
            Scheduling::Sequence(batching) => Some(batching),
            _ => None,
        }
    }

    /// Whether the model is made of others.
    pub fn is_ensemble(&self) -> bool {
        matches!(self.scheduling, Scheduling::Ensemble(_))
    }

    /// What is carried from one request of a sequence to the next.
    pub fn states(&self) -> &[State] {
        self.sequence().map_or(&[], |batching| &batching.states)
    }
}
