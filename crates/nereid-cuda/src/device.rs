//! The face of one GPU: what the driver offers of it, by addresses. What owns something on it is in the other files.

#![allow(unsafe_code, reason = "addresses and handles are the driver's, and the caller answers for them")]

use std::fmt::Debug;
use std::ptr::NonNull;

use nereid_core::config::StreamPriority;

use crate::Result;

/// The driver's address of a stream (`CUstream`); 0 is the default stream of the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawStream(pub u64);

/// The driver's address of an event (`CUevent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawEvent(pub u64);

/// The driver's address of a graph that can be launched (`CUgraphExec`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawGraph(pub u64);

/// Names an allocation of another process (`CUipcMemHandle`).
pub type IpcHandle = [u8; 64];

/// What does not change about a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// Its number, from 0, among the GPUs that the driver shows to this process (`CUDA_VISIBLE_DEVICES`).
    pub ordinal: i32,
    /// Such as `NVIDIA H100 80GB HBM3`.
    pub name: String,
    /// `GPU-…`, or `MIG-…` for a part of a GPU, as the management library spells it.
    pub uuid: String,
    /// Major and minor number.
    pub compute_capability: (u32, u32),
    /// Bytes.
    pub total_memory: u64,
    /// `domain:bus:device.function`
    pub pci_bus_id: String,
}

impl DeviceInfo {
    /// Whether its compute capability is at least `least`, such as 7.5: as Triton compares them (`cuda_utils.cc`).
    pub fn suffices(&self, least: f64) -> bool {
        let (major, minor) = self.compute_capability;
        let capability = f64::from(major) + f64::from(minor) / 10.0;
        capability > least || (capability - least).abs() < 0.01
    }
}

/// Memory of a GPU, in bytes, whoever uses it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MemoryUse {
    pub free: u64,
    pub total: u64,
}

/// One GPU. Any thread may call, and every call makes the GPU current for it.
///
/// Addresses are the driver's. Sizes are in bytes, and none is 0.
pub trait Device: Debug + Send + Sync {
    fn info(&self) -> &DeviceInfo;

    fn memory(&self) -> Result<MemoryUse>;

    /// Memory on the GPU, aligned to 256 bytes, with anything in it.
    ///
    /// # Errors
    /// [`crate::CudaError::is_out_of_memory`] when there is none left, here as everywhere; other errors of the driver.
    fn allocate(&self, bytes: usize) -> Result<u64>;

    /// # Safety
    /// `address` is from [`Self::allocate`] of this device and is not used any more.
    unsafe fn free(&self, address: u64) -> Result<()>;

    /// Page-locked memory of the host, which every GPU reads and writes directly.
    fn allocate_pinned(&self, bytes: usize) -> Result<NonNull<u8>>;

    /// # Safety
    /// `memory` is from [`Self::allocate_pinned`] of this device and is not used any more.
    unsafe fn free_pinned(&self, memory: NonNull<u8>) -> Result<()>;

    /// A stream that does not wait for the default stream.
    fn create_stream(&self, priority: StreamPriority) -> Result<RawStream>;

    /// What is in the stream still runs to its end.
    ///
    /// # Safety
    /// `stream` is from [`Self::create_stream`] of this device and is not used any more.
    unsafe fn destroy_stream(&self, stream: RawStream) -> Result<()>;

    /// Waits until everything in the stream has ended, and gives the error of what failed there.
    ///
    /// # Safety
    /// `stream` is a stream of this device.
    unsafe fn synchronize(&self, stream: RawStream) -> Result<()>;

    /// # Safety
    /// `stream` is a stream of this device; the bytes at `from` are there, and those at `to` are nobody else's, until the
    /// copy has ended, and whenever a graph repeats it.
    unsafe fn copy_to_device(&self, to: u64, from: *const u8, bytes: usize, stream: RawStream) -> Result<()>;

    /// # Safety
    /// As for [`Self::copy_to_device`].
    unsafe fn copy_to_host(&self, to: *mut u8, from: u64, bytes: usize, stream: RawStream) -> Result<()>;

    /// # Safety
    /// As for [`Self::copy_to_device`].
    unsafe fn copy_on_device(&self, to: u64, from: u64, bytes: usize, stream: RawStream) -> Result<()>;

    /// # Safety
    /// As for [`Self::copy_to_device`].
    unsafe fn fill_zero(&self, to: u64, bytes: usize, stream: RawStream) -> Result<()>;

    /// Copies to `to` and waits for the end of the copy, but not for any stream.
    ///
    /// # Safety
    /// The bytes at `to` are nobody else's meanwhile.
    unsafe fn write(&self, to: u64, from: &[u8]) -> Result<()>;

    /// Copies from `from` and waits for the end of the copy, but not for any stream.
    ///
    /// # Safety
    /// Nobody writes the bytes at `from` meanwhile.
    unsafe fn read(&self, to: &mut [u8], from: u64) -> Result<()>;

    /// An event without a time stamp. Who waits for it spins when `busy_wait`, and sleeps otherwise.
    fn create_event(&self, busy_wait: bool) -> Result<RawEvent>;

    /// # Safety
    /// `event` is from [`Self::create_event`] of this device and is not used any more.
    unsafe fn destroy_event(&self, event: RawEvent) -> Result<()>;

    /// The event happens when what is in the stream now has ended.
    ///
    /// # Safety
    /// Both are of this device.
    unsafe fn record_event(&self, event: RawEvent, stream: RawStream) -> Result<()>;

    /// What is put into the stream from now on waits for the event.
    ///
    /// # Safety
    /// Both are there; the event may be of another device.
    unsafe fn wait_event(&self, stream: RawStream, event: RawEvent) -> Result<()>;

    /// Waits until the event, as recorded last, has happened.
    ///
    /// # Safety
    /// `event` is of this device.
    unsafe fn synchronize_event(&self, event: RawEvent) -> Result<()>;

    /// From now on, what is put into the stream is recorded, not run. Other threads may do meanwhile what they like; this
    /// one may not allocate, free or wait for the stream.
    ///
    /// # Safety
    /// `stream` is from [`Self::create_stream`] of this device, and the same thread ends the capture.
    unsafe fn begin_capture(&self, stream: RawStream) -> Result<()>;

    /// What was recorded, ready to be launched. The capture has ended also when this fails.
    ///
    /// # Safety
    /// As for [`Self::begin_capture`].
    unsafe fn end_capture(&self, stream: RawStream) -> Result<RawGraph>;

    /// Puts everything in the graph into the stream.
    ///
    /// # Safety
    /// Both are of this device, and everything that the graph reads and writes is there, until the graph has ended.
    unsafe fn launch(&self, graph: RawGraph, stream: RawStream) -> Result<()>;

    /// # Safety
    /// `graph` is from [`Self::end_capture`] of this device and is not used any more.
    unsafe fn destroy_graph(&self, graph: RawGraph) -> Result<()>;

    /// The address here of an allocation of another process.
    fn open_ipc(&self, handle: IpcHandle) -> Result<u64>;

    /// # Safety
    /// `address` is from [`Self::open_ipc`] of this device and is not used any more.
    unsafe fn close_ipc(&self, address: u64) -> Result<()>;

    /// Start and size of the allocation that `address` is in.
    fn allocation_range(&self, address: u64) -> Result<(u64, u64)>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compute_capabilities() {
        for (capability, least, expected) in [
            ((7, 5), 7.5, true),
            ((7, 0), 7.5, false),
            ((8, 0), 7.5, true),
            ((12, 1), 12.1, true),
            ((7, 5), 7.505, true),
            ((0, 0), 0.0, true),
        ] {
            let info = DeviceInfo {
                ordinal: 0,
                name: String::new(),
                uuid: String::new(),
                compute_capability: capability,
                total_memory: 0,
                pci_bus_id: String::new(),
            };
            assert_eq!(info.suffices(least), expected, "{capability:?} {least}");
        }
    }
}
