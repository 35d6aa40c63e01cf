//! A region through the CUDA driver, which is loaded when the first region is registered.
//!
//! The handle stays open as long as the region, and as anybody has a slice of it. As with Triton, an owner that frees the
//! allocation before it unregisters the region breaks CUDA's rules.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use nereid_core::{DeviceSlice, Error, Result};
use nereid_cuda::driver::devices;
use nereid_cuda::{CudaError, Device, IpcMemory};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::super::Memory;
use super::HANDLE_BYTES;

/// The GPUs of the machine; none, which is logged once, when there is no driver that works.
pub(super) fn gpus() -> &'static [Arc<dyn Device>] {
    static NONE: OnceLock<()> = OnceLock::new();
    devices().unwrap_or_else(|reason| {
        NONE.get_or_init(|| tracing::warn!("CUDA shared memory is not available: {reason}"));
        &[]
    })
}

#[derive(Debug)]
pub(super) struct Cuda {
    region: Arc<str>,
    device: i32,
    address: u64,
    /// `None` after it was closed.
    memory: Mutex<Option<Arc<Opened>>>,
}

/// An open handle. Closing may wait for the GPU, and the last use of a region may end on an event loop.
#[derive(Debug)]
struct Opened(Option<IpcMemory>);

impl Cuda {
    /// See [`super::open`]; `gpus` are not empty.
    pub(super) fn open(
        gpus: &[Arc<dyn Device>],
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
        let gpu = usize::try_from(device_id).ok().and_then(|index| gpus.get(index));
        let gpu = gpu.ok_or_else(|| refuse(format!("there is no GPU {device_id}")))?;
        let memory = IpcMemory::open(gpu, handle).map_err(|e| refuse(e.to_string()))?;
        if byte_size > memory.byte_size() {
            let message = format!("failed to register shared memory region '{region}': invalid args");
            return Err(Error::invalid_arg(message));
        }
        let (device, address) = (gpu.info().ordinal, memory.address());
        let memory = Mutex::new(Some(Arc::new(Opened(Some(memory)))));
        Ok(Self { region, device, address, memory })
    }

    /// Runs `copy` on the memory.
    fn copy(&self, what: &str, copy: impl FnOnce(&IpcMemory) -> Result<(), CudaError>) -> Result<()> {
        let opened = self.memory.lock().clone();
        let Some(memory) = opened.as_ref().and_then(|opened| opened.0.as_ref()) else {
            return Err(self.broken(what, "it is closed"));
        };
        copy(memory).map_err(|e| self.broken(what, &e.to_string()))
    }

    fn broken(&self, what: &str, reason: &str) -> Error {
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
        self.copy("read", |memory| memory.read(at, &mut data))?;
        Ok(data.into())
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<()> {
        self.copy("write", |memory| memory.write(at, data))
    }

    fn device_slice(&self, at: u64, byte_size: u64) -> Option<DeviceSlice> {
        let opened = self.memory.lock().clone()?;
        let byte_size = usize::try_from(byte_size).ok()?;
        Some(DeviceSlice::new(self.device, self.address.checked_add(at)?, byte_size, opened))
    }

    fn waits(&self) -> bool {
        true
    }

    fn close(&self) {
        let opened = self.memory.lock().take();
        // With slices about, the last of them closes it.
        if let Some(mut opened) = opened.and_then(Arc::into_inner) {
            drop(opened.0.take());
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        let Some(memory) = self.0.take() else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop(memory));
        }
    }
}

#[cfg(test)]
mod tests {
    use nereid_core::ErrorCode;
    use nereid_cuda::host::HostDevice;

    use super::*;

    /// A region of `byte_size` bytes of an allocation of 64, on the second of two GPUs.
    fn open(host: &Arc<HostDevice>, device_id: u64, byte_size: u64) -> Result<Cuda> {
        let gpus = [HostDevice::new(0).device(), host.device()];
        Cuda::open(&gpus, "r".into(), host.offer(64), device_id, byte_size)
    }

    #[test]
    fn bytes_in_and_out() {
        let host = HostDevice::new(1);
        let region = open(&host, 1, 64).unwrap();
        region.write(60, b"abcd").unwrap();
        assert_eq!(region.read(61, 3).unwrap(), "bcd");
        region.close();
        assert_eq!(host.live().opened, 0);
        let error = region.read(0, 1).unwrap_err();
        assert_eq!(error.message(), "unable to read CUDA shared memory region 'r': it is closed");
    }

    #[test]
    fn what_is_refused_leaves_nothing_open() {
        let host = HostDevice::new(1);
        for (device_id, byte_size, message) in [
            (1, 65, "failed to register shared memory region 'r': invalid args"),
            (0, 64, "failed to register shared memory region: invalid args"),
            (2, 64, "failed to register shared memory region: invalid args"),
            (u64::MAX, 64, "failed to register shared memory region: invalid args"),
        ] {
            let error = open(&host, device_id, byte_size).unwrap_err();
            assert_eq!((error.code(), error.message()), (ErrorCode::InvalidArg, message));
            assert_eq!(host.live().opened, 0);
        }
    }

    #[test]
    fn the_handle_stays_open_as_long_as_a_slice() {
        let host = HostDevice::new(1);
        let region = open(&host, 1, 64).unwrap();
        let slice = region.device_slice(16, 8).unwrap();
        assert_eq!((slice.device, slice.address - region.address, slice.byte_size), (1, 16, 8));
        region.close();
        assert_eq!(host.live().opened, 1);
        assert!(region.device_slice(0, 1).is_none());
        drop(slice);
        assert_eq!(host.live().opened, 0);
        drop(open(&host, 1, 64).unwrap());
        assert_eq!(host.live().opened, 0);
    }
}
