//! A backend on a stand-in, models with their plans, and requests to them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use nereid_backend_tensorrt::{Options, TensorRt};
use nereid_core::backend::{Backend, Instance, LoadRequest, Model};
use nereid_core::batch::{Batch, split};
use nereid_core::config::{InputConfig, InstanceKind, InstanceSpec, OutputConfig};
use nereid_core::{
    DataType, DeviceTensors, InferRequest, InferResponse, InputTensor, ModelConfig, Result, Shape,
    ValidRequest,
};
use nereid_cuda::host::{HostDevice, Live};
use tempfile::TempDir;

/// A GPU, and a library of its own: stand-ins count their objects by library.
pub(crate) struct Setup {
    pub(crate) device: Arc<HostDevice>,
    library: PathBuf,
    backend: TensorRt,
    dir: TempDir,
}

/// Runs `test` with the stand-ins of TensorRT 10 and of 11, and sees that nothing is left of it.
pub(crate) fn on_both(test: impl Fn(&Setup)) {
    on_both_with(&[], test);
}

/// The same with settings of the command line.
pub(crate) fn on_both_with(settings: &[(&str, &str)], test: impl Fn(&Setup)) {
    for major in [10, 11] {
        let setup = Setup::new(major, settings);
        test(&setup);
        assert_eq!(setup.live_objects(), 0, "objects of TensorRT {major} are left");
        assert_eq!(setup.device.live(), Live::default(), "TensorRT {major}");
    }
}

impl Setup {
    pub(crate) fn new(major: u32, settings: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let library = dir.path().join(format!("libnvinfer.so.{major}"));
        std::fs::copy(nereid_fakes::library(&format!("fake_nvinfer_{major}")), &library).unwrap();
        let device = HostDevice::new(0);
        let backend = TensorRt::new(Options {
            library: Some(library.clone()),
            settings: settings.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
            devices: Some(vec![device.device()]),
            ..Default::default()
        });
        Self { device, library, backend: backend.unwrap(), dir }
    }

    /// What the library has made and not destroyed.
    pub(crate) fn live_objects(&self) -> usize {
        // SAFETY: the library is loaded already, or does nothing when it is.
        let library = unsafe { libloading::Library::new(&self.library) }.unwrap();
        // SAFETY: the function of the stand-ins.
        let count = unsafe { library.get::<extern "C" fn() -> usize>(b"fake_live_objects") }.unwrap();
        count()
    }

    pub(crate) fn load(&self, config: ModelConfig, plan: &str) -> Served<'_> {
        self.load_file(config, format!("FAKEPLAN\n{plan}\nend\n").as_bytes()).unwrap()
    }

    /// The version whose file is `content`.
    pub(crate) fn load_file(&self, config: ModelConfig, content: &[u8]) -> Result<Served<'_>> {
        std::fs::create_dir_all(self.dir.path().join("m/1")).unwrap();
        std::fs::write(self.file(), content).unwrap();
        let config = Arc::new(config);
        let (model_dir, version_dir) = (&*self.dir.path().join("m"), &*self.dir.path().join("m/1"));
        let model_file = &*self.file();
        let request = LoadRequest { config: &config, version: 1, model_dir, version_dir, model_file };
        Ok(Served { model: self.backend.load(&request)?, config, setup: self })
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("m/1/model.plan")
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// A loaded model.
pub(crate) struct Served<'s> {
    pub(crate) model: Box<dyn Model>,
    pub(crate) config: Arc<ModelConfig>,
    pub(crate) setup: &'s Setup,
}

impl Served<'_> {
    pub(crate) fn instance(&self) -> Box<dyn Instance> {
        self.model.create_instance(&self.config.instances[0]).unwrap()
    }

    /// Code and message with which no instance can be made.
    pub(crate) fn instance_error(&self) -> String {
        let error = self.model.create_instance(&self.config.instances[0]).map(drop).unwrap_err();
        error.with_code().replace(&self.setup.dir.path().display().to_string(), "{dir}")
    }

    /// A request of FP32 or INT64 tensors, as the config says.
    pub(crate) fn request(&self, inputs: &[(&str, &[i64], &[f32])]) -> ValidRequest {
        self.placed(inputs, DeviceTensors::default())
    }

    /// The same with tensors on a GPU: the data of those inputs does not count.
    pub(crate) fn placed(&self, inputs: &[(&str, &[i64], &[f32])], device: DeviceTensors) -> ValidRequest {
        let on_device = |at: usize| device.inputs.iter().any(|(input, _)| *input == at);
        let tensor = |(at, (name, shape, values)): (usize, &(&str, &[i64], &[f32]))| {
            let datatype = self.config.inputs[self.config.input_index(name).unwrap()].datatype;
            let data = if on_device(at) { Bytes::new() } else { encode(datatype, values) };
            InputTensor { name: (*name).to_owned(), datatype, shape: Shape::from_slice(shape), data }
        };
        let inputs = inputs.iter().enumerate().map(tensor).collect();
        let device = (!device.is_empty()).then(|| Box::new(device));
        ValidRequest::new(InferRequest { inputs, device, ..Default::default() }, &self.config).unwrap()
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

    /// Code and message with which a batch fails.
    pub(crate) fn run_error(&self, instance: &mut dyn Instance, requests: &[ValidRequest]) -> String {
        self.run(instance, requests).unwrap_err().with_code()
    }
}

/// Shape and values of an output.
pub(crate) type Tensor = (String, Vec<i64>, Vec<f32>);

/// The outputs of a response, in its order.
pub(crate) fn outputs(response: &InferResponse) -> Vec<Tensor> {
    let tensor = |tensor: &nereid_core::OutputTensor| {
        (tensor.name.to_string(), tensor.shape.to_vec(), decode(tensor.datatype, &tensor.data))
    };
    response.outputs.iter().map(tensor).collect()
}

pub(crate) fn tensor(name: &str, shape: &[i64], values: &[f32]) -> Tensor {
    (name.to_owned(), shape.to_vec(), values.to_vec())
}

pub(crate) fn encode(datatype: DataType, values: &[f32]) -> Bytes {
    let bytes = |value: &f32| match datatype {
        DataType::Int64 => (*value as i64).to_le_bytes().to_vec(),
        DataType::Int32 => (*value as i32).to_le_bytes().to_vec(),
        DataType::Int8 => vec![*value as i8 as u8],
        _ => value.to_le_bytes().to_vec(),
    };
    values.iter().flat_map(bytes).collect()
}

pub(crate) fn decode(datatype: DataType, data: &[u8]) -> Vec<f32> {
    let value = |bytes: &[u8]| match datatype {
        DataType::Int64 => i64::from_le_bytes(bytes.try_into().unwrap()) as f32,
        DataType::Int32 => i32::from_le_bytes(bytes.try_into().unwrap()) as f32,
        DataType::Int8 => f32::from(bytes[0] as i8),
        _ => f32::from_le_bytes(bytes.try_into().unwrap()),
    };
    data.chunks_exact(datatype.size_bytes().unwrap()).map(value).collect()
}

/// An instance on the only GPU.
pub(crate) fn gpu() -> InstanceSpec {
    InstanceSpec { name: "m_0".into(), kind: InstanceKind::Gpu { device: 0 }, ..Default::default() }
}

/// A config with one instance, and with page-locked memory, as it is by default.
pub(crate) fn config(
    max_batch_size: u32,
    inputs: Vec<InputConfig>,
    outputs: Vec<OutputConfig>,
) -> ModelConfig {
    let mut config = ModelConfig {
        name: "m".into(),
        backend: "tensorrt".into(),
        max_batch_size,
        inputs,
        outputs,
        instances: vec![gpu()],
        ..Default::default()
    };
    config.optimization.pinned_input = true;
    config.optimization.pinned_output = true;
    config
}

pub(crate) fn input(name: &str, datatype: DataType, dims: &[i64]) -> InputConfig {
    InputConfig {
        name: name.into(),
        datatype,
        dims: dims.to_vec(),
        reshape: None,
        optional: false,
        allow_ragged_batch: false,
        form: Default::default(),
    }
}

pub(crate) fn output(name: &str, datatype: DataType, dims: &[i64]) -> OutputConfig {
    OutputConfig { name: name.into(), datatype, dims: dims.to_vec(), reshape: None, form: Default::default() }
}

/// `SUM` and `DIFF` of `A` and `B`, up to 8 rows of 4 numbers.
pub(crate) const ADD_SUB: &str =
    "op add_sub\nin A 0 -1x4 1x4 4x4 8x4\nin B 0 -1x4 1x4 4x4 8x4\nout SUM 0 -1x4\nout DIFF 0 -1x4";

pub(crate) fn add_sub_config() -> ModelConfig {
    let (inputs, outputs) = (["A", "B"], ["SUM", "DIFF"]);
    config(
        8,
        inputs.map(|name| input(name, DataType::Fp32, &[4])).to_vec(),
        outputs.map(|name| output(name, DataType::Fp32, &[4])).to_vec(),
    )
}

/// A request to [`ADD_SUB`] of `rows` rows, in which numbers count on from `first`; B is ten times A.
pub(crate) fn counting(served: &Served<'_>, rows: i64, first: f32) -> ValidRequest {
    let a: Vec<f32> = (0..rows * 4).map(|n| first + n as f32).collect();
    let b: Vec<f32> = a.iter().map(|n| n * 10.0).collect();
    served.request(&[("A", &[rows, 4], &a), ("B", &[rows, 4], &b)])
}

/// What [`counting`] is answered.
#[track_caller]
pub(crate) fn check_counting(response: &InferResponse, rows: i64, first: f32) {
    let values = |factor: f32| (0..rows * 4).map(|n| (first + n as f32) * factor).collect::<Vec<_>>();
    let expected = [tensor("SUM", &[rows, 4], &values(11.0)), tensor("DIFF", &[rows, 4], &values(-9.0))];
    assert_eq!(outputs(response), expected);
}
