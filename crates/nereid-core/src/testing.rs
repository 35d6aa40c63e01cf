//! For tests of the crates above: configs, requests, and a backend without a model.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;

use crate::backend::{
    AutoComplete, AutoCompleteRequest, Backend, Execution, Instance, LoadRequest, Model, TensorSpec,
    Terminate,
};
use crate::batch::{Batch, concat};
use crate::config::{InputConfig, InstanceSpec, OutputConfig, TensorForm};
use crate::{
    DataType, InferRequest, InputTensor, ModelConfig, OutputTensor, Result, Shape, Timestamp, ValidRequest,
};

/// Config of an identity model: FP32 `INPUT0` to `OUTPUT0`, both `[-1]`.
pub fn identity_config(max_batch_size: u32) -> ModelConfig {
    let (datatype, dims, reshape) = (DataType::Fp32, vec![-1], None);
    ModelConfig {
        name: "identity".into(),
        max_batch_size,
        inputs: vec![InputConfig {
            name: "INPUT0".into(),
            datatype,
            dims: dims.clone(),
            reshape: None,
            optional: false,
            allow_ragged_batch: false,
            form: Default::default(),
        }],
        outputs: vec![OutputConfig {
            name: "OUTPUT0".into(),
            datatype,
            dims,
            reshape,
            form: Default::default(),
        }],
        ..Default::default()
    }
}

/// A request of `rows` rows of one element each, all of value `value`, to [`identity_config`].
pub fn identity_request(config: &ModelConfig, rows: u32, value: f32) -> ValidRequest {
    let data: Vec<u8> = (0..rows).flat_map(|_| value.to_le_bytes()).collect();
    let shape: &[i64] = if config.batches() { &[i64::from(rows), 1] } else { &[i64::from(rows)] };
    let input = InputTensor {
        name: "INPUT0".into(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(shape),
        data: Bytes::from(data),
    };
    ValidRequest::new(InferRequest { inputs: vec![input], ..Default::default() }, config)
        .expect("fits the config")
}

/// What [`TestInstance`] calls before it copies its input to its output.
pub type Hook = dyn Fn(&Batch<'_>) -> Result<()> + Send + Sync;

/// An instance that gives its first input back, after calling a hook that may block, fail or panic.
pub struct TestInstance {
    hook: Arc<Hook>,
    terminator: Option<Arc<dyn Terminate>>,
    device_memory: Option<i32>,
    buffer: Vec<u8>,
}

impl TestInstance {
    /// An identity that does nothing else.
    pub fn identity() -> Self {
        Self::with_hook(|_| Ok(()))
    }

    /// An identity that calls `hook` with every batch.
    pub fn with_hook(hook: impl Fn(&Batch<'_>) -> Result<()> + Send + Sync + 'static) -> Self {
        Self { hook: Arc::new(hook), terminator: None, device_memory: None, buffer: Vec::new() }
    }

    /// This instance, stopped by `terminator`.
    #[must_use]
    pub fn terminated_by(self, terminator: Arc<dyn Terminate>) -> Self {
        Self { terminator: Some(terminator), ..self }
    }

    /// This instance, as one that takes tensors on this GPU.
    #[must_use]
    pub fn on_device(self, device: i32) -> Self {
        Self { device_memory: Some(device), ..self }
    }
}

impl Instance for TestInstance {
    fn execute(&mut self, batch: &Batch<'_>) -> Result<Execution> {
        (self.hook)(batch)?;
        let inputs_ready = Timestamp::now();
        let mut outputs = Vec::new();
        if let Some(input) = concat(batch, 0, &mut self.buffer)? {
            let output = &batch.config().outputs[0];
            outputs.push(OutputTensor {
                name: output.name.clone(),
                datatype: output.datatype,
                shape: input.shape,
                data: Bytes::copy_from_slice(input.data),
            });
        }
        let (parameters, compute_done) = (Vec::new(), Timestamp::now());
        Ok(Execution { outputs: outputs.into(), parameters, inputs_ready, compute_done })
    }

    fn terminator(&self) -> Option<Arc<dyn Terminate>> {
        self.terminator.clone()
    }

    fn device_memory(&self) -> Option<i32> {
        self.device_memory
    }
}

/// A backend named `test` whose models are [`TestInstance`] identities; a file that contains `broken`
/// does not load.
#[derive(Debug, Default)]
pub struct TestBackend {
    /// Versions loaded so far.
    pub loads: AtomicUsize,
}

struct TestModel;

impl Backend for TestBackend {
    fn name(&self) -> &'static str {
        "test"
    }

    fn auto_complete(&self, request: &AutoCompleteRequest<'_>) -> Result<AutoComplete> {
        let tensor = |name: &str| {
            vec![TensorSpec {
                name: name.into(),
                datatype: DataType::Fp32,
                dims: vec![-1],
                reshape: None,
                form: TensorForm::Linear,
            }]
        };
        Ok(AutoComplete {
            max_batch_size: (request.max_batch_size == 0).then_some(request.default_max_batch_size),
            inputs: (!request.has_inputs()).then(|| tensor("INPUT0")),
            outputs: (!request.has_outputs()).then(|| tensor("OUTPUT0")),
            dynamic_batching: !request.has_scheduler,
        })
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Model>> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        let name = &request.config.name;
        match std::fs::read(request.model_file) {
            Ok(file) if !file.starts_with(b"broken") => Ok(Box::new(TestModel)),
            Ok(_) => Err(crate::Error::internal(format!("broken model file of '{name}'"))),
            Err(e) => Err(crate::Error::unavailable(format!("unable to find the file of '{name}': {e}"))),
        }
    }
}

impl Model for TestModel {
    fn create_instance(&self, _: &InstanceSpec) -> Result<Box<dyn Instance>> {
        Ok(Box::new(TestInstance::identity()))
    }
}

impl std::fmt::Debug for TestInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestInstance").finish_non_exhaustive()
    }
}
