//! Libraries that a C++ compiler makes of NVIDIA's headers, where `NEREID_TENSORRT_HEADERS` names folders with `NvInfer.h`,
//! divided by colons, and `g++` (or `$CXX`) is there. Without that variable nothing is tested here.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nereid_cuda::{DeviceBuffer, RawStream};
use nereid_tensorrt::{AllocationStrategy, Library, LoadOptions, OutputAllocator, Runtime, Severity};
use parking_lot::Mutex;

use crate::drops::live;
use crate::fixture::{bind, buffer, choose, device, enqueue, options, recording, values};

/// What NVIDIA's headers need of CUDA's.
const CUDA: &str =
    "#pragma once\ntypedef struct CUstream_st* cudaStream_t;\ntypedef struct CUevent_st* cudaEvent_t;\n";
const PLAN: &[u8] = b"a plan of this test";

fn headers() -> Vec<PathBuf> {
    let variable = std::env::var_os("NEREID_TENSORRT_HEADERS");
    variable.map_or(Vec::new(), |folders| std::env::split_paths(&folders).collect())
}

/// Every abstract method of `class`, as a method that ends the process.
fn stub(header: &str, class: &str) -> String {
    let start = header.find(&format!("class {class} : public VRoot")).expect("the header has the class");
    let body = &header[start..];
    let body = &body[..body.find("\n};").expect("the class has an end")];
    let code: String =
        body.lines().map(|line| line.split("//").next().unwrap_or_default()).collect::<Vec<_>>().join(" ");
    let mut text = format!("struct Stub{class} : nvinfer1::apiv::{class} {{\n");
    for statement in code.split(';') {
        let Some((_, declaration)) = statement.split_once("virtual ") else { continue };
        let declaration = declaration.trim().strip_suffix("= 0").expect("an abstract method").trim();
        let _ = writeln!(text, "  {declaration} override {{ unexpected(R\"({class}: {declaration})\"); }}");
    }
    text + "};\n"
}

fn compile(headers: &Path, folder: &Path) -> PathBuf {
    let implementation =
        fs::read_to_string(headers.join("NvInferImpl.h")).expect("the folder has NvInferImpl.h");
    let classes = ["VRuntime", "VCudaEngine", "VExecutionContext"];
    let stubs: String = classes.iter().map(|class| stub(&implementation, class)).collect();
    let has_v2 = u8::from(stubs.contains("getDeviceMemorySizeV2"));
    for (name, text) in [
        ("stubs.h", stubs.as_str()),
        ("cuda_runtime_api.h", CUDA),
        ("fake.cpp", include_str!("../headers/fake.cpp")),
    ] {
        fs::write(folder.join(name), text).expect("the folder is there");
    }
    let library = folder.join("libnvinfer.so");
    let status = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "g++".into()))
        .args(["-std=c++17", "-w", "-fPIC", "-shared", "-fvisibility=hidden"])
        .arg(format!("-DDEVICE_MEMORY_SIZE_V2={has_v2}"))
        .arg("-I")
        .arg(folder)
        .arg("-I")
        .arg(headers)
        .arg(folder.join("fake.cpp"))
        .arg("-o")
        .arg(&library)
        .status()
        .expect("there is a C++ compiler");
    assert!(status.success(), "{} does not compile", headers.display());
    library
}

#[derive(Debug)]
struct Allocator {
    memory: DeviceBuffer,
    calls: Mutex<Vec<String>>,
}

impl OutputAllocator for Allocator {
    fn reallocate(
        &self,
        tensor: &str,
        current: u64,
        bytes: u64,
        alignment: u64,
        stream: RawStream,
    ) -> Option<u64> {
        self.calls.lock().push(format!("{tensor} {current} {bytes} {alignment} {}", stream.0));
        Some(self.memory.address())
    }

    fn notify_shape(&self, tensor: &str, shape: &[i64]) {
        self.calls.lock().push(format!("{tensor} {shape:?}"));
    }
}

#[test]
fn the_same_binary_interface() {
    for headers in headers() {
        let folder = tempfile::tempdir().unwrap();
        let path = compile(&headers, folder.path());
        let (log, lines) = recording();
        let library = Library::load(&LoadOptions { log, ..options(&path) }).unwrap();
        let device = device();
        let runtime = Runtime::new(&library, &device).unwrap();
        runtime.set_max_threads(5).unwrap();
        assert_eq!(runtime.max_threads(), 5);
        runtime.set_host_code_allowed(true);
        assert!(runtime.host_code_allowed());
        let error = runtime.deserialize(b"\0garbage").unwrap_err();
        assert_eq!(error.log, ["Magic tag does not match"], "once, though logger and recorder were told");

        let engine = runtime.deserialize(PLAN).unwrap();
        assert!(lines.lock().contains(&(Severity::Info, "the engine was read".to_owned())));
        assert_eq!((engine.name(), engine.device_memory_size()), ("from headers", 4096));
        let names: Vec<_> = engine.tensors().iter().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["INPUT0", "INPUT1", "OUTPUT0", "OUTPUT1"]);
        assert_eq!(engine.tensors()[3].shape, [-1, 4]);
        assert_eq!(engine.tensors()[3].bytes_per_component, 4);
        let input = &engine.profiles()[0].inputs[1];
        assert_eq!([input.min[0], input.opt[0], input.max[0]], [1, 2, 8]);

        let mut context = engine.create_context(AllocationStrategy::Static).unwrap();
        choose(&mut context, 0);
        assert_eq!(context.missing_inputs().unwrap(), ["INPUT0", "INPUT1"]);
        let error = context.set_input_shape(0, &[9, 4]).unwrap_err();
        assert_eq!(error.log, ["the shape does not satisfy profile 0"]);
        for tensor in 0..2 {
            context.set_input_shape(tensor, &[2, 4]).unwrap();
        }
        assert_eq!(context.tensor_shape(3).unwrap(), [2, 4]);
        assert_eq!(context.max_output_size(3).unwrap(), Some(128));
        let left = buffer(&device, &[1_f32, 2., 3., 4., 5., 6., 7., 8.]);
        let right = buffer(&device, &[10_f32; 8]);
        let sum = buffer(&device, &[0_f32; 8]);
        for (tensor, memory) in [&left, &right, &sum].into_iter().enumerate() {
            bind(&mut context, tensor, memory.address());
        }
        assert!(enqueue(&mut context).unwrap_err().contains("an address is not set"));
        let memory = buffer(&device, &[0_f32; 8]);
        let allocator = Arc::new(Allocator { memory, calls: Mutex::default() });
        context.set_output_allocator(3, Some(allocator.clone())).unwrap();
        enqueue(&mut context).unwrap();
        assert_eq!(*allocator.calls.lock(), ["OUTPUT1 0 32 256 0", "OUTPUT1 [2, 4]"]);
        assert_eq!(values::<f32>(&device, sum.address(), 8), [11., 12., 13., 14., 15., 16., 17., 18.]);
        assert_eq!(values::<f32>(&device, allocator.memory.address(), 2), [-9., -8.]);

        assert_eq!(live(&path), 3);
        drop((runtime, engine));
        assert_eq!(live(&path), 3, "the context needs them");
        drop(context);
        assert_eq!(live(&path), 0);
        println!("{}: TensorRT {} passed", headers.display(), library.version());
    }
}
