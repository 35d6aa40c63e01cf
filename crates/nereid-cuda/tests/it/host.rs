//! The GPU in host memory: what it refuses, and what a stand-in for a library can put into its streams.

#![allow(unsafe_code, reason = "a stand-in works with addresses")]

use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nereid_cuda::host::{HostDevice, HostStream};
use nereid_cuda::{CudaError, RawEvent, RawGraph, RawStream, Stream, StreamPriority};

#[test]
fn what_is_not_there() {
    let device = HostDevice::new(0).device();
    let check = |result: Result<(), CudaError>, call: &str, code: u32| {
        let error = result.unwrap_err();
        assert_eq!((error.call, error.code), (call, code));
    };
    let nothing = NonNull::from(&mut 0_u8);
    // SAFETY: the device knows none of these, and says so.
    check(unsafe { device.free(8) }, "cuMemFree_v2", 1);
    // SAFETY: as above.
    check(unsafe { device.free_pinned(nothing) }, "cuMemFreeHost", 1);
    // SAFETY: as above.
    check(unsafe { device.destroy_stream(RawStream(8)) }, "cuStreamDestroy_v2", 400);
    // SAFETY: as above.
    check(unsafe { device.synchronize(RawStream(8)) }, "cuStreamSynchronize", 400);
    // SAFETY: as above.
    check(unsafe { device.destroy_event(RawEvent(8)) }, "cuEventDestroy_v2", 400);
    // SAFETY: as above.
    check(unsafe { device.launch(RawGraph(8), RawStream(0)) }, "cuGraphLaunch", 400);
    check(device.allocate(0).map(drop), "cuMemAlloc_v2", 1);
    check(device.allocation_range(8).map(drop), "cuMemGetAddressRange_v2", 1);
    check(device.open_ipc([7; 64]).map(drop), "cuIpcOpenMemHandle_v2", 1);
}

#[test]
fn ranges() {
    let device = HostDevice::new(0).device();
    let start = device.allocate(100).unwrap();
    for address in [start, start + 99] {
        assert_eq!(device.allocation_range(address).unwrap(), (start, 100));
    }
    device.allocation_range(start + 100).unwrap_err();
}

/// Counts in `data` how often it ran, and in hundreds how often it was dropped.
unsafe extern "C" fn count(data: *mut c_void) {
    // SAFETY: it is the counter of the test.
    unsafe { &*data.cast::<AtomicUsize>() }.fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn count_drop(data: *mut c_void) {
    // SAFETY: it is the counter of the test.
    unsafe { &*data.cast::<AtomicUsize>() }.fetch_add(100, Ordering::Relaxed);
}

#[test]
fn a_stand_in_puts_work_into_streams() {
    let device = HostDevice::new(0).device();
    let stream = Stream::new(&device, StreamPriority::Default).unwrap();
    let counter = Arc::new(AtomicUsize::new(0));
    let put = || {
        let address = stream.raw().0 as *const HostStream;
        // SAFETY: the stream is there.
        let launch = unsafe { (*address).launch };
        // SAFETY: the stream and the counter are there.
        unsafe { launch(address, count, Arc::as_ptr(&counter).cast_mut().cast(), count_drop) };
        Ok::<_, CudaError>(())
    };
    put().unwrap();
    assert_eq!(counter.load(Ordering::Relaxed), 101);
    let graph = stream.capture(put).unwrap();
    assert_eq!(counter.load(Ordering::Relaxed), 101);
    // SAFETY: the counter is there.
    unsafe { graph.launch(&stream) }.unwrap();
    // SAFETY: the counter is there.
    unsafe { graph.launch(&stream) }.unwrap();
    drop(graph);
    assert_eq!(counter.load(Ordering::Relaxed), 203);
}
