//! The contract between Nereid and what runs models. A backend loads a version of a model, makes
//! instances of it, and each instance runs one batch at a time under one owner.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;

use crate::batch::Batch;
use crate::config::{InstanceSpec, ModelConfig, TensorForm};
use crate::{DataType, OutputTensor, Parameters, Result, Timestamp};

/// A kind of model that Nereid can run, such as ONNX Runtime. One object per process.
pub trait Backend: Send + Sync + Debug {
    /// The name in config.pbtxt, such as `onnxruntime`.
    fn name(&self) -> &'static str;

    /// Reads the model and says what an incomplete config lacks.
    ///
    /// # Errors
    /// The model cannot be read, or contradicts what the config says.
    fn auto_complete(&self, request: &AutoCompleteRequest<'_>) -> Result<AutoComplete>;

    /// Loads one version.
    ///
    /// # Errors
    /// The file is missing or broken, or does not fit the config; the message is what clients see.
    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Model>>;

    /// Whether instances can be on GPUs here. Where they cannot, models whose config leaves the choice open run on the CPU.
    /// Asked only where there is a GPU.
    fn uses_gpus(&self) -> bool {
        true
    }

    /// Counters of its own as they are now, for the metrics page; those of one name stand together.
    fn counters(&self) -> Vec<Counter> {
        Vec::new()
    }
}

/// A counter of a backend's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counter {
    pub name: &'static str,
    pub help: &'static str,
    pub labels: Vec<(&'static str, String)>,
    pub value: u64,
}

/// One loaded version of a model.
pub trait Model: Send + Sync {
    /// Makes an instance. Called once per [`InstanceSpec`], possibly from several threads.
    ///
    /// # Errors
    /// The device is missing or out of memory.
    fn create_instance(&self, spec: &InstanceSpec) -> Result<Box<dyn Instance>>;
}

/// Runs batches, one at a time, on whatever thread owns it at the moment.
pub trait Instance: Send {
    /// Runs `batch`. An error fails every request of the batch and nothing else; the instance stays usable.
    ///
    /// # Errors
    /// The model failed; the message is what clients see.
    fn execute(&mut self, batch: &Batch<'_>) -> Result<Execution>;

    /// A handle by which an execution can be stopped from outside, if the backend has one. Asked between
    /// executions; every answer stands for the same handle.
    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        None
    }

    /// The GPU in whose memory it takes those inputs, and writes those outputs, that requests have there
    /// ([`crate::DeviceTensors`]). `None`: all tensors must be in host memory. Asked once, before the first execution.
    fn device_memory(&self) -> Option<i32> {
        None
    }

    /// Whether executions change the thread that they run on, so that it may do nothing else. Asked once, before
    /// the first execution.
    fn needs_own_thread(&self) -> bool {
        false
    }
}

/// Stops executions of one [`Instance`] from another thread.
///
/// The scheduler calls both methods under its lock, so they must neither block nor call back.
pub trait Terminate: Send + Sync {
    /// Asks the execution at hand, or the next one if none is, to end soon with an error. Stays in force until
    /// [`Self::reset`].
    fn terminate(&self);

    /// Takes [`Self::terminate`] back. Called only between executions.
    fn reset(&self);
}

/// What [`Instance::execute`] gives back.
#[derive(Debug)]
pub struct Execution {
    pub outputs: Outputs,
    /// What every response of the batch carries besides.
    pub parameters: Parameters,
    /// When the inputs stood ready for the device.
    pub inputs_ready: Timestamp,
    /// When the device was done.
    pub compute_done: Timestamp,
}

/// The outputs of a batch, in the order in which responses show them, already in the shape that clients see. Outputs
/// that nobody asked for may be left out.
#[derive(Debug)]
pub enum Outputs {
    /// Of the whole batch: each request gets its part.
    Batch(Vec<OutputTensor>),
    /// Of each request, in the order of the batch: from a backend that looks at one request after the other.
    Each(Vec<Vec<OutputTensor>>),
}

impl From<Vec<OutputTensor>> for Outputs {
    fn from(outputs: Vec<OutputTensor>) -> Self {
        Self::Batch(outputs)
    }
}

/// What a backend needs to load one version.
#[derive(Debug)]
pub struct LoadRequest<'a> {
    pub config: &'a Arc<ModelConfig>,
    pub version: u64,
    /// `<repository>/<model>`.
    pub model_dir: &'a Path,
    /// The folder of this version, most often `<repository>/<model>/<version>`.
    pub version_dir: &'a Path,
    /// The file (or directory) of this version, as configured; its existence is not checked yet.
    pub model_file: &'a Path,
}

/// What a backend needs to complete a config.
#[derive(Debug)]
pub struct AutoCompleteRequest<'a> {
    /// Name of the model, for messages.
    pub model: &'a str,
    /// `<repository>/<model>`.
    pub model_dir: &'a Path,
    /// Custom operator libraries, relative to `model_dir`.
    pub op_libraries: &'a [String],
    /// The folder of the version that is looked at, most often `<repository>/<model>/<version>`.
    pub version_dir: &'a Path,
    /// Its file (or directory), as configured.
    pub model_file: &'a Path,
    /// Names of files of the version, by the compute capability of the GPU that they are for, such as `9.0`.
    pub cc_model_filenames: BTreeMap<&'a str, &'a str>,
    /// What the config says; 0 when it says nothing.
    pub max_batch_size: u32,
    /// Used when the model can batch and the config gives no `max_batch_size`.
    pub default_max_batch_size: u32,
    /// Inputs that the config lists.
    pub inputs: Vec<DeclaredTensor<'a>>,
    /// Entries of `batch_input` in the config: inputs that clients do not send.
    pub batch_inputs: usize,
    /// Outputs that the config lists.
    pub outputs: Vec<DeclaredTensor<'a>>,
    /// The config chooses a scheduler.
    pub has_scheduler: bool,
    /// The instance groups, as they will be unless the backend refuses.
    pub groups: Vec<DeclaredGroup<'a>>,
}

/// A tensor as far as a config declares it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeclaredTensor<'a> {
    pub name: &'a str,
    /// `None`: left to the model.
    pub datatype: Option<DataType>,
    /// Without the batch dimension. Empty: left to the model.
    pub dims: &'a [i64],
    /// The model's own shape, where it is not `dims`.
    pub reshape: Option<&'a [i64]>,
    pub allow_ragged_batch: bool,
    pub is_shape_tensor: bool,
    pub is_non_linear: bool,
}

/// An instance group as far as it matters for what a model is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeclaredGroup<'a> {
    /// Its first GPU; `None` unless it is on GPUs.
    pub gpu: Option<i32>,
    /// Optimization profiles of a TensorRT engine.
    pub profiles: Vec<&'a str>,
}

impl AutoCompleteRequest<'_> {
    /// The config lists inputs.
    pub fn has_inputs(&self) -> bool {
        !self.inputs.is_empty() || self.batch_inputs > 0
    }

    /// The config lists outputs.
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Any instance group is on a GPU.
    pub fn on_gpu(&self) -> bool {
        self.groups.iter().any(|group| group.gpu.is_some())
    }
}

/// What a config lacked. `None` leaves the config as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct AutoComplete {
    pub max_batch_size: Option<u32>,
    /// All inputs for a config that lists none; otherwise each completes the one of its name, and others are dropped.
    pub inputs: Option<Vec<TensorSpec>>,
    /// As `inputs`.
    pub outputs: Option<Vec<TensorSpec>>,
    /// Add an empty `dynamic_batching`.
    pub dynamic_batching: bool,
}

/// A tensor of the model as the config would declare it: `dims` without the batch dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorSpec {
    pub name: String,
    pub datatype: DataType,
    pub dims: Vec<i64>,
    /// The model's own shape, where a config cannot say it (a scalar is `dims: [1]`, `reshape: []`).
    pub reshape: Option<Vec<i64>>,
    pub form: TensorForm,
}
