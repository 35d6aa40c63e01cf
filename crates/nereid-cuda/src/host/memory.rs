//! Allocations of a [`super::HostDevice`]: which there are, and what lies within them.

#![allow(unsafe_code, reason = "memory is handed out by address, as a driver does")]

use std::alloc::{Layout, alloc, dealloc};
use std::collections::BTreeMap;

/// What the driver promises for device memory.
const ALIGNMENT: usize = 256;

/// Memory by its start.
#[derive(Debug, Default)]
pub(super) struct Allocations {
    sizes: BTreeMap<u64, usize>,
    bytes: u64,
}

impl Allocations {
    /// `None` when the host has no memory. What is in it is not 0, so that nobody relies on that.
    pub(super) fn add(&mut self, bytes: usize) -> Option<u64> {
        // SAFETY: the layout has a size.
        let start = unsafe { alloc(layout(bytes)?) };
        if start.is_null() {
            return None;
        }
        // SAFETY: so many bytes are there, and nobody else knows them.
        unsafe { start.write_bytes(0xA5, bytes) };
        self.sizes.insert(start as u64, bytes);
        self.bytes += bytes as u64;
        Some(start as u64)
    }

    /// Whether there was one that starts there.
    pub(super) fn remove(&mut self, start: u64) -> bool {
        let Some(bytes) = self.sizes.remove(&start) else { return false };
        self.bytes -= bytes as u64;
        if let Some(layout) = layout(bytes) {
            // SAFETY: it was allocated with this layout, and is not known any more.
            unsafe { dealloc(start as *mut u8, layout) };
        }
        true
    }

    /// Start and size of the one that `address` is in.
    pub(super) fn around(&self, address: u64) -> Option<(u64, u64)> {
        let (start, bytes) = self.sizes.range(..=address).next_back()?;
        (address - start < *bytes as u64).then_some((*start, *bytes as u64))
    }

    /// Whether `address` is in the one that starts at `start`.
    pub(super) fn is_around(&self, start: u64, address: u64) -> bool {
        self.around(address).is_some_and(|(found, _)| found == start)
    }

    /// Whether all these bytes are in one of them.
    pub(super) fn have(&self, address: u64, bytes: usize) -> bool {
        let end = address.checked_add(bytes as u64);
        self.around(address).is_some_and(|(start, size)| end.is_some_and(|end| end <= start + size))
    }

    pub(super) fn count(&self) -> usize {
        self.sizes.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Allocations {
    fn drop(&mut self) {
        while let Some((&start, _)) = self.sizes.first_key_value() {
            self.remove(start);
        }
    }
}

fn layout(bytes: usize) -> Option<Layout> {
    Layout::from_size_align(bytes, ALIGNMENT).ok().filter(|layout| layout.size() > 0)
}
