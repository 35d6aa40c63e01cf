//! Memory that an instance keeps from one batch to the next: it grows to what is needed, and never shrinks.

use std::sync::Arc;

use crate::{Device, DeviceBuffer, PinnedBuffer, PinnedPool, Result};

/// Growing adds at most this to what is needed: memory of a GPU is for all models on it.
const MOST_SPARE: usize = 64 << 20;

/// Memory of a GPU.
#[derive(Debug)]
pub struct DeviceMemory {
    device: Arc<dyn Device>,
    buffer: Option<DeviceBuffer>,
}

impl DeviceMemory {
    /// None yet.
    pub fn new(device: &Arc<dyn Device>) -> Self {
        Self { device: device.clone(), buffer: None }
    }

    /// The GPU that it is on.
    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// At least `byte_size` bytes, with anything in them, and where they are. What was there before is gone if they are
    /// elsewhere now; nobody may use it any more.
    ///
    /// # Errors
    /// The GPU has no memory left; the next call tries again.
    pub fn reserve(&mut self, byte_size: usize) -> Result<u64> {
        if let Some(buffer) = self.buffer.as_ref().filter(|buffer| buffer.byte_size() >= byte_size) {
            return Ok(buffer.address());
        }
        // More than is needed, so that growing ends soon; but what is needed counts more than what may be.
        let ample = self.buffer.take().map_or(0, |buffer| ample(buffer.byte_size()));
        let larger = (ample > byte_size).then(|| DeviceBuffer::new(&self.device, ample).ok()).flatten();
        let buffer = match larger {
            Some(buffer) => buffer,
            None => DeviceBuffer::new(&self.device, byte_size)?,
        };
        Ok(self.buffer.insert(buffer).address())
    }
}

/// Memory of the host for copies to and from a GPU.
#[derive(Debug)]
pub struct StagingMemory {
    device: Arc<dyn Device>,
    pool: Arc<PinnedPool>,
    buffer: Option<PinnedBuffer>,
}

impl StagingMemory {
    /// None yet; what there will be counts in `pool`.
    pub fn new(device: &Arc<dyn Device>, pool: &Arc<PinnedPool>) -> Self {
        Self { device: device.clone(), pool: pool.clone(), buffer: None }
    }

    /// At least `byte_size` bytes. What was there before is gone if they are elsewhere now.
    pub fn reserve(&mut self, byte_size: usize) -> &mut PinnedBuffer {
        let kept = self.buffer.take();
        let ample = kept.as_ref().map_or(0, |buffer| ample(buffer.byte_size()));
        let kept = kept.filter(|buffer| buffer.byte_size() >= byte_size);
        self.buffer.insert(kept.unwrap_or_else(|| self.pool.allocate(&self.device, byte_size.max(ample))))
    }
}

/// What follows on `byte_size` bytes that did not suffice.
fn ample(byte_size: usize) -> usize {
    byte_size.saturating_add(byte_size.min(MOST_SPARE))
}
