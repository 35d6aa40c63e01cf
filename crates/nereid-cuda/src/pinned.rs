//! Host memory for copies to and from GPUs.

#![allow(unsafe_code, reason = "the memory is the driver's, known by its address")]

use std::ptr::NonNull;
use std::sync::Arc;

use crate::pool::Share;
use crate::{Device, Result};

/// Page-locked memory of the host: a GPU copies to and from it while the host goes on. Memory that a
/// [`crate::PinnedPool`] had to take elsewhere is not page-locked, which only makes copies slower.
#[derive(Debug)]
pub struct PinnedBuffer {
    memory: Memory,
    byte_size: usize,
    /// Gives the bytes back to the pool that they count in.
    _share: Option<Share>,
}

#[derive(Debug)]
enum Memory {
    Locked { device: Arc<dyn Device>, start: NonNull<u8> },
    Pageable(Box<[u8]>),
}

// SAFETY: it owns its memory, as a `Box` does.
unsafe impl Send for PinnedBuffer {}

// SAFETY: what is shared only reads.
unsafe impl Sync for PinnedBuffer {}

impl PinnedBuffer {
    /// `byte_size` bytes, all 0, page-locked.
    ///
    /// # Errors
    /// There is no memory left that could be locked, or the driver fails.
    pub fn new(device: &Arc<dyn Device>, byte_size: usize) -> Result<Self> {
        Self::locked(device, byte_size, None)
    }

    pub(crate) fn locked(device: &Arc<dyn Device>, byte_size: usize, share: Option<Share>) -> Result<Self> {
        let start = device.allocate_pinned(byte_size.max(1))?;
        // SAFETY: so many bytes were allocated, and nobody else knows them. Nothing says what is in them.
        unsafe { start.write_bytes(0, byte_size.max(1)) };
        Ok(Self { memory: Memory::Locked { device: device.clone(), start }, byte_size, _share: share })
    }

    pub(crate) fn pageable(byte_size: usize) -> Self {
        Self { memory: Memory::Pageable(vec![0; byte_size].into()), byte_size, _share: None }
    }

    /// Whether it is page-locked.
    pub fn is_pinned(&self) -> bool {
        matches!(self.memory, Memory::Locked { .. })
    }

    pub fn byte_size(&self) -> usize {
        self.byte_size
    }

    /// For copies on a stream. Whoever starts one answers for the memory until the copy has ended.
    pub fn as_ptr(&self) -> *const u8 {
        match &self.memory {
            Memory::Locked { start, .. } => start.as_ptr(),
            Memory::Pageable(bytes) => bytes.as_ptr(),
        }
    }

    /// For copies on a stream. Whoever starts one answers for the memory until the copy has ended.
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        match &mut self.memory {
            Memory::Locked { start, .. } => start.as_ptr(),
            Memory::Pageable(bytes) => bytes.as_mut_ptr(),
        }
    }

    pub fn as_slice(&self) -> &[u8] {
        match &self.memory {
            // SAFETY: the bytes are there as long as `self`, were written once, and only `self` gives them away.
            Memory::Locked { start, .. } => unsafe {
                std::slice::from_raw_parts(start.as_ptr(), self.byte_size)
            },
            Memory::Pageable(bytes) => bytes,
        }
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        match &mut self.memory {
            // SAFETY: as in `as_slice`, and `self` is borrowed mutably.
            Memory::Locked { start, .. } => unsafe {
                std::slice::from_raw_parts_mut(start.as_ptr(), self.byte_size)
            },
            Memory::Pageable(bytes) => bytes,
        }
    }
}

impl Drop for PinnedBuffer {
    fn drop(&mut self) {
        let Memory::Locked { device, start } = &self.memory else { return };
        // SAFETY: it was allocated by this device, and this was its only owner.
        let freed = unsafe { device.free_pinned(*start) };
        if let Err(error) = freed {
            tracing::warn!("failed to free {} bytes of page-locked memory: {error}", self.byte_size);
        }
    }
}
