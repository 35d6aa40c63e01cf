//! Libraries, engines and memory for the tests.

#![allow(unsafe_code, reason = "contexts take addresses")]
#![allow(clippy::unwrap_used, reason = "a test that cannot begin has failed")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nereid_cuda::host::HostDevice;
use nereid_cuda::{Device, DeviceBuffer, RawStream};
use nereid_tensorrt::{
    AllocationStrategy, Engine, ExecutionContext, Library, LoadOptions, LogSink, Runtime, Severity,
};
use parking_lot::Mutex;
use tempfile::TempDir;

/// Both families.
pub(crate) const MAJORS: [i32; 2] = [10, 11];

/// The default stream.
pub(crate) const STREAM: RawStream = RawStream(0);

/// The stand-in of TensorRT `major`.
pub(crate) fn path(major: i32) -> PathBuf {
    nereid_fakes::library(&format!("fake_nvinfer_{major}"))
}

pub(crate) fn load(path: &Path) -> Arc<Library> {
    Library::load(&options(path)).expect("the stand-in is there")
}

pub(crate) fn options(path: &Path) -> LoadOptions {
    LoadOptions { path: Some(path.to_owned()), log: quiet(), ..LoadOptions::default() }
}

pub(crate) fn quiet() -> LogSink {
    LogSink::new(|_, _| ())
}

/// What a sink was given.
pub(crate) type Lines = Arc<Mutex<Vec<(Severity, String)>>>;

/// A sink, and the lines that went there.
pub(crate) fn recording() -> (LogSink, Lines) {
    let lines = Lines::default();
    let to = Arc::clone(&lines);
    (LogSink::new(move |severity, line| to.lock().push((severity, line.to_owned()))), lines)
}

/// Copies of the stand-ins, which behave as they are told.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A copy of the stand-in of `major`, named `name`.
    pub(crate) fn add(&self, major: i32, name: &str, behaviour: &str) -> PathBuf {
        let to = self.path().join(name);
        std::fs::copy(path(major), &to).unwrap();
        std::fs::write(self.path().join(format!("{name}.behaviour")), behaviour).unwrap();
        to
    }
}

pub(crate) fn device() -> Arc<dyn Device> {
    HostDevice::new(0).device()
}

pub(crate) fn runtime(major: i32) -> Arc<Runtime> {
    Runtime::new(&load(&path(major)), &device()).unwrap()
}

/// The engine of the plan with these lines.
pub(crate) fn engine(major: i32, lines: &str) -> Arc<Engine> {
    runtime(major).deserialize(plan(lines).as_bytes()).unwrap()
}

pub(crate) fn plan(lines: &str) -> String {
    format!("FAKEPLAN\n{lines}\nend\n")
}

pub(crate) fn context(major: i32, lines: &str) -> ExecutionContext {
    engine(major, lines).create_context(AllocationStrategy::Static).unwrap()
}

pub(crate) const ADD_SUB: &str = "name add_sub\nop add_sub
in INPUT0 0 -1x4 1x4 2x4 8x4
in INPUT1 0 -1x4 1x4 2x4 8x4
out OUTPUT0 0 -1x4
out OUTPUT1 0 -1x4";

/// Memory of the device with these values.
pub(crate) fn buffer<T: Copy>(device: &Arc<dyn Device>, values: &[T]) -> DeviceBuffer {
    let buffer = DeviceBuffer::new(device, size_of_val(values)).unwrap();
    // SAFETY: plain numbers as their bytes.
    let bytes = unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) };
    // SAFETY: nobody else uses the buffer.
    unsafe { device.write(buffer.address(), bytes) }.unwrap();
    buffer
}

/// The values in memory of the device.
pub(crate) fn values<T: Copy + Default>(device: &Arc<dyn Device>, address: u64, count: usize) -> Vec<T> {
    let mut values = vec![T::default(); count];
    let size = size_of_val(&values[..]);
    // SAFETY: plain numbers as their bytes.
    let bytes = unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast::<u8>(), size) };
    // SAFETY: nobody writes it now.
    unsafe { device.read(bytes, address) }.unwrap();
    values
}

/// Sets the address of a tensor that lives as long as the test needs it.
pub(crate) fn bind(context: &mut ExecutionContext, tensor: usize, address: u64) {
    // SAFETY: tests keep their buffers until the end, and make them large enough.
    unsafe { context.set_tensor_address(tensor, address) }.unwrap();
}

pub(crate) fn choose(context: &mut ExecutionContext, profile: usize) {
    // SAFETY: the default stream, and nothing runs.
    unsafe { context.set_profile(profile, STREAM) }.unwrap();
}

pub(crate) fn enqueue(context: &mut ExecutionContext) -> Result<(), String> {
    // SAFETY: the default stream, on which everything has ended when the call returns.
    unsafe { context.enqueue(STREAM) }.map_err(|error| error.to_string())
}
