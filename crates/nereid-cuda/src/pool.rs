//! How much memory may be page-locked: the system cannot swap it out, hence there is a limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::{Device, PinnedBuffer};

/// A limit for page-locked memory. Buffers are allocated one by one; nothing is held in reserve.
#[derive(Debug)]
pub struct PinnedPool {
    limit: usize,
    used: AtomicUsize,
    has_warned: AtomicBool,
}

/// Bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PoolUse {
    pub total: usize,
    pub used: usize,
}

impl PinnedPool {
    /// At most `limit` bytes are locked at a time; 0: none ever.
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: AtomicUsize::new(0), has_warned: AtomicBool::new(false) })
    }

    /// `byte_size` bytes, all 0: page-locked as long as the limit allows it and the driver can, pageable otherwise, which
    /// is logged once.
    pub fn allocate(self: &Arc<Self>, device: &Arc<dyn Device>, byte_size: usize) -> PinnedBuffer {
        let Some(share) = self.share(byte_size) else {
            self.warn(&format!("all {} bytes of the pinned memory pool are in use", self.limit));
            return PinnedBuffer::pageable(byte_size);
        };
        PinnedBuffer::locked(device, byte_size, Some(share)).unwrap_or_else(|error| {
            self.warn(&error.to_string());
            PinnedBuffer::pageable(byte_size)
        })
    }

    pub fn values(&self) -> PoolUse {
        PoolUse { total: self.limit, used: self.used.load(Ordering::Relaxed) }
    }

    fn share(self: &Arc<Self>, byte_size: usize) -> Option<Share> {
        let more = |used: usize| used.checked_add(byte_size).filter(|used| *used <= self.limit);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Share { pool: self.clone(), byte_size })
    }

    fn warn(&self, reason: &str) {
        if self.limit > 0 && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "failed to allocate pinned system memory: {reason}, falling back to non-pinned system memory"
            );
        }
    }
}

/// Bytes of the pool that a buffer has.
#[derive(Debug)]
pub(crate) struct Share {
    pool: Arc<PinnedPool>,
    byte_size: usize,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.used.fetch_sub(self.byte_size, Ordering::Relaxed);
    }
}
