//! Buffers, streams, events and graphs: what they do, and that nothing of them is left.

use std::sync::Arc;

use nereid_core::ErrorCode;
use nereid_cuda::host::{HostDevice, Live};
use nereid_cuda::{
    CudaError, Device, DeviceBuffer, Event, IpcMemory, PinnedBuffer, PinnedPool, PoolUse, Stream,
    StreamPriority,
};

fn stream(device: &Arc<dyn Device>) -> Stream {
    Stream::new(device, StreamPriority::Highest).unwrap()
}

/// Puts the copy of all of `from` to `to` into `stream`.
#[expect(unsafe_code, reason = "copies are by address")]
fn copy(stream: &Stream, to: &DeviceBuffer, from: &PinnedBuffer) -> Result<(), CudaError> {
    let device = stream.device();
    // SAFETY: both outlive what the tests do with the stream.
    unsafe { device.copy_to_device(to.address(), from.as_ptr(), from.byte_size(), stream.raw()) }
}

fn content(buffer: &DeviceBuffer) -> Vec<u8> {
    let mut data = vec![0; buffer.byte_size()];
    buffer.read(0, &mut data).unwrap();
    data
}

#[test]
fn everything_is_given_back() {
    let host = HostDevice::new(0);
    let device = host.device();
    let (buffer, none) = (DeviceBuffer::new(&device, 100).unwrap(), DeviceBuffer::new(&device, 0).unwrap());
    assert!(buffer.address() % 256 == 0 && none.address() != 0 && none.byte_size() == 0);
    let pinned = PinnedBuffer::new(&device, 8).unwrap();
    let (stream, event) = (stream(&device), Event::new(&device, false).unwrap());
    let graph = stream.capture(|| copy(&stream, &buffer, &pinned)).unwrap();
    let live = Live { allocations: 2, bytes: 101, pinned: 1, streams: 1, events: 1, graphs: 1, opened: 0 };
    assert_eq!(host.live(), live);
    drop((buffer, none, pinned, stream, event, graph));
    assert_eq!(host.live(), Live::default());
}

#[test]
fn memory_that_is_not_there() {
    let host = HostDevice::new(0);
    host.limit_memory(1000);
    let device = host.device();
    let first = DeviceBuffer::new(&device, 600).unwrap();
    let error = DeviceBuffer::new(&device, 401).unwrap_err();
    assert!(error.is_out_of_memory());
    let text = "cuMemAlloc_v2 failed with error 2: CUDA_ERROR_OUT_OF_MEMORY, out of memory";
    assert_eq!(error.to_string(), text);
    assert_eq!(nereid_core::Error::from(error).code(), ErrorCode::Unavailable);
    assert_eq!((device.memory().unwrap().free, device.memory().unwrap().total), (400, 1 << 30));
    drop(first);
    DeviceBuffer::new(&device, 1000).unwrap();
}

#[test]
fn memory_of_another_process() {
    let host = HostDevice::new(0);
    let device = host.device();
    let handle = host.offer(8);
    let [first, second] = [(); 2].map(|()| IpcMemory::open(&device, handle).unwrap());
    assert_eq!((first.byte_size(), first.address(), host.live().opened), (8, second.address(), 2));
    first.write(6, &[1, 2]).unwrap();
    drop(first);
    let mut data = [0; 2];
    second.read(6, &mut data).unwrap();
    assert_eq!(data, [1, 2]);
    drop(second);
    assert_eq!(host.live(), Live::default());
    assert_eq!(IpcMemory::open(&device, [9; 64]).unwrap_err().call, "cuIpcOpenMemHandle_v2");
}

#[test]
fn bytes_in_and_out() {
    let device = HostDevice::new(0).device();
    let mut buffer = DeviceBuffer::new(&device, 4).unwrap();
    assert_ne!(content(&buffer), [0; 4], "memory of a GPU is not cleared");
    buffer.write(0, &[1, 2, 3, 4]).unwrap();
    buffer.write(1, &[9]).unwrap();
    buffer.write(4, &[]).unwrap();
    assert_eq!(content(&buffer), [1, 9, 3, 4]);
}

#[test]
#[should_panic(expected = "2 bytes from byte 3 are not in a buffer of 4 bytes")]
fn bytes_beyond_the_end() {
    let device = HostDevice::new(0).device();
    let _ = DeviceBuffer::new(&device, 4).unwrap().write(3, &[0, 0]);
}

#[test]
#[expect(unsafe_code, reason = "a graph uses memory by its address")]
fn a_graph_repeats_what_was_captured() {
    let device = HostDevice::new(0).device();
    let stream = stream(&device);
    let mut source = PinnedBuffer::new(&device, 2).unwrap();
    let mut target = DeviceBuffer::new(&device, 2).unwrap();
    target.write(0, &[7, 7]).unwrap();
    let graph = stream.capture(|| copy(&stream, &target, &source)).unwrap();
    assert_eq!(content(&target), [7, 7], "a capture runs nothing");
    for value in [1, 2] {
        source.as_mut_slice().fill(value);
        // SAFETY: the buffers are there.
        unsafe { graph.launch(&stream) }.unwrap();
        stream.synchronize().unwrap();
        assert_eq!(content(&target), [value; 2]);
    }
    drop(target);
    // SAFETY: it is the device's to refuse this.
    let error = unsafe { graph.launch(&stream) }.unwrap_err();
    assert!(error.reason.starts_with("CUDA_ERROR_ILLEGAL_ADDRESS"), "{error}");
}

#[test]
fn captures_that_fail() {
    let device = HostDevice::new(0).device();
    let stream = stream(&device);
    let buffer = DeviceBuffer::new(&device, 4).unwrap();
    let (small, large) = (PinnedBuffer::new(&device, 4).unwrap(), PinnedBuffer::new(&device, 5).unwrap());
    let check = |work: &dyn Fn() -> Result<(), CudaError>, expected: &str| {
        let error = stream.capture(work).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    };
    let outside = "cuMemcpyHtoDAsync_v2 failed with error 1: CUDA_ERROR_INVALID_VALUE";
    check(&|| copy(&stream, &buffer, &large), outside);
    check(&|| stream.synchronize(), "cuStreamSynchronize failed with error 900: ");
    let ignored = || {
        let _ = stream.synchronize();
        Ok(())
    };
    check(&ignored, "cuStreamEndCapture failed with error 901: ");
    let allocates = || DeviceBuffer::new(&device, 1).map(drop);
    check(&allocates, "cuMemAlloc_v2 failed with error 900: ");
    let elsewhere = || {
        std::thread::scope(|scope| scope.spawn(allocates).join()).unwrap()?;
        copy(&stream, &buffer, &small)
    };
    stream.capture(elsewhere).unwrap();
    check(&|| stream.capture(|| Ok::<_, CudaError>(())).map(drop), "failed with error 401: ");
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        stream.capture(|| -> Result<(), CudaError> { panic!("in the work") }).map(drop)
    }));
    panics.unwrap_err();
    stream.synchronize().expect("no capture is left open");
}

#[test]
fn a_pool_has_a_limit() {
    let host = HostDevice::new(0);
    let device = host.device();
    let pool = PinnedPool::new(100);
    let (first, second) = (pool.allocate(&device, 60), pool.allocate(&device, 40));
    let mut third = pool.allocate(&device, 1);
    assert_eq!([first.is_pinned(), second.is_pinned(), third.is_pinned()], [true, true, false]);
    assert_eq!((pool.values(), host.live().pinned), (PoolUse { total: 100, used: 100 }, 2));
    third.as_mut_slice()[0] = 5;
    assert_eq!((first.as_slice(), third.as_slice()), (&[0; 60][..], &[5][..]));
    drop(first);
    assert_eq!(pool.values().used, 40);
    assert!(pool.allocate(&device, 60).is_pinned());
}
