//! The memory of one tensor between executions: on the GPU, and page-locked for the copies to and from there.

use std::sync::Arc;

use super::memory::{DeviceMemory, StagingMemory};
use crate::{Device, PinnedPool, Result};

/// Memory for one tensor of an instance, which grows with what is put there and is never given back before it is dropped.
/// Nothing in it outlasts an execution.
#[derive(Debug)]
pub struct Area {
    pub(super) memory: DeviceMemory,
    pub(super) staging: Option<StagingMemory>,
}

impl Area {
    /// None yet, on `device`. Without `pool`, data is copied straight from and to the memory of requests and responses,
    /// which may take the host longer.
    pub fn new(device: &Arc<dyn Device>, pool: Option<Arc<PinnedPool>>) -> Self {
        let staging = pool.map(|pool| StagingMemory::new(device, &pool));
        Self { memory: DeviceMemory::new(device), staging }
    }

    /// The GPU that it is on.
    pub fn device(&self) -> &Arc<dyn Device> {
        self.memory.device()
    }

    /// The address of `byte_size` bytes on the GPU, with anything in them. It stays the same until more are asked for; then
    /// nothing may use the memory any more.
    ///
    /// # Errors
    /// The GPU has no memory left.
    pub fn on_device(&mut self, byte_size: usize) -> Result<u64> {
        self.memory.reserve(byte_size)
    }
}
