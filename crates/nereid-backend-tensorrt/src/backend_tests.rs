//! Tests of the backend's face on stand-ins for TensorRT and a GPU in host memory: configs that are completed from plans on
//! disk, and plans that cannot be read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use nereid_core::DataType::{self, Fp32, Int32, Int64};
use nereid_core::backend::{
    AutoComplete, AutoCompleteRequest, Backend, DeclaredGroup, LoadRequest, TensorSpec,
};
use nereid_core::config::{InstanceKind, InstanceSpec, TensorForm};
use nereid_core::{ModelConfig, Result};
use nereid_cuda::host::HostDevice;
use nereid_cuda::{Device, DeviceInfo};
use tempfile::TempDir;

use super::{Options, TensorRt};

/// Names of the stand-ins, one for each family of vtables.
const LIBRARIES: [&str; 2] = ["fake_nvinfer_10", "fake_nvinfer_11"];

/// A plan of two inputs and two outputs of `[-1, 16]`, up to eight rows.
const ADD_SUB: &str = "FAKEPLAN
op add_sub
in INPUT0 0 -1x16 1x16 4x16 8x16
in INPUT1 0 -1x16 1x16 4x16 8x16
out OUTPUT0 0 -1x16
out OUTPUT1 0 -1x16
end
";

/// `<repository>/m` with a version 1, and a backend.
#[derive(Debug)]
struct Fixture {
    dir: TempDir,
    device: Arc<HostDevice>,
    backend: TensorRt,
}

impl Fixture {
    /// With `library` of the stand-ins and one GPU.
    fn new(library: &str) -> Self {
        Self::with(&[("lib", &nereid_fakes::library(library).display().to_string())])
    }

    /// With what the command line says and one GPU.
    fn with(settings: &[(&str, &str)]) -> Self {
        let device = HostDevice::new(0);
        let devices = vec![device.device()];
        Self::on(settings, device, devices)
    }

    /// With these GPUs.
    fn on(settings: &[(&str, &str)], device: Arc<HostDevice>, devices: Vec<Arc<dyn Device>>) -> Self {
        let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        let settings: BTreeMap<_, _> = settings.iter().map(pair).collect();
        let options =
            Options { settings, devices: Some(devices), min_compute_capability: 6.0, ..Default::default() };
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("1")).unwrap();
        Self { dir, device, backend: TensorRt::new(options).unwrap() }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("1").join(name)
    }

    /// Writes a file of the version.
    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), content).unwrap();
    }

    /// Completes a config that says nothing, but for `change`.
    fn complete(&self, change: impl FnOnce(&mut AutoCompleteRequest<'_>)) -> Result<AutoComplete, String> {
        let model_file = self.file("model.plan");
        let mut request = AutoCompleteRequest {
            model: "m",
            model_dir: self.dir.path(),
            op_libraries: &[],
            version_dir: &self.file(""),
            model_file: &model_file,
            cc_model_filenames: BTreeMap::new(),
            max_batch_size: 0,
            default_max_batch_size: 4,
            inputs: vec![],
            batch_inputs: 0,
            outputs: vec![],
            has_scheduler: false,
            groups: vec![DeclaredGroup { gpu: Some(0), profiles: vec![] }],
        };
        change(&mut request);
        let answer = self.backend.auto_complete(&request);
        answer.map_err(|e| e.with_code().replace(&self.dir.path().display().to_string(), "{dir}"))
    }

    /// The message that completing such a config fails with, whose parts must all be there.
    #[track_caller]
    fn complete_fails(&self, parts: &[&str]) {
        let error = self.complete(|_| {}).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{part:?} is not in {error:?}");
        }
    }
}

fn spec(name: &str, datatype: DataType, dims: &[i64]) -> TensorSpec {
    TensorSpec { name: name.into(), datatype, dims: dims.to_vec(), reshape: None, form: TensorForm::Linear }
}

fn profile(profile: &str) -> impl FnOnce(&mut AutoCompleteRequest<'_>) {
    let profile: &'static str = profile.to_owned().leak();
    move |request| request.groups = vec![DeclaredGroup { gpu: Some(0), profiles: vec![profile] }]
}

#[test]
fn from_a_plan() {
    for library in LIBRARIES {
        let fixture = Fixture::new(library);
        fixture.write("model.plan", ADD_SUB);
        let pair = |a, b| Some(vec![spec(a, Fp32, &[16]), spec(b, Fp32, &[16])]);
        let expected = AutoComplete {
            max_batch_size: Some(8),
            inputs: pair("INPUT0", "INPUT1"),
            outputs: pair("OUTPUT0", "OUTPUT1"),
            dynamic_batching: true,
        };
        assert_eq!(fixture.complete(|_| {}), Ok(expected), "{library}");
    }
}

#[test]
fn profiles_shape_tensors_and_layouts() {
    let plan = "FAKEPLAN
op reshape
in INPUT0 3 3 location=host shape_io values=1,1,1:4,2,2:8,4,4;1,1,1:2,2,2:2,4,4
in DUMMY_INPUT0 0 -1x-1x-1 1x1x1 4x2x2 8x4x4 1x1x1 2x2x2 2x4x4
in PACKED 1 -1x13x2x1 1x13x2x1 4x13x2x1 8x13x2x1 1x13x2x1 2x13x2x1 2x13x2x1 format=1 vectorized_dim=1 components=2 bytes=2
out OUTPUT0 8 3 location=host shape_io
end
";
    for library in LIBRARIES {
        let fixture = Fixture::new(library);
        fixture.write("model.plan", plan);
        let got = fixture.complete(|_| {}).unwrap();
        let values = |name, datatype| TensorSpec { form: TensorForm::Shape, ..spec(name, datatype, &[2]) };
        let packed =
            TensorSpec { form: TensorForm::NonLinear, ..spec("PACKED", DataType::Fp16, &[13, 2, 1]) };
        let inputs = vec![values("INPUT0", Int32), spec("DUMMY_INPUT0", Fp32, &[-1, -1]), packed];
        assert_eq!((got.max_batch_size, got.inputs), (Some(8), Some(inputs)), "{library}");
        assert_eq!(got.outputs, Some(vec![values("OUTPUT0", Int64)]));
        assert_eq!(fixture.complete(profile("1")).unwrap().max_batch_size, Some(2));
        assert_eq!(
            fixture.complete(profile("2")).unwrap_err(),
            "Internal: unable to autofill for 'm', configuration specified invalid profile 2 . Number of profiles supported \
             by TensorRT engine: 2"
        );
    }
}

#[test]
fn files_by_compute_capability() {
    let fixture = Fixture::new(LIBRARIES[0]);
    fixture.write("sm90.plan", ADD_SUB);
    let largest = |names: &[(&'static str, &'static str)]| {
        let answer = fixture.complete(|request| request.cc_model_filenames = names.iter().copied().collect());
        answer.map(|answer| answer.max_batch_size)
    };
    assert_eq!(largest(&[("8.0", "sm80.plan"), ("9.0", "sm90.plan")]), Ok(Some(8)));
    assert_eq!(
        largest(&[("8.0", "sm90.plan")]).unwrap_err(),
        "Internal: unable to load plan file to auto complete config: {dir}/1/model.plan: unable to find \
         '{dir}/1/model.plan' for model instance 'm'"
    );
}

#[test]
fn what_is_no_plan() {
    const UNABLE: &str = "Internal: unable to load plan file to auto complete config: {dir}/1/model.plan: unable to create \
                          TensorRT engine: ";
    for library in LIBRARIES {
        let fixture = Fixture::new(library);
        for (content, reason) in [
            (&b""[..], "empty"),
            (b"\x08\x08\x12\x07pytorch", "an ONNX model"),
            (b"PK\x03\x04", "a zip archive"),
            (b"name: \"m\"\n", "text"),
            (b"\xff\xfe\xfd", "Magic tag does not match"),
            (
                &ADD_SUB.as_bytes()[..ADD_SUB.len() - 4],
                "Size specified in header does not match archive size",
            ),
            (b"FAKEPLAN\nversion 8.6.1\nend\n", "version"),
        ] {
            fixture.write("model.plan", content);
            let advice = ["'{dir}/1/model.plan'", "build it again here", "compute capability 9.0"];
            fixture.complete_fails(&[&[UNABLE, reason], &advice[..]].concat());
        }
        // Nothing is left behind, and another model is none the worse for it.
        assert_eq!(fixture.device.live(), HostDevice::new(0).live());
        fixture.write("model.plan", ADD_SUB);
        assert!(fixture.complete(|_| {}).is_ok());
    }
}

#[test]
fn more_than_the_gpu_has() {
    let fixture = Fixture::new(LIBRARIES[0]);
    fixture.write("model.plan", "FAKEPLAN\nop oom\nin x 0 4\nout y 0 4\nend\n");
    fixture.complete_fails(&[
        "unable to create TensorRT engine: ",
        "GPU 0 (Host GPU) has too little memory left: 1024 of 1024 MiB are free",
        "Unload models",
    ]);
}

#[test]
fn no_library() {
    let fixture = Fixture::with(&[("lib", "/nonexistent/libnvinfer.so.10")]);
    fixture.write("model.plan", ADD_SUB);
    fixture.complete_fails(&["unable to load TensorRT", "'/nonexistent/libnvinfer.so.10'"]);
}

#[test]
fn plugins_that_are_not_there() {
    let library = nereid_fakes::library(LIBRARIES[0]).display().to_string();
    let fixture = Fixture::with(&[("lib", &library), ("plugins", "/nonexistent/libmine.so")]);
    fixture.write("model.plan", ADD_SUB);
    assert!(fixture.complete(|_| {}).is_ok(), "most plans do without");
    fixture.write("model.plan", "FAKEPLAN\n");
    fixture.complete_fails(&["unable to load TensorRT's plugins", "'/nonexistent/libmine.so'"]);
}

#[test]
fn gpus_that_are_not_there() {
    let library = nereid_fakes::library(LIBRARIES[0]).display().to_string();
    let settings = [("lib", &*library)];
    let old = HostDevice::with_info(DeviceInfo {
        ordinal: 1,
        name: "Old GPU".into(),
        uuid: "GPU-1".into(),
        compute_capability: (5, 2),
        total_memory: 1 << 20,
        pci_bus_id: "0000:01:00.0".into(),
    });
    let fixture = Fixture::on(&settings, HostDevice::new(0), vec![HostDevice::new(0).device(), old.device()]);
    fixture.write("model.plan", ADD_SUB);
    let on = |gpu| {
        fixture.complete(|request| request.groups = vec![DeclaredGroup { gpu: Some(gpu), profiles: vec![] }])
    };
    assert!(on(0).is_ok());
    assert_eq!(
        on(1).unwrap_err(),
        "Internal: unable to set CUDA device to GPU 1 : its compute capability 5.2 is less than 6.0"
    );
    assert_eq!(on(2).unwrap_err(), "Internal: unable to set CUDA device to GPU 2 : there are 2 GPUs");
    let none = Fixture::on(&settings, HostDevice::new(0), vec![]);
    none.complete_fails(&["unable to set CUDA device to GPU 0 : there is no GPU"]);
}

#[test]
fn models_that_are_not_on_gpus() {
    let load = |fixture: &Fixture, kinds: &[InstanceKind]| {
        let instance = |kind: &InstanceKind| InstanceSpec { kind: *kind, ..Default::default() };
        let instances = kinds.iter().map(instance).collect();
        let config = Arc::new(ModelConfig { name: "m".into(), instances, ..Default::default() });
        let (model_dir, version_dir) = (&*fixture.file(".."), &*fixture.file(""));
        let model_file = &*fixture.file("model.plan");
        let request = LoadRequest { config: &config, version: 1, model_dir, version_dir, model_file };
        fixture.backend.load(&request).map(drop).map_err(|e| e.with_code())
    };
    let text = "Invalid argument: unable to load model 'm', TensorRT backend supports only GPU device";
    let fixture = Fixture::new(LIBRARIES[0]);
    let cpu = |request: &mut AutoCompleteRequest<'_>| request.groups = vec![DeclaredGroup::default()];
    assert_eq!(fixture.complete(cpu), Ok(AutoComplete::default()));
    for kinds in [&[InstanceKind::Cpu][..], &[InstanceKind::Gpu { device: 0 }, InstanceKind::Model]] {
        assert_eq!(load(&fixture, kinds), Err(text.to_owned()));
    }
    let none = Fixture::on(&[], HostDevice::new(0), vec![]);
    assert_eq!(load(&none, &[InstanceKind::Cpu]), Err(format!("{text}, and there is no GPU")));
}

#[test]
fn parameters_of_a_model() {
    let fixture = Fixture::new(LIBRARIES[0]);
    fixture.write("model.plan", ADD_SUB);
    let load = |key: &str, value: &str| {
        let instances = vec![InstanceSpec { kind: InstanceKind::Gpu { device: 0 }, ..Default::default() }];
        let parameters = [(key.to_owned(), value.to_owned())].into();
        let config = ModelConfig { name: "m".into(), instances, parameters, ..Default::default() };
        let (config, model_dir, version_dir) = (Arc::new(config), &*fixture.file(".."), &*fixture.file(""));
        let model_file = &*fixture.file("model.plan");
        let request = LoadRequest { config: &config, version: 1, model_dir, version_dir, model_file };
        fixture.backend.load(&request).map(drop).unwrap_err().with_code()
    };
    assert_eq!(
        load("execution_context_allocation_strategy", "DYNAMIC"),
        "Invalid argument: Invalid value for 'execution_context_allocation_strategy': 'DYNAMIC' for model instance 'm'. \
         Supported values are 'STATIC' and 'ON_PROFILE_CHANGE'."
    );
    assert!(
        load("enable_multi_device", "true").starts_with("Unsupported: unable to load model 'm', parameter")
    );
}
