//! Memory on a GPU.

#![allow(unsafe_code, reason = "memory is freed, and copied, by its address")]

use std::sync::Arc;

use crate::{Device, Result};

/// Memory on a GPU, which is freed when this is dropped; the driver then waits for what still uses it.
#[derive(Debug)]
pub struct DeviceBuffer {
    device: Arc<dyn Device>,
    address: u64,
    byte_size: usize,
}

impl DeviceBuffer {
    /// `byte_size` bytes, with anything in them. A buffer of none has an address as well.
    ///
    /// # Errors
    /// There is no memory left, or the driver fails.
    pub fn new(device: &Arc<dyn Device>, byte_size: usize) -> Result<Self> {
        let address = device.allocate(byte_size.max(1))?;
        Ok(Self { device: device.clone(), address, byte_size })
    }

    /// Where it starts, a multiple of 256.
    pub fn address(&self) -> u64 {
        self.address
    }

    pub fn byte_size(&self) -> usize {
        self.byte_size
    }

    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Copies `data` to byte `at`, and waits for the end of the copy. It waits for no stream.
    ///
    /// # Errors
    /// The driver fails.
    ///
    /// # Panics
    /// The bytes are not all in the buffer.
    pub fn write(&mut self, at: usize, data: &[u8]) -> Result<()> {
        let to = self.checked(at, data.len());
        if data.is_empty() {
            return Ok(());
        }
        // SAFETY: the bytes are in the buffer, which is borrowed mutably.
        unsafe { self.device.write(to, data) }
    }

    /// Fills `data` from byte `at`, and waits for the end of the copy. It waits for no stream.
    ///
    /// # Errors
    /// The driver fails.
    ///
    /// # Panics
    /// The bytes are not all in the buffer.
    pub fn read(&self, at: usize, data: &mut [u8]) -> Result<()> {
        let from = self.checked(at, data.len());
        if data.is_empty() {
            return Ok(());
        }
        // SAFETY: the bytes are in the buffer. Whoever has a stream write them has promised that nobody else uses them.
        unsafe { self.device.read(data, from) }
    }

    fn checked(&self, at: usize, byte_size: usize) -> u64 {
        let fits = at.checked_add(byte_size).is_some_and(|end| end <= self.byte_size);
        assert!(fits, "{byte_size} bytes from byte {at} are not in a buffer of {} bytes", self.byte_size);
        self.address + at as u64
    }
}

impl Drop for DeviceBuffer {
    fn drop(&mut self) {
        // SAFETY: it was allocated by this device, and this was its only owner.
        let freed = unsafe { self.device.free(self.address) };
        if let Err(error) = freed {
            tracing::warn!("failed to free {} bytes of GPU memory: {error}", self.byte_size);
        }
    }
}
