//! A region through the CUDA driver, which is loaded when the first region is registered.
//!
//! The handle stays open as long as the region, and bytes are copied with the driver's synchronous calls. As with
//! Triton, an owner that frees the allocation before it unregisters the region breaks CUDA's rules.

#![allow(unsafe_code, reason = "the CUDA driver is a C library")]

use std::ffi::c_char;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use cudarc::driver::{CudaContext, DriverError, result, sys};
use nereid_core::{Error, Result};
use tokio::runtime::Handle;

use super::super::Memory;
use super::HANDLE_BYTES;

/// Whether the CUDA driver and a GPU are there. Looked up once; cudarc panics without the library.
pub(super) fn is_there() -> bool {
    static THERE: OnceLock<bool> = OnceLock::new();
    *THERE.get_or_init(|| match probe() {
        Ok(()) => true,
        Err(reason) => {
            tracing::warn!("CUDA shared memory is not available: {reason}");
            false
        }
    })
}

fn probe() -> Result<(), String> {
    // SAFETY: loads libcuda, if it is there, whose initialisers ask nothing of the process.
    if !unsafe { sys::is_culib_present() } {
        return Err("the driver library libcuda is not there".to_owned());
    }
    let count = result::init().and_then(|()| result::device::get_count());
    match count.map_err(|e| e.to_string())? {
        0 => Err("the driver shows no GPU".to_owned()),
        _ => Ok(()),
    }
}

#[derive(Debug)]
pub(super) struct Cuda {
    region: Arc<str>,
    context: Arc<CudaContext>,
    /// The start of the allocation, in this process.
    start: sys::CUdeviceptr,
    is_closed: AtomicBool,
}

impl Cuda {
    /// See [`super::open`]. The driver must be there.
    pub(super) fn open(
        region: Arc<str>,
        handle: [u8; HANDLE_BYTES],
        device_id: u64,
        byte_size: u64,
    ) -> Result<Self> {
        let refuse = |reason: String| {
            // As Triton, which keeps the reason from the client.
            tracing::warn!("failed to open the CUDA IPC handle of region '{region}': {reason}");
            Error::invalid_arg("failed to register shared memory region: invalid args")
        };
        let ordinal = i32::try_from(device_id).map_err(|_| refuse(format!("there is no GPU {device_id}")))?;
        let context = CudaContext::new(ordinal as usize).map_err(|e| refuse(e.to_string()))?;
        let handle = sys::CUipcMemHandle { reserved: handle.map(|byte| byte as c_char) };
        let peers = sys::CUipcMem_flags::CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS as u32;
        let mut start = 0;
        // SAFETY: the context is current; the driver checks the handle, whose bytes may be any.
        let opened = unsafe { sys::cuIpcOpenMemHandle_v2(&mut start, handle, peers) };
        opened.result().map_err(|e| refuse(e.to_string()))?;
        let cuda = Self { region: region.clone(), context, start, is_closed: AtomicBool::new(false) };
        if cuda.room().is_ok_and(|room| byte_size <= room) {
            return Ok(cuda);
        }
        Err(Error::invalid_arg(format!("failed to register shared memory region '{region}': invalid args")))
    }

    /// Bytes of the allocation from its start.
    fn room(&self) -> Result<u64, DriverError> {
        let (mut base, mut size) = (0, 0);
        // SAFETY: the context is current, and `start` is of an open handle.
        let found = unsafe { sys::cuMemGetAddressRange_v2(&mut base, &mut size, self.start) };
        found.result()?;
        Ok((base + size as u64).saturating_sub(self.start))
    }

    fn broken(&self, what: &str, reason: DriverError) -> Error {
        Error::internal(format!("unable to {what} CUDA shared memory region '{}': {reason}", self.region))
    }
}

impl Memory for Cuda {
    fn read(&self, at: u64, byte_size: u64) -> Result<Bytes> {
        let too_large = || {
            Error::unavailable(format!(
                "no memory for {byte_size} bytes of CUDA shared memory region '{}'",
                self.region
            ))
        };
        let wanted = usize::try_from(byte_size).map_err(|_| too_large())?;
        let mut data: Vec<u8> = Vec::new();
        data.try_reserve_exact(wanted).map_err(|_| too_large())?;
        data.resize(wanted, 0);
        self.context.bind_to_thread().map_err(|e| self.broken("read", e))?;
        // SAFETY: the context is current, and callers stay within the region, which was checked to be in the
        // allocation.
        let copied = unsafe { result::memcpy_dtoh_sync(&mut data, self.start + at) };
        copied.map_err(|e| self.broken("read", e))?;
        Ok(data.into())
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<()> {
        self.context.bind_to_thread().map_err(|e| self.broken("write", e))?;
        // SAFETY: as in `read`.
        let copied = unsafe { result::memcpy_htod_sync(self.start + at, data) };
        copied.map_err(|e| self.broken("write", e))
    }

    fn waits(&self) -> bool {
        true
    }

    fn close(&self) {
        if let Some(close) = self.closing() {
            close();
        }
    }
}

impl Cuda {
    /// What closes the handle, unless somebody has done so.
    fn closing(&self) -> Option<impl FnOnce() + Send + use<>> {
        if self.is_closed.swap(true, Ordering::Relaxed) {
            return None;
        }
        let (region, context, start) = (self.region.clone(), self.context.clone(), self.start);
        Some(move || {
            let closed = context.bind_to_thread().and_then(|()| {
                // SAFETY: the context is current, and the handle was opened and is closed once.
                unsafe { sys::cuIpcCloseMemHandle(start) }.result()
            });
            if let Err(reason) = closed {
                tracing::warn!("failed to close the CUDA IPC handle of region '{region}': {reason}");
            }
        })
    }
}

impl Drop for Cuda {
    /// Closing may wait for the GPU, and the last use of a region may end on an event loop.
    fn drop(&mut self) {
        let Some(close) = self.closing() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(close)),
            Err(_) => close(),
        }
    }
}
