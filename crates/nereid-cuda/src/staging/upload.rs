//! Brings bytes into one piece of memory on a GPU, in as few copies as possible. Knows no batches.

#![allow(unsafe_code, reason = "copies on a stream are by address")]

use std::ops::Range;

use nereid_core::{DeviceSlice, ValidInput};

use crate::{Device, PinnedBuffer, Result, Stream};

/// Staged bytes are sent off in pieces of this size: the GPU fetches one while the next is staged, which hides the shorter
/// of the two. What is smaller goes in one copy at the end, all inputs together: the cost of a copy is then that of asking
/// for it, some microseconds, which is more than the bytes take on their way (1 MiB takes some 40 µs on PCIe 4.0).
const PIECE: usize = 1 << 20;

/// Where bytes of a tensor are.
#[derive(Debug, Clone, Copy)]
pub enum Source<'s> {
    Host(&'s [u8]),
    Device(&'s DeviceSlice),
}

impl Source<'_> {
    pub fn byte_size(&self) -> usize {
        match self {
            Self::Host(data) => data.len(),
            Self::Device(slice) => slice.byte_size,
        }
    }
}

impl<'s> From<&'s ValidInput> for Source<'s> {
    fn from(input: &'s ValidInput) -> Self {
        match &input.device {
            Some(slice) => Self::Device(slice),
            None => Self::Host(&input.data),
        }
    }
}

/// Copies on their way to a GPU.
#[derive(Debug)]
pub struct Upload<'u> {
    stream: &'u Stream,
    to: Range<u64>,
    /// Page-locked memory, as large as `to`, through which bytes of the host go; without it they go straight.
    staging: Option<&'u mut PinnedBuffer>,
    /// Staged and not sent.
    pending: Range<usize>,
}

impl<'u> Upload<'u> {
    /// Copies to `byte_size` bytes at `to`.
    ///
    /// # Safety
    /// The bytes at `to`, `staging` and everything that [`Self::put`] gets are there, and are not written by others, until
    /// what is in `stream` has ended.
    pub unsafe fn new(
        stream: &'u Stream,
        to: u64,
        byte_size: usize,
        staging: Option<&'u mut PinnedBuffer>,
    ) -> Self {
        Self { stream, to: to..to + byte_size as u64, staging, pending: 0..0 }
    }

    /// Copies `source` to byte `at`. Places ascend from one call to the next.
    ///
    /// # Errors
    /// The driver fails.
    ///
    /// # Panics
    /// It goes beyond the end.
    pub fn put(&mut self, at: usize, source: Source<'_>) -> Result<()> {
        let byte_size = source.byte_size();
        let to = self.address(at, byte_size);
        if byte_size == 0 {
            return Ok(());
        }
        match source {
            Source::Host(data) if self.staging.is_some() => {
                for (number, piece) in data.chunks(PIECE).enumerate() {
                    self.stage(at + number * PIECE, piece.len(), |staged| staged.copy_from_slice(piece))?;
                }
                Ok(())
            }
            Source::Host(data) => {
                // SAFETY: both are as long as this, and stay until the stream has ended (`Self::new`).
                unsafe { self.device().copy_to_device(to, data.as_ptr(), data.len(), self.stream.raw()) }
            }
            Source::Device(slice) => {
                self.send()?;
                // The driver tells by the addresses if the slice is on another GPU.
                // SAFETY: as above.
                unsafe { self.device().copy_on_device(to, slice.address, byte_size, self.stream.raw()) }
            }
        }
    }

    /// Copies `sources`, one right behind the other, from byte `at` on, and gives the byte behind the last.
    ///
    /// # Errors
    /// The driver fails.
    ///
    /// # Panics
    /// They go beyond the end.
    pub fn put_all<'s>(&mut self, at: usize, sources: impl IntoIterator<Item = Source<'s>>) -> Result<usize> {
        let mut end = at;
        for source in sources {
            self.put(end, source)?;
            end += source.byte_size();
        }
        Ok(end)
    }

    /// Zeros from byte `at`.
    ///
    /// # Errors
    /// The driver fails.
    ///
    /// # Panics
    /// They go beyond the end.
    pub fn zero(&mut self, at: usize, byte_size: usize) -> Result<()> {
        let to = self.address(at, byte_size);
        if byte_size == 0 {
            return Ok(());
        }
        if self.staging.is_some() {
            return self.stage(at, byte_size, |staged| staged.fill(0));
        }
        // SAFETY: the bytes are there (`Self::new`).
        unsafe { self.device().fill_zero(to, byte_size, self.stream.raw()) }
    }

    /// Sends what is still staged.
    ///
    /// # Errors
    /// The driver fails.
    pub fn finish(mut self) -> Result<()> {
        self.send()
    }

    fn stage(&mut self, at: usize, byte_size: usize, write: impl FnOnce(&mut [u8])) -> Result<()> {
        let Some(staging) = &mut self.staging else { return Ok(()) };
        write(&mut staging.as_mut_slice()[at..at + byte_size]);
        if self.pending.is_empty() {
            self.pending.start = at;
        }
        // What lies between two tensors goes along.
        self.pending.end = at + byte_size;
        if self.pending.len() >= PIECE { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<()> {
        let Range { start, end } = std::mem::take(&mut self.pending);
        let Some(staging) = self.staging.as_ref().filter(|_| start < end) else { return Ok(()) };
        let (to, from) = (self.to.start + start as u64, staging.as_slice()[start..end].as_ptr());
        // SAFETY: so many bytes are staged; both sides stay until the stream has ended (`Self::new`).
        unsafe { self.device().copy_to_device(to, from, end - start, self.stream.raw()) }
    }

    fn device(&self) -> &dyn Device {
        &**self.stream.device()
    }

    fn address(&self, at: usize, byte_size: usize) -> u64 {
        let to = self.to.start + at as u64;
        assert!(to + byte_size as u64 <= self.to.end, "{byte_size} bytes from byte {at} do not fit");
        to
    }
}
