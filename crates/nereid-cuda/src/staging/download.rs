//! Brings bytes of a GPU into host memory that becomes a response, in as few copies as possible. Knows no tensors.

#![allow(unsafe_code, reason = "copies on a stream are by address")]

use bytes::Bytes;
use nereid_core::{Error, Result};

use super::memory::StagingMemory;
use super::places::{ALIGNMENT, Places};
use super::streams::OutputStreams;
use crate::PinnedBuffer;

/// Places of tensors in a response, and the copies that fill them.
#[derive(Debug, Default)]
pub struct Download {
    places: Places,
    copies: Vec<Copy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Copy {
    from: u64,
    to: usize,
    byte_size: usize,
}

impl Download {
    /// Adds a place for `byte_size` bytes, and gives it.
    ///
    /// # Errors
    /// No memory could hold all.
    pub fn place(&mut self, byte_size: usize) -> Result<usize> {
        let too_large = || Error::internal(format!("no memory for outputs of {byte_size} bytes and more"));
        self.places.push(byte_size).ok_or_else(too_large)
    }

    /// What gets a place from here on is in other memory of the GPU than what has one: no copy is of both, even if they are
    /// neighbours.
    ///
    /// # Errors
    /// As for [`Self::place`].
    pub fn cut(&mut self) -> Result<()> {
        // Neighbours are less than a place apart.
        self.place(0).map(drop)
    }

    /// Fetches `byte_size` bytes at `from` to byte `to`, which is in a place.
    pub fn fetch(&mut self, from: u64, to: usize, byte_size: usize) {
        if byte_size > 0 {
            self.copies.push(Copy { from, to, byte_size });
        }
    }

    /// Whether there is nothing to fetch.
    pub fn is_empty(&self) -> bool {
        self.copies.is_empty()
    }

    /// Bytes of all places.
    pub fn byte_size(&self) -> usize {
        self.places.end()
    }

    /// The copies, in which neighbours on the GPU that are neighbours here go together, with what lies between them.
    fn merged(&mut self) -> &[Copy] {
        self.copies.sort_unstable_by_key(|copy| copy.to);
        self.copies.dedup_by(|next, last| {
            let step = next.to - last.to;
            let joins = last.from + step as u64 == next.from && step < last.byte_size + ALIGNMENT;
            if joins {
                last.byte_size = step + next.byte_size;
            }
            joins
        });
        &self.copies
    }

    /// Puts the copies into the stream of outputs: through `staging`, or straight into what becomes the response.
    ///
    /// # Errors
    /// There is no memory, or the driver fails.
    ///
    /// # Safety
    /// What is fetched is there until the streams have ended, and what lies between neighbours among it, unless they were
    /// cut apart. `streams` wait as [`OutputStreams`] says, and the landing is dropped or waited for, never forgotten, while
    /// copies are under way.
    pub unsafe fn start<'s>(
        &mut self,
        streams: &'s dyn OutputStreams,
        staging: Option<&'s mut StagingMemory>,
    ) -> Result<Landing<'s>> {
        let byte_size = if self.is_empty() { 0 } else { self.byte_size() };
        let memory = match staging {
            Some(staging) => Memory::Staging(staging.reserve(byte_size)),
            None => Memory::Response(zeros(byte_size)?),
        };
        let mut landing = Landing { memory, byte_size, streams, is_under_way: true };
        let stream = streams.output();
        for copy in self.merged() {
            let to = landing.bytes_mut()[copy.to..copy.to + copy.byte_size].as_mut_ptr();
            // SAFETY: `to` has so many bytes, which stay until the stream has ended; the caller answers for the other side.
            unsafe { stream.device().copy_to_host(to, copy.from, copy.byte_size, stream.raw()) }?;
        }
        Ok(landing)
    }
}

/// Where bytes arrive. Dropped before they have, it waits for the streams, which write to it.
#[derive(Debug)]
pub struct Landing<'s> {
    memory: Memory<'s>,
    byte_size: usize,
    streams: &'s dyn OutputStreams,
    is_under_way: bool,
}

#[derive(Debug)]
enum Memory<'s> {
    Staging(&'s mut PinnedBuffer),
    Response(Vec<u8>),
}

impl Landing<'_> {
    fn bytes_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Staging(staging) => &mut staging.as_mut_slice()[..self.byte_size],
            Memory::Response(bytes) => bytes,
        }
    }

    /// Waits for the bytes, and gives them.
    ///
    /// # Errors
    /// A copy failed, or there is no memory.
    pub fn wait(self) -> Result<Bytes> {
        self.streams.wait_for_outputs()?;
        // SAFETY: all copies are in the stream that was waited for.
        unsafe { self.arrived() }
    }

    /// Gives the bytes without waiting for them.
    ///
    /// # Errors
    /// There is no memory.
    ///
    /// # Safety
    /// The copies have ended.
    pub unsafe fn arrived(mut self) -> Result<Bytes> {
        self.is_under_way = false;
        let byte_size = self.byte_size;
        match &mut self.memory {
            Memory::Response(bytes) => Ok(std::mem::take(bytes).into()),
            Memory::Staging(staging) => {
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(byte_size).map_err(|_| no_memory(byte_size))?;
                bytes.extend_from_slice(&staging.as_slice()[..byte_size]);
                Ok(bytes.into())
            }
        }
    }
}

impl Drop for Landing<'_> {
    fn drop(&mut self) {
        if self.is_under_way {
            // Whoever waits next gets the same error.
            drop(self.streams.settle());
        }
    }
}

/// Memory that becomes a response. What nothing is fetched to must not show what the memory held before.
fn zeros(byte_size: usize) -> Result<Vec<u8>> {
    let mut bytes: Vec<u8> = Vec::new();
    bytes.try_reserve_exact(byte_size).map_err(|_| no_memory(byte_size))?;
    bytes.resize(byte_size, 0);
    Ok(bytes)
}

fn no_memory(byte_size: usize) -> Error {
    Error::internal(format!("no memory for outputs of {byte_size} bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_go_in_one_copy() {
        let check = |tensors: &[(u64, usize)], expected: &[(u64, usize, usize)]| {
            let mut download = Download::default();
            for (from, byte_size) in tensors {
                let to = download.place(*byte_size).unwrap();
                download.fetch(*from, to, *byte_size);
            }
            let expected = expected.iter().map(|&(from, to, byte_size)| Copy { from, to, byte_size });
            assert_eq!(download.merged(), expected.collect::<Vec<_>>(), "{tensors:?}");
        };
        check(&[], &[]);
        check(&[(4096, 4)], &[(4096, 0, 4)]);
        check(&[(4096, 4), (4352, 300), (4864, 8)], &[(4096, 0, 776)]);
        check(&[(4096, 4), (4608, 8)], &[(4096, 0, 4), (4608, 256, 8)]); // one between them is left out
        check(&[(4096, 0), (4352, 8)], &[(4352, 256, 8)]);
        check(&[(4096, 256), (4352, 256)], &[(4096, 0, 512)]);
        check(&[(4096, 8), (512, 8)], &[(4096, 0, 8), (512, 256, 8)]);
    }

    #[test]
    fn what_is_cut_apart_is_not_joined() {
        for (from, byte_size) in [(4096, 4), (4096, 256), (4096, 257)] {
            let mut download = Download::default();
            let first = download.place(byte_size).unwrap();
            download.fetch(from, first, byte_size);
            download.cut().unwrap();
            let next = download.place(8).unwrap();
            download.fetch(from + next as u64, next, 8);
            assert_eq!(download.merged().len(), 2, "{byte_size}");
        }
    }
}
