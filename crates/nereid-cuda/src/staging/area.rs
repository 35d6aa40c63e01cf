//! The memory of one tensor between executions: on the GPU, and page-locked for the copies to and from there.

use std::sync::Arc;

use crate::{Device, DeviceBuffer, PinnedBuffer, PinnedPool, Result};

/// Memory for one tensor of an instance, which grows with what is put there and is never given back before it is dropped.
/// Nothing in it outlasts an execution.
#[derive(Debug)]
pub struct Area {
    device: Arc<dyn Device>,
    pool: Option<Arc<PinnedPool>>,
    on_device: Option<DeviceBuffer>,
    pinned: Option<PinnedBuffer>,
}

impl Area {
    /// None yet, on `device`. Without `pool`, data is copied straight from and to the memory of requests and responses,
    /// which may take the host longer.
    pub fn new(device: &Arc<dyn Device>, pool: Option<Arc<PinnedPool>>) -> Self {
        Self { device: device.clone(), pool, on_device: None, pinned: None }
    }

    /// The GPU that it is on.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// The address of `byte_size` bytes on the GPU, with anything in them. It stays the same until more are asked for; then
    /// nothing may use the memory any more.
    ///
    /// # Errors
    /// The GPU has no memory left.
    pub fn on_device(&mut self, byte_size: usize) -> Result<u64> {
        if let Some(buffer) = self.on_device.as_ref().filter(|buffer| buffer.byte_size() >= byte_size) {
            return Ok(buffer.address());
        }
        let wanted = grown(self.on_device.as_ref().map_or(0, DeviceBuffer::byte_size), byte_size);
        self.on_device = None; // first, so that both need not be there at once
        let buffer = match DeviceBuffer::new(&self.device, wanted) {
            Err(error) if error.is_out_of_memory() && wanted > byte_size => {
                DeviceBuffer::new(&self.device, byte_size)?
            }
            buffer => buffer?,
        };
        Ok(self.on_device.insert(buffer).address())
    }

    /// `byte_size` bytes on the host for copies, or `None` without a pool.
    pub(super) fn pinned(&mut self, byte_size: usize) -> Option<&mut PinnedBuffer> {
        let pool = self.pool.as_ref()?;
        let had = self.pinned.as_ref().map_or(0, PinnedBuffer::byte_size);
        if had < byte_size || self.pinned.is_none() {
            self.pinned = None;
            self.pinned = Some(pool.allocate(&self.device, grown(had, byte_size)));
        }
        self.pinned.as_mut()
    }

    /// What copies have put into the memory for them.
    pub(super) fn copied(&self) -> &[u8] {
        self.pinned.as_ref().map_or(&[], PinnedBuffer::as_slice)
    }
}

/// A size for `needed` bytes where `had` were too few: growing step by step takes few steps.
fn grown(had: usize, needed: usize) -> usize {
    needed.max(had.saturating_add(had / 2))
}
