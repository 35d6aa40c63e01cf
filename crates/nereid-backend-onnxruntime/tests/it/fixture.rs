//! A model on disk, its config, and requests to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use nereid_backend_onnxruntime::{Gpus, HostGpus, OnnxRuntime, Options};
use nereid_core::backend::{Backend, Instance, LoadRequest, Model};
use nereid_core::batch::{Batch, split};
use nereid_core::config::{InputConfig, InstanceKind, InstanceSpec, OutputConfig};
use nereid_core::{
    DataType, InferRequest, InferResponse, InputTensor, ModelConfig, OutputTensor, Result, Shape,
    ValidRequest,
};
use nereid_cuda::host::HostDevice;
use tempfile::TempDir;

use crate::compared::{Compared, gpu};

/// The backend on the library that the test command provides, with the host for a GPU.
pub(crate) fn backend() -> OnnxRuntime {
    backend_on(&HostDevice::new(0))
}

/// As [`backend`], with `device` for a GPU.
pub(crate) fn backend_on(device: &Arc<HostDevice>) -> OnnxRuntime {
    assert!(
        std::env::var_os("ORT_DYLIB_PATH").is_some_and(|path| Path::new(&path).is_file()),
        "these tests need an ONNX Runtime: run cargo xtask test, or set ORT_DYLIB_PATH to a libonnxruntime.so"
    );
    device.trust_addresses(); // those of ONNX Runtime
    let gpus = Gpus::InHostMemory(HostGpus { devices: vec![device.device()], as_placed: false });
    OnnxRuntime::new(Options { cpu_threads: 2, gpus, ..Default::default() }).unwrap()
}

/// A version directory with a model file.
pub(crate) struct Fixture {
    dir: TempDir,
    pub(crate) config: Arc<ModelConfig>,
}

impl Fixture {
    pub(crate) fn new(config: ModelConfig, model: &[u8]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("1")).unwrap();
        let fixture = Self { dir, config: Arc::new(config) };
        std::fs::write(fixture.file(), model).unwrap();
        fixture
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("1/model.onnx")
    }

    pub(crate) fn load(&self) -> Result<Box<dyn Model>> {
        self.load_with(&backend())
    }

    pub(crate) fn load_with(&self, backend: &OnnxRuntime) -> Result<Box<dyn Model>> {
        let (config, model_dir, model_file) = (&self.config, self.dir.path(), &*self.file());
        let version_dir = &*model_dir.join("1");
        backend.load(&LoadRequest { config, version: 1, model_dir, version_dir, model_file })
    }

    /// An instance that runs on the CPU and, to be compared, bound to device memory, with its tensors there or on the host.
    pub(crate) fn instance(&self) -> Box<dyn Instance> {
        let model = self.load().unwrap();
        let bound = [false, true].map(|as_placed| {
            let device = HostDevice::new(0);
            device.trust_addresses();
            let gpus = Gpus::InHostMemory(HostGpus { devices: vec![device.device()], as_placed });
            let backend = OnnxRuntime::new(Options { cpu_threads: 2, gpus, ..Default::default() }).unwrap();
            self.load_with(&backend).unwrap().create_instance(&gpu()).unwrap()
        });
        Box::new(Compared::new(model.create_instance(&cpu()).unwrap(), bound))
    }

    pub(crate) fn cpu_instance(&self) -> Box<dyn Instance> {
        self.load().unwrap().create_instance(&cpu()).unwrap()
    }

    /// The message and code that a load fails with.
    #[track_caller]
    pub(crate) fn load_error(&self) -> String {
        let error = self.load().map(drop).unwrap_err().with_code();
        error.replace(&self.dir.path().display().to_string(), "{dir}")
    }

    /// A request with these inputs that wants every output.
    pub(crate) fn request(&self, inputs: &[(&str, &[i64], &[u8])]) -> ValidRequest {
        self.request_for(inputs, &[])
    }

    pub(crate) fn request_for(&self, inputs: &[(&str, &[i64], &[u8])], outputs: &[&str]) -> ValidRequest {
        let tensor = |(name, shape, data): &(&str, &[i64], &[u8])| InputTensor {
            name: (*name).to_owned(),
            datatype: self.config.inputs[self.config.input_index(name).unwrap()].datatype,
            shape: Shape::from_slice(shape),
            data: Bytes::copy_from_slice(data),
        };
        let inputs = inputs.iter().map(tensor).collect();
        let outputs = outputs.iter().map(|name| (*name).to_owned()).collect();
        ValidRequest::new(InferRequest { inputs, outputs, ..Default::default() }, &self.config).unwrap()
    }

    /// Runs `requests` as one batch.
    pub(crate) fn run(
        &self,
        instance: &mut dyn Instance,
        requests: &[ValidRequest],
    ) -> Result<Vec<InferResponse>> {
        let requests: Vec<&ValidRequest> = requests.iter().collect();
        let batch = Batch::new(&self.config, &requests);
        split(&batch, instance.execute(&batch)?.outputs)
    }

    /// Runs one request alone.
    #[track_caller]
    pub(crate) fn run_one(&self, instance: &mut dyn Instance, request: ValidRequest) -> Vec<OutputTensor> {
        self.run(instance, &[request]).unwrap().remove(0).outputs
    }
}

/// A CPU instance.
pub(crate) fn cpu() -> InstanceSpec {
    InstanceSpec { name: "m_0_0".into(), kind: InstanceKind::Cpu, ..Default::default() }
}

/// A config with one CPU instance.
pub(crate) fn config(
    max_batch_size: u32,
    inputs: Vec<InputConfig>,
    outputs: Vec<OutputConfig>,
) -> ModelConfig {
    ModelConfig {
        name: "m".into(),
        backend: "onnxruntime".into(),
        max_batch_size,
        inputs,
        outputs,
        instances: vec![cpu()],
        ..Default::default()
    }
}

pub(crate) fn input(name: &str, datatype: DataType, dims: &[i64]) -> InputConfig {
    let (dims, reshape) = (dims.to_vec(), None);
    InputConfig {
        name: name.into(),
        datatype,
        dims,
        reshape,
        optional: false,
        allow_ragged_batch: false,
        form: Default::default(),
    }
}

pub(crate) fn output(name: &str, datatype: DataType, dims: &[i64]) -> OutputConfig {
    OutputConfig { name: name.into(), datatype, dims: dims.to_vec(), reshape: None, form: Default::default() }
}

/// A config for `x` to `y`, both of `datatype` and `dims`.
pub(crate) fn unary_config(max_batch_size: u32, datatype: DataType, dims: &[i64]) -> ModelConfig {
    config(max_batch_size, vec![input("x", datatype, dims)], vec![output("y", datatype, dims)])
}

/// Names, shapes and data of outputs, to compare.
pub(crate) fn parts(outputs: &[OutputTensor]) -> Vec<(&str, &[i64], &[u8])> {
    outputs.iter().map(|output| (&*output.name, &output.shape[..], &output.data[..])).collect()
}
