//! One GPU through the driver: each call makes its context current, and gives the driver's result.

#![allow(unsafe_code, reason = "the driver is a C library")]

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::fmt;
use std::ptr::{NonNull, null_mut};
use std::sync::Arc;
use std::sync::atomic::{AtomicPtr, Ordering};

use cudarc::driver::sys::{
    CU_MEMHOSTALLOC_PORTABLE, CUcontext, CUctx_st, CUdevice, CUevent, CUevent_flags, CUgraph, CUgraphExec,
    CUipcMem_flags, CUipcMemHandle, CUstream, CUstream_flags, CUstreamCaptureMode,
};
use nereid_core::config::StreamPriority;
use parking_lot::Mutex;

use super::library::Driver;
use super::symbols::Symbols;
use crate::{Device, DeviceInfo, IpcHandle, MemoryUse, RawEvent, RawGraph, RawStream, Result};

/// A GPU. Its primary context, which libraries on top of CUDA's runtime use as well, is retained with the first call and
/// never released.
pub(super) struct Gpu {
    driver: Arc<Driver>,
    device: CUdevice,
    info: DeviceInfo,
    /// Null until it is retained.
    context: AtomicPtr<CUctx_st>,
    retaining: Mutex<()>,
}

/// Calls a function of the driver and checks its result. In an `unsafe` block of its own, with the reason before it.
macro_rules! call {
    ($self:ident, $function:ident($($argument:expr),*)) => {
        $self.driver.check(stringify!($function), ($self.symbols().$function)($($argument),*))
    };
}

impl Gpu {
    pub(super) fn new(driver: Arc<Driver>, device: CUdevice, info: DeviceInfo) -> Self {
        Self { driver, device, info, context: AtomicPtr::new(null_mut()), retaining: Mutex::new(()) }
    }

    fn symbols(&self) -> &Symbols {
        &self.driver.symbols
    }

    /// Makes the context current for this thread, unless it is: others may have made theirs current since.
    fn make_current(&self) -> Result<()> {
        let context = self.context()?;
        let mut current: CUcontext = null_mut();
        // SAFETY: the driver writes an address.
        unsafe { call!(self, cuCtxGetCurrent(&raw mut current)) }?;
        if current == context {
            return Ok(());
        }
        // SAFETY: the context is retained.
        unsafe { call!(self, cuCtxSetCurrent(context)) }
    }

    fn context(&self) -> Result<CUcontext> {
        let context = self.context.load(Ordering::Acquire);
        if !context.is_null() {
            return Ok(context);
        }
        let _one_at_a_time = self.retaining.lock();
        let mut context = self.context.load(Ordering::Acquire);
        if context.is_null() {
            // SAFETY: the device is the driver's, which writes an address.
            unsafe { call!(self, cuDevicePrimaryCtxRetain(&raw mut context, self.device)) }?;
            self.context.store(context, Ordering::Release);
        }
        Ok(context)
    }

    /// The driver's number for a priority: the smaller, the sooner.
    fn priority(&self, priority: StreamPriority) -> Result<c_int> {
        let (mut least, mut greatest) = (0, 0);
        // SAFETY: the driver writes two numbers.
        unsafe { call!(self, cuCtxGetStreamPriorityRange(&raw mut least, &raw mut greatest)) }?;
        Ok(match priority {
            StreamPriority::Default => 0,
            StreamPriority::Highest => greatest,
            StreamPriority::Lowest => least,
        })
    }
}

impl Device for Gpu {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn memory(&self) -> Result<MemoryUse> {
        self.make_current()?;
        let (mut free, mut total) = (0, 0);
        // SAFETY: the driver writes two numbers.
        unsafe { call!(self, cuMemGetInfo_v2(&raw mut free, &raw mut total)) }?;
        Ok(MemoryUse { free: free as u64, total: total as u64 })
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        self.make_current()?;
        let mut address = 0;
        // SAFETY: the driver writes an address.
        unsafe { call!(self, cuMemAlloc_v2(&raw mut address, bytes)) }?;
        Ok(address)
    }

    unsafe fn free(&self, address: u64) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller gives it up.
        unsafe { call!(self, cuMemFree_v2(address)) }
    }

    fn allocate_pinned(&self, bytes: usize) -> Result<NonNull<u8>> {
        self.make_current()?;
        let mut memory = null_mut();
        // SAFETY: the driver writes an address.
        unsafe { call!(self, cuMemHostAlloc(&raw mut memory, bytes, CU_MEMHOSTALLOC_PORTABLE)) }?;
        let broken = "a result of cuMemHostAlloc is never null, as the driver's documentation says";
        Ok(NonNull::new(memory.cast()).expect(broken))
    }

    unsafe fn free_pinned(&self, memory: NonNull<u8>) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller gives it up.
        unsafe { call!(self, cuMemFreeHost(memory.as_ptr().cast())) }
    }

    fn create_stream(&self, priority: StreamPriority) -> Result<RawStream> {
        self.make_current()?;
        let priority = self.priority(priority)?;
        let flags = CUstream_flags::CU_STREAM_NON_BLOCKING as c_uint;
        let mut stream: CUstream = null_mut();
        // SAFETY: the driver writes an address.
        unsafe { call!(self, cuStreamCreateWithPriority(&raw mut stream, flags, priority)) }?;
        Ok(RawStream(stream as u64))
    }

    unsafe fn destroy_stream(&self, stream: RawStream) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller gives it up.
        unsafe { call!(self, cuStreamDestroy_v2(stream.pointer())) }
    }

    unsafe fn synchronize(&self, stream: RawStream) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller has the stream.
        unsafe { call!(self, cuStreamSynchronize(stream.pointer())) }
    }

    unsafe fn copy_to_device(&self, to: u64, from: *const u8, bytes: usize, stream: RawStream) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller answers for both.
        unsafe { call!(self, cuMemcpyHtoDAsync_v2(to, from.cast(), bytes, stream.pointer())) }
    }

    unsafe fn copy_to_host(&self, to: *mut u8, from: u64, bytes: usize, stream: RawStream) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller answers for both.
        unsafe { call!(self, cuMemcpyDtoHAsync_v2(to.cast(), from, bytes, stream.pointer())) }
    }

    unsafe fn copy_on_device(&self, to: u64, from: u64, bytes: usize, stream: RawStream) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller answers for both.
        unsafe { call!(self, cuMemcpyDtoDAsync_v2(to, from, bytes, stream.pointer())) }
    }

    unsafe fn fill_zero(&self, to: u64, bytes: usize, stream: RawStream) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller answers for the memory.
        unsafe { call!(self, cuMemsetD8Async(to, 0, bytes, stream.pointer())) }
    }

    unsafe fn write(&self, to: u64, from: &[u8]) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller answers for the memory on the GPU.
        unsafe { call!(self, cuMemcpyHtoD_v2(to, from.as_ptr().cast(), from.len())) }?;
        // From pageable memory, a copy may still be under way when the driver has read all of it.
        // SAFETY: the default stream is always there.
        unsafe { call!(self, cuStreamSynchronize(null_mut())) }
    }

    unsafe fn read(&self, to: &mut [u8], from: u64) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller answers for the memory on the GPU.
        unsafe { call!(self, cuMemcpyDtoH_v2(to.as_mut_ptr().cast::<c_void>(), from, to.len())) }
    }

    fn create_event(&self, busy_wait: bool) -> Result<RawEvent> {
        self.make_current()?;
        let sleeping = if busy_wait { 0 } else { CUevent_flags::CU_EVENT_BLOCKING_SYNC as c_uint };
        let flags = CUevent_flags::CU_EVENT_DISABLE_TIMING as c_uint | sleeping;
        let mut event: CUevent = null_mut();
        // SAFETY: the driver writes an address.
        unsafe { call!(self, cuEventCreate(&raw mut event, flags)) }?;
        Ok(RawEvent(event as u64))
    }

    unsafe fn destroy_event(&self, event: RawEvent) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller gives it up.
        unsafe { call!(self, cuEventDestroy_v2(event.pointer())) }
    }

    unsafe fn record_event(&self, event: RawEvent, stream: RawStream) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller has both.
        unsafe { call!(self, cuEventRecord(event.pointer(), stream.pointer())) }
    }

    unsafe fn wait_event(&self, stream: RawStream, event: RawEvent) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller has both.
        unsafe { call!(self, cuStreamWaitEvent(stream.pointer(), event.pointer(), 0)) }
    }

    unsafe fn synchronize_event(&self, event: RawEvent) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller has the event.
        unsafe { call!(self, cuEventSynchronize(event.pointer())) }
    }

    unsafe fn begin_capture(&self, stream: RawStream) -> Result<()> {
        self.make_current()?;
        // What this thread must not do fails then, and other threads are not concerned.
        let mode = CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL as c_uint;
        // SAFETY: the caller has the stream.
        unsafe { call!(self, cuStreamBeginCapture_v2(stream.pointer(), mode)) }
    }

    unsafe fn end_capture(&self, stream: RawStream) -> Result<RawGraph> {
        self.make_current()?;
        let mut graph: CUgraph = null_mut();
        // SAFETY: the caller has the stream, and the driver writes an address.
        unsafe { call!(self, cuStreamEndCapture(stream.pointer(), &raw mut graph)) }?;
        let mut executable: CUgraphExec = null_mut();
        // SAFETY: the graph was made just now, and the driver writes an address.
        let instantiated = unsafe { call!(self, cuGraphInstantiateWithFlags(&raw mut executable, graph, 0)) };
        // SAFETY: the graph was made just now; what was made of it does not need it.
        let destroyed = unsafe { call!(self, cuGraphDestroy(graph)) };
        instantiated?;
        destroyed?;
        Ok(RawGraph(executable as u64))
    }

    unsafe fn launch(&self, graph: RawGraph, stream: RawStream) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller has both, and answers for the memory.
        unsafe { call!(self, cuGraphLaunch(graph.0 as CUgraphExec, stream.pointer())) }
    }

    unsafe fn destroy_graph(&self, graph: RawGraph) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller gives it up.
        unsafe { call!(self, cuGraphExecDestroy(graph.0 as CUgraphExec)) }
    }

    fn open_ipc(&self, handle: IpcHandle) -> Result<u64> {
        self.make_current()?;
        let handle = CUipcMemHandle { reserved: handle.map(|byte| byte as c_char) };
        let flags = CUipcMem_flags::CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS as c_uint;
        let mut address = 0;
        // SAFETY: the driver checks the handle, whose bytes may be any, and writes an address.
        unsafe { call!(self, cuIpcOpenMemHandle_v2(&raw mut address, handle, flags)) }?;
        Ok(address)
    }

    unsafe fn close_ipc(&self, address: u64) -> Result<()> {
        self.make_current()?;
        // SAFETY: the caller gives it up.
        unsafe { call!(self, cuIpcCloseMemHandle(address)) }
    }

    fn allocation_range(&self, address: u64) -> Result<(u64, u64)> {
        self.make_current()?;
        let (mut start, mut size) = (0, 0);
        // SAFETY: the driver checks the address, and writes two numbers.
        unsafe { call!(self, cuMemGetAddressRange_v2(&raw mut start, &raw mut size, address)) }?;
        Ok((start, size as u64))
    }
}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gpu").field("info", &self.info).finish_non_exhaustive()
    }
}

impl RawStream {
    fn pointer(self) -> CUstream {
        self.0 as CUstream
    }
}

impl RawEvent {
    fn pointer(self) -> CUevent {
        self.0 as CUevent
    }
}
