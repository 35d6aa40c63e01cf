//! The driver's side, on a stand-in for its library: what is found, what fails, and memory that two processes share.

#![allow(unsafe_code, reason = "memory is copied by its address")]

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use nereid_cuda::driver::devices;
use nereid_cuda::{
    CudaError, Device, DeviceBuffer, Event, IpcHandle, IpcMemory, MemoryUse, PinnedBuffer, PinnedPool,
    Stream, StreamPriority,
};
use nereid_fakes::library;

use crate::process::with_driver;

fn with_fake(name: &str, environment: &[(&str, &str)], body: impl FnOnce()) {
    with_driver(name, &library("fake_cuda"), environment, body);
}

/// What [`devices`] says when there are none.
#[track_caller]
fn unavailable(start: &str) {
    let reason = devices().unwrap_err().to_string();
    assert!(reason.starts_with(start), "{reason}");
}

#[test]
fn no_driver() {
    with_driver("no_driver", Path::new("/dev/null"), &[], || unavailable("the NVIDIA driver is not there"));
}

#[test]
fn a_driver_that_lacks_a_function() {
    let other = library("fake_nvml");
    with_driver("a_driver_that_lacks_a_function", &other, &[], || {
        unavailable("the NVIDIA driver is too old: libcuda.so.1 has no function cuInit");
    });
}

#[test]
fn a_driver_without_gpus() {
    with_fake("a_driver_without_gpus", &[("CUDA_VISIBLE_DEVICES", "")], || {
        unavailable("there is no GPU: cuInit failed with error 100: CUDA_ERROR_NO_DEVICE, no CUDA-capable");
    });
}

#[test]
fn a_driver_that_fails() {
    with_fake("a_driver_that_fails", &[("FAKE_CUDA_INIT_ERROR", "803")], || {
        unavailable(
            "the NVIDIA driver does not work: cuInit failed with error 803: CUDA_ERROR_SYSTEM_DRIVER_MISMATCH, ",
        );
    });
}

#[test]
fn an_error_without_a_name() {
    with_fake("an_error_without_a_name", &[("FAKE_CUDA_INIT_ERROR", "123456")], || {
        unavailable(
            "the NVIDIA driver does not work: cuInit failed with error 123456: an error that the driver has no name for",
        );
    });
}

#[test]
fn what_a_gpu_is() {
    let environment = [("FAKE_CUDA_DEVICES", "3"), ("FAKE_CUDA_CAPABILITY", "9.0,8.6,7.5")];
    with_fake("what_a_gpu_is", &environment, || {
        let infos: Vec<_> = devices().unwrap().iter().map(|device| device.info()).collect();
        let capabilities: Vec<_> = infos.iter().map(|info| info.compute_capability).collect();
        assert_eq!(capabilities, [(9, 0), (8, 6), (7, 5)]);
        let second = infos[1];
        assert_eq!((second.ordinal, second.name.as_str(), second.total_memory), (1, "Fake GPU", 1 << 30));
        assert_eq!(second.uuid, "GPU-00000000-0000-0000-0000-000000000001");
        assert_eq!(second.pci_bus_id, "0000:01:00.0");
    });
}

#[test]
fn which_gpus_are_visible() {
    let environment = [("FAKE_CUDA_DEVICES", "3"), ("CUDA_VISIBLE_DEVICES", "2,0,7,1")];
    with_fake("which_gpus_are_visible", &environment, || {
        let of = |device: &Arc<dyn Device>| (device.info().ordinal, device.info().pci_bus_id.clone());
        let found: Vec<_> = devices().unwrap().iter().map(of).collect();
        assert_eq!(found, [(0, "0000:02:00.0".to_owned()), (1, "0000:00:00.0".to_owned())]);
    });
}

#[test]
fn a_part_of_a_gpu() {
    with_fake("a_part_of_a_gpu", &[("FAKE_CUDA_MIG", "1")], || {
        let uuid = &devices().unwrap()[0].info().uuid;
        assert_eq!(uuid, "MIG-ff000000-0000-0000-0000-000000000000");
    });
}

#[test]
fn memory() {
    with_fake("memory", &[("FAKE_CUDA_MEMORY", "1000"), ("FAKE_CUDA_USED", "100")], || {
        let device = &devices().unwrap()[0];
        assert_eq!(device.memory().unwrap(), MemoryUse { free: 900, total: 1000 });
        let mut buffer = DeviceBuffer::new(device, 800).unwrap();
        assert_eq!(device.memory().unwrap().free, 100);
        let error = DeviceBuffer::new(device, 101).unwrap_err();
        assert!(error.is_out_of_memory());
        let text = "cuMemAlloc_v2 failed with error 2: CUDA_ERROR_OUT_OF_MEMORY, out of memory";
        assert_eq!(error.to_string(), text);
        buffer.write(10, &[1, 2, 3]).unwrap();
        let mut data = [0; 4];
        buffer.read(9, &mut data).unwrap();
        assert_eq!(data[1..], [1, 2, 3]);
        let start = buffer.address();
        assert_eq!(device.allocation_range(start + 799).unwrap(), (start, 800));
        drop(buffer);
        assert_eq!(device.memory().unwrap().free, 900);
        // SAFETY: the stand-in refuses it, as the driver does.
        let error = unsafe { device.free(start) }.unwrap_err();
        assert_eq!((error.call, error.code), ("cuMemFree_v2", 1));
        let pool = PinnedPool::new(100);
        let mut pinned = pool.allocate(device, 60);
        assert!(pinned.is_pinned() && pinned.as_slice() == [0; 60]);
        pinned.as_mut_slice()[59] = 1;
    });
}

#[test]
fn a_copy_that_leaves_its_allocation() {
    with_fake("a_copy_that_leaves_its_allocation", &[], || {
        let device = &devices().unwrap()[0];
        let (buffer, stream) = (DeviceBuffer::new(device, 8).unwrap(), stream(device));
        let host = PinnedBuffer::new(device, 9).unwrap();
        let copied = copy(&stream, &buffer, &host).unwrap_err();
        assert_eq!((copied.call, copied.code), ("cuMemcpyHtoDAsync_v2", 1));
        // SAFETY: the stand-in refuses it.
        let filled = unsafe { device.fill_zero(buffer.address() + 1, 8, stream.raw()) }.unwrap_err();
        assert_eq!((filled.call, filled.code), ("cuMemsetD8Async", 1));
    });
}

fn stream(device: &Arc<dyn Device>) -> Stream {
    Stream::new(device, StreamPriority::Lowest).unwrap()
}

/// Puts the copy of all of `from` to `to` into `stream`.
fn copy(stream: &Stream, to: &DeviceBuffer, from: &PinnedBuffer) -> Result<(), CudaError> {
    let (to, bytes) = (to.address(), from.byte_size());
    // SAFETY: both outlive what the tests do with the stream.
    unsafe { stream.device().copy_to_device(to, from.as_ptr(), bytes, stream.raw()) }
}

#[test]
fn streams_events_and_graphs() {
    with_fake("streams_events_and_graphs", &[], || {
        let device = &devices().unwrap()[0];
        let (stream, other) = (stream(device), Stream::new(device, StreamPriority::Highest).unwrap());
        let (sleeping, spinning) = (Event::new(device, false).unwrap(), Event::new(device, true).unwrap());
        let mut source = PinnedBuffer::new(device, 4).unwrap();
        let mut back = PinnedBuffer::new(device, 4).unwrap();
        let [middle, target] = [(); 2].map(|()| DeviceBuffer::new(device, 4).unwrap());
        let to = back.as_mut_ptr();
        let graph = stream.capture(|| {
            copy(&stream, &middle, &source)?;
            // SAFETY: the buffers are there.
            unsafe { device.copy_on_device(target.address(), middle.address(), 4, stream.raw()) }?;
            // SAFETY: the buffers are there.
            unsafe { device.fill_zero(target.address(), 1, stream.raw()) }?;
            // SAFETY: the buffers are there.
            unsafe { device.copy_to_host(to, target.address(), 4, stream.raw()) }
        });
        let graph = graph.unwrap();
        for value in [5, 6] {
            source.as_mut_slice().fill(value);
            // SAFETY: the buffers are there.
            unsafe { graph.launch(&stream) }.unwrap();
            sleeping.record(&stream).unwrap();
            other.wait(&sleeping).unwrap();
            spinning.record(&other).unwrap();
            spinning.synchronize().unwrap();
            stream.synchronize().unwrap();
            assert_eq!(back.as_slice(), [0, value, value, value]);
        }
        let waits = stream.capture(|| stream.synchronize()).unwrap_err();
        assert_eq!((waits.call, waits.code), ("cuStreamSynchronize", 900));
        let ignored = stream.capture(|| {
            let _ = DeviceBuffer::new(device, 1);
            Ok::<_, CudaError>(())
        });
        assert_eq!(ignored.unwrap_err().call, "cuStreamEndCapture");
        stream.synchronize().unwrap();
    });
}

#[test]
fn two_gpus_and_many_threads() {
    let environment = [("FAKE_CUDA_DEVICES", "2"), ("FAKE_CUDA_MEMORY", "1000")];
    with_fake("two_gpus_and_many_threads", &environment, || {
        let [first, second] = devices().unwrap() else { panic!("two GPUs") };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        for device in [first, second] {
                            let mut buffer = DeviceBuffer::new(device, 100).unwrap();
                            buffer.write(0, &[1; 100]).unwrap();
                            stream(device).synchronize().unwrap();
                        }
                    }
                });
            }
        });
        let _large = DeviceBuffer::new(first, 1000).unwrap();
        assert!(DeviceBuffer::new(first, 1).unwrap_err().is_out_of_memory());
        DeviceBuffer::new(second, 1000).unwrap();
    });
}

/// Set for the process that owns the memory.
const OWNER: &str = "NEREID_TEST_OWNER";

#[test]
fn memory_of_another_process() {
    with_fake("memory_of_another_process", &[], || {
        if std::env::var_os(OWNER).is_some() {
            return own_memory();
        }
        let device = &devices().unwrap()[0];
        let mut owner = Command::new(std::env::current_exe().unwrap());
        owner.args(["--exact", "driver::memory_of_another_process", "--nocapture"]).env(OWNER, "1");
        let mut owner = owner.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines().map(Result::unwrap);
        let handle = lines.find_map(|line| Some(line.split_once("handle ")?.1.to_owned())).unwrap();
        let handle = unhex(&handle);

        let (first, second) =
            (IpcMemory::open(device, handle).unwrap(), IpcMemory::open(device, handle).unwrap());
        assert_eq!((first.byte_size(), first.address()), (100, second.address()));
        let mut data = [0; 3];
        first.read(97, &mut data).unwrap();
        assert_eq!(data, [7; 3]);
        drop(first);
        second.write(0, &[9; 4]).unwrap();
        drop(owner.stdin.take()); // lets the owner look
        let seen = lines.find_map(|line| Some(line.split_once("seen ")?.1.to_owned())).unwrap();
        assert_eq!(seen, "09090909");
        assert!(owner.wait().unwrap().success());
        drop(second);
        let late = IpcMemory::open(device, handle).unwrap_err();
        assert_eq!((late.call, late.code), ("cuIpcOpenMemHandle_v2", 1));
        let wrong = IpcMemory::open(device, [3; 64]).unwrap_err();
        assert_eq!((wrong.call, wrong.code), ("cuIpcOpenMemHandle_v2", 1));
    });
}

/// Shows the handle of 100 bytes, waits for the end of its input, and shows the first four of them.
#[expect(clippy::print_stdout, reason = "another process reads it")]
fn own_memory() {
    let device = &devices().unwrap()[0];
    let mut buffer = DeviceBuffer::new(device, 100).unwrap();
    buffer.write(0, &[7; 100]).unwrap();
    // SAFETY: it is loaded already.
    let driver = unsafe { libloading::Library::new("libcuda.so.1") }.unwrap();
    type GetHandle = unsafe extern "C" fn(*mut IpcHandle, u64) -> u32;
    // SAFETY: this is its type.
    let get_handle = unsafe { driver.get::<GetHandle>("cuIpcGetMemHandle") }.unwrap();
    let mut handle = [0; 64];
    // SAFETY: there is room for a handle, and the context of this thread is that of the buffer.
    assert_eq!(unsafe { get_handle(&raw mut handle, buffer.address()) }, 0);
    println!("\nhandle {}", hex(&handle));
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    let mut data = [0; 4];
    buffer.read(0, &mut data).unwrap();
    println!("\nseen {}", hex(&data));
    let own = IpcMemory::open(device, handle).unwrap_err();
    assert_eq!((own.call, own.code), ("cuIpcOpenMemHandle_v2", 201), "not in the process that owns it");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> IpcHandle {
    let byte = |at: usize| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap();
    std::array::from_fn(byte)
}
