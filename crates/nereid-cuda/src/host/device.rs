//! The GPU in host memory itself: the calls, and what a driver would refuse.

#![allow(unsafe_code, reason = "addresses are host addresses here, and copied from and to")]

use std::collections::{BTreeMap, BTreeSet};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use nereid_core::config::StreamPriority;
use parking_lot::Mutex;

use super::memory::Allocations;
use super::streams::{HostStream, Node};
use crate::{CudaError, Device, DeviceInfo, IpcHandle, MemoryUse, RawEvent, RawGraph, RawStream, Result};

const INVALID_VALUE: u32 = 1;
const OUT_OF_MEMORY: u32 = 2;
const INVALID_HANDLE: u32 = 400;
const ILLEGAL_ADDRESS: u32 = 700;
const CAPTURE_UNSUPPORTED: u32 = 900;
const CAPTURE_INVALIDATED: u32 = 901;
const ILLEGAL_STATE: u32 = 401;

/// A GPU in host memory. Device addresses are host addresses; what is put into a stream runs at once, unless it is captured.
/// Memory is not 0 at first. It refuses what leaves an allocation and what is not there, with the driver's codes.
#[derive(Debug)]
pub struct HostDevice {
    info: DeviceInfo,
    state: Arc<Mutex<State>>,
    copies: Mutex<Copies>,
    /// Of graphs, so far.
    launches: AtomicUsize,
    /// Every stream has failed for good.
    is_broken: AtomicBool,
}

/// Copies on streams so far, those of launched graphs not counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copies {
    pub to_device: usize,
    pub to_host: usize,
    pub on_device: usize,
}

/// What there is and was not freed or destroyed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Live {
    pub allocations: usize,
    /// Of the allocations.
    pub bytes: u64,
    pub pinned: usize,
    pub streams: usize,
    pub events: usize,
    pub graphs: usize,
    /// Handles of other processes that are open.
    pub opened: usize,
}

#[derive(Debug)]
struct State {
    /// Most bytes of allocations.
    limit: u64,
    /// Any address may be device memory.
    trusts: bool,
    memory: Allocations,
    pinned: Allocations,
    streams: BTreeMap<u64, Arc<HostStream>>,
    events: BTreeSet<u64>,
    graphs: BTreeMap<u64, Arc<Mutex<Vec<Node>>>>,
    /// What other processes offer, and what is open of it.
    offered: Allocations,
    opened: Vec<u64>,
    /// Of the next event or graph.
    next: u64,
}

impl HostDevice {
    /// The GPU of this number, of compute capability 9.0, with 1 GiB of memory.
    pub fn new(ordinal: i32) -> Arc<Self> {
        Self::with_info(DeviceInfo {
            ordinal,
            name: "Host GPU".to_owned(),
            uuid: format!("GPU-00000000-0000-0000-0000-{ordinal:012x}"),
            compute_capability: (9, 0),
            total_memory: 1 << 30,
            pci_bus_id: format!("0000:{ordinal:02x}:00.0"),
        })
    }

    pub fn with_info(info: DeviceInfo) -> Arc<Self> {
        let state = State {
            limit: info.total_memory,
            trusts: false,
            memory: Allocations::default(),
            pinned: Allocations::default(),
            streams: BTreeMap::new(),
            events: BTreeSet::new(),
            graphs: BTreeMap::new(),
            offered: Allocations::default(),
            opened: Vec::new(),
            next: 0x1000,
        };
        Arc::new(Self {
            info,
            state: Arc::new(Mutex::new(state)),
            copies: Mutex::default(),
            launches: AtomicUsize::new(0),
            is_broken: AtomicBool::new(false),
        })
    }

    /// Itself, as the rest of the program knows it.
    pub fn device(self: &Arc<Self>) -> Arc<dyn Device> {
        self.clone()
    }

    /// From now on, an allocation fails with which there would be more than `bytes` of them.
    pub fn limit_memory(&self, bytes: u64) {
        self.state.lock().limit = bytes;
    }

    /// From now on, copies may also be from and to memory that others have allocated, as long as it is the host's: a library
    /// does so that has an allocator of its own.
    pub fn trust_addresses(&self) {
        self.state.lock().trusts = true;
    }

    /// The handle of `bytes` bytes on this GPU that belong to another process, as it were.
    pub fn offer(&self, bytes: usize) -> IpcHandle {
        let start = self.state.lock().offered.add(bytes).unwrap_or(0);
        let mut handle = [0; 64];
        handle[..8].copy_from_slice(&start.to_le_bytes());
        handle
    }

    pub fn live(&self) -> Live {
        let state = self.state.lock();
        Live {
            allocations: state.memory.count(),
            bytes: state.memory.bytes(),
            pinned: state.pinned.count(),
            streams: state.streams.len(),
            events: state.events.len(),
            graphs: state.graphs.len(),
            opened: state.opened.len(),
        }
    }

    /// Launches of graphs so far.
    pub fn launches(&self) -> usize {
        self.launches.load(Ordering::Relaxed)
    }

    /// From now on, whatever uses a stream or an event learns that a kernel has used an illegal address, as it does of a GPU on
    /// which one has.
    pub fn break_down(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
    }

    /// The number of copies so far, which begins at 0 again.
    pub fn take_copies(&self) -> Copies {
        std::mem::take(&mut self.copies.lock())
    }

    fn stream(&self, call: &'static str, stream: RawStream) -> Result<Option<Arc<HostStream>>> {
        check(call, !self.is_broken.load(Ordering::Relaxed), ILLEGAL_ADDRESS)?;
        if stream.0 == 0 {
            return Ok(None); // the default stream
        }
        let found = self.state.lock().streams.get(&stream.0).cloned();
        found.map(Some).ok_or_else(|| error(call, INVALID_HANDLE))
    }

    fn event(&self, call: &'static str, event: RawEvent) -> Result<()> {
        check(call, !self.is_broken.load(Ordering::Relaxed), ILLEGAL_ADDRESS)?;
        check(call, self.state.lock().events.contains(&event.0), INVALID_HANDLE)
    }

    /// Checks the device memory now, as the driver does, and again when it runs.
    fn put(
        &self,
        call: &'static str,
        stream: RawStream,
        memory: &[(u64, usize)],
        step: impl Fn() + Send + 'static,
    ) -> Result<()> {
        let stream = self.stream(call, stream)?;
        check(call, self.state.lock().have(memory), INVALID_VALUE)?;
        let (state, memory) = (self.state.clone(), memory.to_vec());
        let node = Node::new(move || {
            if !state.lock().have(&memory) {
                return ILLEGAL_ADDRESS;
            }
            step();
            0
        });
        result(
            call,
            match stream {
                Some(stream) => stream.put(node),
                None => node.run(),
            },
        )
    }
}

impl State {
    fn have(&self, memory: &[(u64, usize)]) -> bool {
        let is_open = |address| self.opened.iter().any(|start| self.offered.is_around(*start, address));
        let has = |(address, bytes): &(u64, usize)| {
            self.memory.have(*address, *bytes) || self.offered.have(*address, *bytes) && is_open(*address)
        };
        self.trusts || memory.iter().all(has)
    }

    /// A thread that captures must not allocate, free or wait.
    fn not_capturing(&self, call: &'static str) -> Result<()> {
        let broken = self.streams.values().filter(|stream| stream.breaks_capture_of_thread()).count();
        check(call, broken == 0, CAPTURE_UNSUPPORTED)
    }

    fn number(&mut self) -> u64 {
        self.next += 0x10;
        self.next
    }
}

impl Device for HostDevice {
    fn info(&self) -> &DeviceInfo {
        &self.info
    }

    fn memory(&self) -> Result<MemoryUse> {
        let state = self.state.lock();
        Ok(MemoryUse {
            free: state.limit.saturating_sub(state.memory.bytes()),
            total: self.info.total_memory,
        })
    }

    fn allocate(&self, bytes: usize) -> Result<u64> {
        const CALL: &str = "cuMemAlloc_v2";
        let mut state = self.state.lock();
        state.not_capturing(CALL)?;
        check(CALL, bytes > 0, INVALID_VALUE)?;
        let after = state.memory.bytes().saturating_add(bytes as u64);
        check(CALL, after <= state.limit, OUT_OF_MEMORY)?;
        state.memory.add(bytes).ok_or_else(|| error(CALL, OUT_OF_MEMORY))
    }

    unsafe fn free(&self, address: u64) -> Result<()> {
        const CALL: &str = "cuMemFree_v2";
        let mut state = self.state.lock();
        state.not_capturing(CALL)?;
        check(CALL, state.memory.remove(address), INVALID_VALUE)
    }

    fn allocate_pinned(&self, bytes: usize) -> Result<NonNull<u8>> {
        const CALL: &str = "cuMemHostAlloc";
        let mut state = self.state.lock();
        state.not_capturing(CALL)?;
        let start = state.pinned.add(bytes);
        start.and_then(|start| NonNull::new(start as *mut u8)).ok_or_else(|| error(CALL, OUT_OF_MEMORY))
    }

    unsafe fn free_pinned(&self, memory: NonNull<u8>) -> Result<()> {
        const CALL: &str = "cuMemFreeHost";
        let mut state = self.state.lock();
        state.not_capturing(CALL)?;
        check(CALL, state.pinned.remove(memory.as_ptr() as u64), INVALID_VALUE)
    }

    fn create_stream(&self, _: StreamPriority) -> Result<RawStream> {
        let stream = Arc::new(HostStream::new());
        let address = Arc::as_ptr(&stream) as u64;
        self.state.lock().streams.insert(address, stream);
        Ok(RawStream(address))
    }

    unsafe fn destroy_stream(&self, stream: RawStream) -> Result<()> {
        let removed = self.state.lock().streams.remove(&stream.0);
        check("cuStreamDestroy_v2", removed.is_some(), INVALID_HANDLE)
    }

    unsafe fn synchronize(&self, stream: RawStream) -> Result<()> {
        const CALL: &str = "cuStreamSynchronize";
        let breaks = self.stream(CALL, stream)?.is_some_and(|stream| stream.breaks_capture());
        check(CALL, !breaks, CAPTURE_UNSUPPORTED)
    }

    unsafe fn copy_to_device(&self, to: u64, from: *const u8, bytes: usize, stream: RawStream) -> Result<()> {
        self.copies.lock().to_device += 1;
        let from = from as u64;
        self.put("cuMemcpyHtoDAsync_v2", stream, &[(to, bytes)], move || copy(to, from, bytes))
    }

    unsafe fn copy_to_host(&self, to: *mut u8, from: u64, bytes: usize, stream: RawStream) -> Result<()> {
        self.copies.lock().to_host += 1;
        let to = to as u64;
        self.put("cuMemcpyDtoHAsync_v2", stream, &[(from, bytes)], move || copy(to, from, bytes))
    }

    unsafe fn copy_on_device(&self, to: u64, from: u64, bytes: usize, stream: RawStream) -> Result<()> {
        self.copies.lock().on_device += 1;
        let memory = [(to, bytes), (from, bytes)];
        self.put("cuMemcpyDtoDAsync_v2", stream, &memory, move || copy(to, from, bytes))
    }

    unsafe fn fill_zero(&self, to: u64, bytes: usize, stream: RawStream) -> Result<()> {
        self.put("cuMemsetD8Async", stream, &[(to, bytes)], move || {
            // SAFETY: the bytes were found in an allocation just now.
            unsafe { (to as *mut u8).write_bytes(0, bytes) };
        })
    }

    unsafe fn write(&self, to: u64, from: &[u8]) -> Result<()> {
        check("cuMemcpyHtoD_v2", self.state.lock().have(&[(to, from.len())]), INVALID_VALUE)?;
        copy(to, from.as_ptr() as u64, from.len());
        Ok(())
    }

    unsafe fn read(&self, to: &mut [u8], from: u64) -> Result<()> {
        check("cuMemcpyDtoH_v2", self.state.lock().have(&[(from, to.len())]), INVALID_VALUE)?;
        copy(to.as_mut_ptr() as u64, from, to.len());
        Ok(())
    }

    fn create_event(&self, _: bool) -> Result<RawEvent> {
        let mut state = self.state.lock();
        let event = state.number();
        state.events.insert(event);
        Ok(RawEvent(event))
    }

    unsafe fn destroy_event(&self, event: RawEvent) -> Result<()> {
        check("cuEventDestroy_v2", self.state.lock().events.remove(&event.0), INVALID_HANDLE)
    }

    unsafe fn record_event(&self, event: RawEvent, stream: RawStream) -> Result<()> {
        const CALL: &str = "cuEventRecord";
        self.event(CALL, event)?;
        self.stream(CALL, stream).map(drop)
    }

    unsafe fn wait_event(&self, stream: RawStream, _: RawEvent) -> Result<()> {
        self.stream("cuStreamWaitEvent", stream).map(drop) // whatever it waits for has happened
    }

    unsafe fn synchronize_event(&self, event: RawEvent) -> Result<()> {
        const CALL: &str = "cuEventSynchronize";
        self.state.lock().not_capturing(CALL)?;
        self.event(CALL, event)
    }

    unsafe fn begin_capture(&self, stream: RawStream) -> Result<()> {
        const CALL: &str = "cuStreamBeginCapture_v2";
        let stream = self.stream(CALL, stream)?.ok_or_else(|| error(CALL, CAPTURE_UNSUPPORTED))?;
        check(CALL, stream.begin(), ILLEGAL_STATE)
    }

    unsafe fn end_capture(&self, stream: RawStream) -> Result<RawGraph> {
        const CALL: &str = "cuStreamEndCapture";
        let stream = self.stream(CALL, stream)?.ok_or_else(|| error(CALL, ILLEGAL_STATE))?;
        let capture = stream.end().ok_or_else(|| error(CALL, ILLEGAL_STATE))?;
        check(CALL, !capture.is_broken, CAPTURE_INVALIDATED)?;
        let mut state = self.state.lock();
        let graph = state.number();
        state.graphs.insert(graph, Arc::new(Mutex::new(capture.nodes)));
        Ok(RawGraph(graph))
    }

    unsafe fn launch(&self, graph: RawGraph, stream: RawStream) -> Result<()> {
        const CALL: &str = "cuGraphLaunch";
        let stream = self.stream(CALL, stream)?;
        let nodes = self.state.lock().graphs.get(&graph.0).cloned();
        let nodes = nodes.ok_or_else(|| error(CALL, INVALID_HANDLE))?;
        let captures = stream.is_some_and(|stream| stream.is_capturing());
        check(CALL, !captures, CAPTURE_UNSUPPORTED)?; // the driver would make a child of it
        self.launches.fetch_add(1, Ordering::Relaxed);
        let failed = nodes.lock().iter().map(Node::run).find(|code| *code != 0);
        result(CALL, failed.unwrap_or(0))
    }

    unsafe fn destroy_graph(&self, graph: RawGraph) -> Result<()> {
        let removed = self.state.lock().graphs.remove(&graph.0);
        check("cuGraphExecDestroy", removed.is_some(), INVALID_HANDLE)
    }

    fn open_ipc(&self, handle: IpcHandle) -> Result<u64> {
        let start = handle.first_chunk().map_or(0, |start| u64::from_le_bytes(*start));
        let mut state = self.state.lock();
        check("cuIpcOpenMemHandle_v2", state.offered.is_around(start, start), INVALID_VALUE)?;
        state.opened.push(start);
        Ok(start)
    }

    unsafe fn close_ipc(&self, address: u64) -> Result<()> {
        let opened = &mut self.state.lock().opened;
        let at = opened.iter().position(|start| *start == address);
        opened.swap_remove(at.ok_or_else(|| error("cuIpcCloseMemHandle", INVALID_VALUE))?);
        Ok(())
    }

    fn allocation_range(&self, address: u64) -> Result<(u64, u64)> {
        let state = self.state.lock();
        let range = state.memory.around(address).or_else(|| state.offered.around(address));
        range.ok_or_else(|| error("cuMemGetAddressRange_v2", INVALID_VALUE))
    }
}

/// Copies also within one allocation, whatever overlaps.
fn copy(to: u64, from: u64, bytes: usize) {
    // SAFETY: device memory was found just now, and the caller of the device answers for host memory.
    unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
}

fn check(call: &'static str, holds: bool, code: u32) -> Result<()> {
    if holds { Ok(()) } else { Err(error(call, code)) }
}

fn result(call: &'static str, code: u32) -> Result<()> {
    check(call, code == 0, code)
}

fn error(call: &'static str, code: u32) -> CudaError {
    let reason = match code {
        INVALID_VALUE => "CUDA_ERROR_INVALID_VALUE, invalid argument",
        OUT_OF_MEMORY => "CUDA_ERROR_OUT_OF_MEMORY, out of memory",
        INVALID_HANDLE => "CUDA_ERROR_INVALID_HANDLE, invalid resource handle",
        ILLEGAL_STATE => "CUDA_ERROR_ILLEGAL_STATE, the operation cannot be performed in the present state",
        ILLEGAL_ADDRESS => "CUDA_ERROR_ILLEGAL_ADDRESS, an illegal memory access was encountered",
        CAPTURE_UNSUPPORTED => {
            "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, operation not permitted when stream is capturing"
        }
        CAPTURE_INVALIDATED => {
            "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, operation failed due to a previous error during capture"
        }
        _ => "CUDA_ERROR_UNKNOWN, unknown error",
    };
    CudaError { call, code, reason: reason.to_owned() }
}
