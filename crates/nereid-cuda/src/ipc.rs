//! Memory on a GPU that another process has allocated.

#![allow(unsafe_code, reason = "the handle is closed, and the memory copied, by its address")]

use std::sync::Arc;

use crate::{Device, IpcHandle, Result};

/// An allocation of another process, open as long as this lives. Its owner must not free it before: that breaks CUDA's
/// rules, and nothing here could notice.
#[derive(Debug)]
pub struct IpcMemory {
    device: Arc<dyn Device>,
    address: u64,
    byte_size: u64,
}

impl IpcMemory {
    /// The allocation that `handle` names, whatever bytes these are.
    ///
    /// # Errors
    /// It names none, one of another GPU, or one of this process; or the driver fails.
    pub fn open(device: &Arc<dyn Device>, handle: IpcHandle) -> Result<Self> {
        let address = device.open_ipc(handle)?;
        let mut memory = Self { device: device.clone(), address, byte_size: 0 };
        let (start, size) = device.allocation_range(address)?;
        memory.byte_size = start.saturating_add(size).saturating_sub(address);
        Ok(memory)
    }

    /// Where it starts, in this process.
    pub fn address(&self) -> u64 {
        self.address
    }

    /// Bytes from there to the end of the allocation.
    pub fn byte_size(&self) -> u64 {
        self.byte_size
    }

    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Fills `data` from byte `at`, and waits for the end of the copy.
    ///
    /// # Errors
    /// The driver fails.
    ///
    /// # Panics
    /// The bytes are not all in it.
    pub fn read(&self, at: u64, data: &mut [u8]) -> Result<()> {
        let from = self.checked(at, data.len());
        if data.is_empty() {
            return Ok(());
        }
        // SAFETY: the bytes are in the allocation. The other process may write them meanwhile, which at worst tears them:
        // no reference to them exists.
        unsafe { self.device.read(data, from) }
    }

    /// Copies `data` to byte `at`, and waits for the end of the copy.
    ///
    /// # Errors
    /// The driver fails.
    ///
    /// # Panics
    /// The bytes are not all in it.
    pub fn write(&self, at: u64, data: &[u8]) -> Result<()> {
        let to = self.checked(at, data.len());
        if data.is_empty() {
            return Ok(());
        }
        // SAFETY: as in `read`.
        unsafe { self.device.write(to, data) }
    }

    fn checked(&self, at: u64, byte_size: usize) -> u64 {
        let fits = at.checked_add(byte_size as u64).is_some_and(|end| end <= self.byte_size);
        assert!(
            fits,
            "{byte_size} bytes from byte {at} are not in an allocation of {} bytes",
            self.byte_size
        );
        self.address + at
    }
}

impl Drop for IpcMemory {
    fn drop(&mut self) {
        // SAFETY: it was opened by this device, and this was its only owner.
        let closed = unsafe { self.device.close_ipc(self.address) };
        if let Err(error) = closed {
            tracing::warn!("failed to close a CUDA IPC handle: {error}");
        }
    }
}
