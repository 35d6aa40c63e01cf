//! Regions over real objects in shared memory: what is refused, what an owner may do meanwhile, and how long a region
//! stays.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nereid_core::testing::identity_config;
use nereid_core::{
    DataType, ErrorCode, InferRequest, InferResponse, InputTensor, ModelConfig, OutputTensor, Shape,
};
use rustix::fd::OwnedFd;
use rustix::fs::{fstat, ftruncate};
use rustix::io::{pread, pwrite};
use rustix::shm::{self, Mode, OFlags};

use super::regions::Lease;
use super::*;
use crate::in_flight::Held;

/// An object in shared memory, gone at the end of the test.
struct Object {
    key: String,
    file: OwnedFd,
}

impl Object {
    fn new(content: &[u8]) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let key = format!("/nereid_test_{}_{number}", std::process::id());
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR;
        let file = shm::open(&key, flags, Mode::RUSR | Mode::WUSR).unwrap();
        assert_eq!(pwrite(&file, content, 0).unwrap(), content.len());
        Self { key, file }
    }

    fn content(&self) -> Vec<u8> {
        let mut content = vec![0; fstat(&self.file).unwrap().st_size as usize];
        let count = pread(&self.file, &mut content, 0).unwrap();
        assert_eq!(count, content.len());
        content
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let _ = shm::unlink(&self.key); // a test may have done so
    }
}

/// Memory of the host, which tells when it is closed, and by the count of the flag when it is dropped.
#[derive(Debug)]
struct Host {
    closed: Arc<AtomicBool>,
}

impl Memory for Host {
    fn read(&self, _: u64, byte_size: u64) -> Result<Bytes> {
        Ok(vec![7; byte_size as usize].into())
    }

    fn write(&self, _: u64, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn waits(&self) -> bool {
        true
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

fn regions() -> SharedMemory {
    SharedMemory::new(true)
}

#[track_caller]
fn refused<T: Debug>(result: Result<T>, code: ErrorCode, message: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.code(), error.message()), (code, message));
}

#[test]
fn what_cannot_be_registered() {
    let (memory, object) = (regions(), Object::new(&[0; 128]));
    let key = object.key.as_str();
    let check = |key: &str, offset, byte_size, code, message: &str| {
        refused(memory.register_system("r", key, offset, byte_size), code, message);
    };
    let invalid = "failed to register shared memory region 'r': invalid args";
    for (offset, byte_size) in
        [(0, 129), (129, 0), (128, 1), (0, u64::MAX), (u64::MAX, 1), (64, u64::MAX - 63)]
    {
        check(key, offset, byte_size, ErrorCode::InvalidArg, invalid);
    }
    let empty =
        "failed to register shared memory region 'r': unable to process address spaceInvalid argument";
    check(key, 0, 0, ErrorCode::InvalidArg, empty);
    for key in ["", "/", "///"] {
        let message = format!("cannot register shared memory region 'r' - invalid shm key '{key}'");
        check(key, 0, 1, ErrorCode::InvalidArg, &message);
    }
    for key in ["/triton_python_backend_shm_region_0", "triton_python_backend_shm_region_"] {
        let message = format!(
            "cannot register shared memory region 'r' with key '{key}' as the key contains the reserved prefix \
             'triton_python_backend_shm_region_'"
        );
        check(key, 0, 1, ErrorCode::InvalidArg, &message);
    }
    for key in ["/nereid_test_absent", "/a/b", "/..", "/../shm", ".", "/nul\0", "/line\nbreak"] {
        let message = format!("Unable to open shared memory region: '{key}'");
        check(key, 0, 1, ErrorCode::Internal, &message);
    }
    let message = format!("Unable to open shared memory region: '{}...'", "k".repeat(256));
    check(&"k".repeat(100_000), 0, 1, ErrorCode::Internal, &message);
    let long = memory.register_system(&"ä".repeat(50_000), key, 0, 1).unwrap_err();
    assert!(
        long.message().ends_with("...' of 100000 bytes is longer than the limit of 1024 bytes"),
        "{long}"
    );
    assert!(memory.status(Kind::System, "").unwrap().is_empty());
}

#[test]
fn names_are_common_and_kinds_are_not() {
    let (memory, object) = (regions(), Object::new(&[0; 16]));
    memory.register_system("b", &object.key, 1, 8).unwrap();
    memory
        .register("c", 8, Place::Cuda { device_id: 3 }, |_| Ok(Box::new(Host { closed: Arc::default() })))
        .unwrap();
    memory.register_system("a", object.key.trim_start_matches('/'), 0, 16).unwrap();
    let taken = memory.register_system("c", &object.key, 0, 1);
    refused(taken, ErrorCode::AlreadyExists, "shared memory region 'c' already in manager");
    let neither = memory.register_system("c", "/", 0, 1);
    refused(neither, ErrorCode::InvalidArg, "cannot register shared memory region 'c' - invalid shm key '/'");
    let names = |kind| {
        let regions = memory.status(kind, "").unwrap();
        regions.iter().map(|region| region.name.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((names(Kind::System), names(Kind::Cuda)), (vec!["a".into(), "b".into()], vec!["c".into()]));
    let one = memory.status(Kind::System, "b").unwrap();
    assert_eq!((one.len(), one[0].byte_size), (1, 8));
    assert_eq!(one[0].place, Place::System { key: object.key.clone(), offset: 1 });
    for (kind, name, message) in [
        (Kind::System, "x", "Unable to find system shared memory region: 'x'"),
        (Kind::Cuda, "x", "Unable to find cuda shared memory region: 'x'"),
        (
            Kind::System,
            "c",
            "The region named 'c' is registered as CUDA shared memory, not system shared memory",
        ),
        (
            Kind::Cuda,
            "a",
            "The region named 'a' is registered as system shared memory, not CUDA shared memory",
        ),
    ] {
        refused(memory.status(kind, name), ErrorCode::NotFound, message);
    }
    memory.unregister(Kind::Cuda, "a").unwrap();
    memory.unregister(Kind::System, "x").unwrap();
    assert_eq!(names(Kind::System), ["a", "b"]);
    memory.unregister(Kind::System, "").unwrap();
    assert_eq!((names(Kind::System), names(Kind::Cuda)), (vec![], vec!["c".into()]));
}

#[test]
fn nothing_without_the_flag() {
    let (memory, object) = (SharedMemory::new(false), Object::new(&[0; 16]));
    let message =
        "Client shared memory is disabled. Start the server with '--allow-client-shm=true' to enable.";
    refused(memory.register_system("r", &object.key, 0, 16), ErrorCode::Unsupported, message);
    refused(memory.register_cuda("r", [0; HANDLE_BYTES], 0, 16), ErrorCode::Unsupported, message);
    refused(memory.unregister(Kind::System, ""), ErrorCode::Unsupported, message);
    assert!(memory.status(Kind::System, "").unwrap().is_empty());
    let unknown = "Unable to find shared memory region: 'r'";
    refused(memory.lease("r", 0, 1), ErrorCode::NotFound, unknown);
}

#[test]
fn cuda_regions_need_a_gpu_and_a_handle() {
    let error = regions().register_cuda("r", [0; HANDLE_BYTES], 0, 16).unwrap_err();
    let (none, wrong) = (
        "failed to register CUDA shared memory region: 'r', GPUs not supported",
        "failed to register shared memory region: invalid args",
    );
    assert!([none, wrong].contains(&error.message()), "{error}");
    assert_eq!(error.code(), ErrorCode::InvalidArg);
}

#[test]
fn there_is_a_limit_of_regions() {
    let object = Object::new(&[0; 16]);
    let mut memory = regions();
    memory.most = 1;
    memory.register_system("a", &object.key, 0, 16).unwrap();
    let second = memory.register_system("b", &object.key, 0, 16);
    refused(
        second,
        ErrorCode::Unavailable,
        "failed to register shared memory region 'b': 1 regions are registered, and no more than half of the files that \
         the server may open (ulimit -n) go to regions",
    );
    memory.unregister(Kind::System, "a").unwrap();
    memory.register_system("b", &object.key, 0, 16).unwrap();
}

#[test]
fn bounds_within_a_region() {
    let (memory, object) = (regions(), Object::new(&[0; 128]));
    memory.register_system("r", &object.key, 64, 64).unwrap();
    for (offset, byte_size) in [(0, 64), (63, 1), (63, 0)] {
        memory.lease("r", offset, byte_size).unwrap();
    }
    let past = "Invalid offset for shared memory region: 'r'";
    let end = "Invalid offset + byte size for shared memory region: 'r'";
    let wraps = "Integer overflow detected: byte_size (18446744073709551615) + offset (1) exceeds maximum value \
                 (18446744073709551615) for region 'r'";
    for (offset, byte_size, message) in [
        (64, 0, past),
        (u64::MAX, u64::MAX, past),
        (0, 65, end),
        (63, 2, end),
        (0, u64::MAX, end),
        (1, u64::MAX, wraps),
    ] {
        refused(memory.lease("r", offset, byte_size), ErrorCode::InvalidArg, message);
    }
}

/// One window on bytes 2 to 6 of the region `r`, whose bytes start at the second of the object.
fn window(memory: &SharedMemory, object: &Object) -> Lease {
    memory.register_system("r", &object.key, 1, 6).unwrap();
    memory.lease("r", 2, 4).unwrap()
}

#[test]
fn an_owner_may_truncate_and_unlink() {
    let (memory, object) = (regions(), Object::new(b"01234567"));
    let lease = window(&memory, &object);
    let region = &lease.region.memory;
    shm::unlink(&object.key).unwrap();
    assert_eq!(region.read(2, 4).unwrap(), "3456");
    region.write(2, b"abcd").unwrap();
    assert_eq!(object.content(), b"012abcd7");
    let message = format!(
        "shared memory region 'r' has become shorter: 4 bytes at offset 3 of '{}' are not there, it has 6 bytes now",
        object.key
    );
    ftruncate(&object.file, 6).unwrap();
    refused(region.read(2, 4), ErrorCode::InvalidArg, &message);
    refused(region.write(2, b"abcd"), ErrorCode::InvalidArg, &message);
    assert_eq!(object.content(), b"012abc", "it is not made longer");
    ftruncate(&object.file, 0).unwrap();
    assert!(region.read(2, 4).is_err());
    ftruncate(&object.file, 7).unwrap();
    assert_eq!(region.read(2, 4).unwrap(), "\0\0\0\0");
}

#[test]
fn holes_are_not_read_without_end() {
    let (memory, object) = (regions(), Object::new(b"x"));
    let size = 1 << 40;
    ftruncate(&object.file, size).unwrap();
    memory.register_system("r", &object.key, 0, size).unwrap();
    let lease = memory.lease("r", 0, size).unwrap();
    assert_eq!(lease.region.memory.read(0, 2).unwrap(), "x\0");
    let error = lease.region.memory.read(0, size).unwrap_err();
    assert!(
        error.message().starts_with("unable to read 1099511627776 bytes of shared memory region 'r'"),
        "{error}"
    );
}

#[test]
fn a_region_in_use_stays_until_its_last_request_has_ended() {
    let (memory, closed) = (regions(), Arc::new(AtomicBool::new(false)));
    let register = || {
        memory
            .register("r", 8, Place::Cuda { device_id: 0 }, |_| Ok(Box::new(Host { closed: closed.clone() })))
    };
    register().unwrap();
    let (first, second) = (memory.lease("r", 0, 8).unwrap(), memory.lease("r", 0, 8).unwrap());
    memory.unregister(Kind::Cuda, "r").unwrap();
    memory.unregister(Kind::Cuda, "").unwrap();
    drop(first);
    assert_eq!(memory.status(Kind::Cuda, "r").unwrap().len(), 1);
    refused(register(), ErrorCode::AlreadyExists, "shared memory region 'r' already in manager");
    let third = memory.lease("r", 0, 8).unwrap(); // as in Triton
    drop(second);
    assert_eq!(Arc::strong_count(&closed), 2);
    drop(third);
    assert_eq!(Arc::strong_count(&closed), 1);
    assert!(memory.status(Kind::Cuda, "").unwrap().is_empty());
    register().unwrap();
    drop(memory.lease("r", 0, 8).unwrap());
    assert_eq!(memory.status(Kind::Cuda, "r").unwrap().len(), 1, "nobody has unregistered the new one");
    assert!(!closed.load(Ordering::Relaxed), "nothing was closed while it was in use");
    let shown = memory.status(Kind::Cuda, "r").unwrap();
    memory.unregister(Kind::Cuda, "r").unwrap();
    assert!(closed.load(Ordering::Relaxed), "the owner may free it, whoever still looks at the status");
    drop(shown);
}

fn request(shape: &[i64]) -> InferRequest {
    let shape = Shape::from_slice(shape);
    let input = InputTensor { name: "INPUT0".into(), datatype: DataType::Fp32, shape, data: Bytes::new() };
    InferRequest { inputs: vec![input], ..Default::default() }
}

fn response(data: &'static [u8]) -> InferResponse {
    let output = OutputTensor {
        name: "OUTPUT0".into(),
        datatype: DataType::Fp32,
        shape: Shape::from_slice(&[1, 2]),
        data: Bytes::from_static(data),
    };
    InferResponse { outputs: vec![output], ..Default::default() }
}

fn config() -> Arc<ModelConfig> {
    Arc::new(identity_config(8))
}

#[tokio::test]
async fn tensors_go_through_windows() {
    let (memory, object) = (regions(), Object::new(b"01234567........"));
    memory.register_system("r", &object.key, 0, 16).unwrap();
    let mut windows = Windows::default();
    windows.add_input(&memory, 0, Bounds { region: "r", offset: 0, byte_size: 8 }).unwrap();
    windows.add_output(&memory, "OUTPUT0", Bounds { region: "r", offset: 8, byte_size: 8 }).unwrap();
    let windows = windows.into_option().unwrap();
    let request = windows.read(request(&[1, 2]), &config(), None, &mut Held::uncounted()).await.unwrap();
    assert_eq!(request.inputs[0].data, "01234567");
    let written = windows.write(response(b"abcdefgh")).await.unwrap();
    assert!(written.outputs[0].data.is_empty());
    assert_eq!(object.content(), b"01234567abcdefgh");
    refused(
        windows.write(response(b"123456789")).await,
        ErrorCode::Internal,
        "shared memory size specified with the request for output 'OUTPUT0' (8 bytes) should be at least 9 bytes to hold \
         the results",
    );
    assert_eq!(object.content(), b"01234567abcdefgh");
    memory.unregister(Kind::System, "r").unwrap();
    assert_eq!(memory.status(Kind::System, "").unwrap().len(), 1);
    drop(windows);
    assert!(memory.status(Kind::System, "").unwrap().is_empty());
    assert!(Windows::default().into_option().is_none());
}

#[tokio::test]
async fn nothing_is_read_that_the_model_would_not_take() {
    let (memory, object) = (regions(), Object::new(&[0; 64]));
    memory.register_system("r", &object.key, 0, 64).unwrap();
    let mut windows = Windows::default();
    windows.add_input(&memory, 0, Bounds { region: "r", offset: 0, byte_size: 64 }).unwrap();
    let windows = windows.into_option().unwrap();
    ftruncate(&object.file, 0).unwrap(); // reading would say so
    for (shape, message) in [
        (&[1, 2][..], "input byte size mismatch for input 'INPUT0' for model 'identity'. Expected 8, got 64"),
        (&[9, 2], "inference request batch-size must be <= 8 for 'identity'"),
    ] {
        let message = format!("[request id: <id_unknown>] {message}");
        refused(
            windows.read(request(shape), &config(), None, &mut Held::uncounted()).await,
            ErrorCode::InvalidArg,
            &message,
        );
    }
    let mut many = request(&[8, 2]);
    many.inputs.push(many.inputs[0].clone());
    assert!(
        windows.read(many, &config(), None, &mut Held::uncounted()).await.unwrap().inputs[0].data.is_empty()
    );
    let error = windows.read(request(&[8, 2]), &config(), None, &mut Held::uncounted()).await.unwrap_err();
    assert!(error.message().starts_with("shared memory region 'r' has become shorter"), "{error}");
}
