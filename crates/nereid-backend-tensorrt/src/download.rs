//! Brings bytes of a GPU into host memory that becomes a response, in as few copies as possible. Knows no tensors.

use bytes::Bytes;
use nereid_core::{Error, Result};
use nereid_cuda::PinnedBuffer;

use crate::memory::StagingMemory;
use crate::places::{ALIGNMENT, Places};
use crate::streams::Streams;

/// Places of tensors in a response, and the copies that fill them.
#[derive(Debug, Default)]
pub(crate) struct Download {
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
    pub(crate) fn place(&mut self, byte_size: usize) -> Result<usize> {
        let too_large = || Error::internal(format!("no memory for outputs of {byte_size} bytes and more"));
        self.places.push(byte_size).ok_or_else(too_large)
    }

    /// Fetches `byte_size` bytes at `from` to byte `to`, which is in a place.
    pub(crate) fn fetch(&mut self, from: u64, to: usize, byte_size: usize) {
        if byte_size > 0 {
            self.copies.push(Copy { from, to, byte_size });
        }
    }

    /// Bytes of all places.
    pub(crate) fn byte_size(&self) -> usize {
        self.places.byte_size()
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
    /// What is fetched is there until the streams have ended.
    pub(crate) unsafe fn start<'s>(
        &mut self,
        streams: &'s Streams,
        staging: Option<&'s mut StagingMemory>,
    ) -> Result<Landing<'s>> {
        let byte_size = if self.copies.is_empty() { 0 } else { self.places.byte_size() };
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
pub(crate) struct Landing<'s> {
    memory: Memory<'s>,
    byte_size: usize,
    streams: &'s Streams,
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
    pub(crate) fn wait(mut self) -> Result<Bytes> {
        self.streams.wait_for_outputs()?;
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
}
