//! A region in POSIX shared memory (`shm_open`), read and written through its file descriptor.
//!
//! It is not mapped: the owner may truncate the object at any time, and a mapping would then kill the server with
//! SIGBUS. The descriptor keeps the object after its owner has unlinked it, as a mapping would.

use std::sync::Arc;

use bytes::Bytes;
use nereid_core::{Error, Result};
use rustix::buffer::spare_capacity;
use rustix::fd::OwnedFd;
use rustix::fs::{FileType, Stat, fstat};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};
use rustix::shm::{self, Mode, OFlags};

use super::Memory;
use super::names::{bare, shown};

/// Most bytes that may be read beyond those which the object occupies. An object can be much longer than what was
/// ever written to it, and costs its owner nothing; a copy of it would cost the server all of it.
const MOST_HOLES_BYTES: u64 = 256 << 20;
/// Unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

#[derive(Debug)]
pub(super) struct System {
    region: Arc<str>,
    key: String,
    /// Bytes of the object before the region.
    offset: u64,
    object: OwnedFd,
}

impl System {
    /// Opens the object `key`, whose name was checked; the region is `byte_size` bytes from `offset`.
    ///
    /// # Errors
    /// Triton's (`RegisterSystemSharedMemory`): Internal when there is no such object, `InvalidArg` when it is too
    /// short or the region is empty.
    pub(super) fn open(region: Arc<str>, key: &str, offset: u64, byte_size: u64) -> Result<Self> {
        let object = shm::open(bare(key), OFlags::RDWR, Mode::empty()).map_err(|reason| {
            tracing::debug!("shm_open of '{}': {reason}", shown(key));
            Error::internal(format!("Unable to open shared memory region: '{}'", shown(key)))
        })?;
        let refuse = |reason: &str| {
            Error::invalid_arg(format!("failed to register shared memory region '{region}': {reason}"))
        };
        let status = fstat(&object).ok().filter(|s| FileType::from_raw_mode(s.st_mode).is_file());
        let Some(status) = status else {
            return Err(Error::internal(format!("Invalid shared memory region: '{}'", shown(key))));
        };
        if offset.checked_add(byte_size).is_none_or(|end| end > length(&status)) {
            return Err(refuse("invalid args"));
        }
        if byte_size == 0 {
            // What Triton says when it cannot map zero bytes.
            return Err(refuse("unable to process address spaceInvalid argument"));
        }
        Ok(Self { region, key: key.to_owned(), offset, object })
    }

    /// Where byte `at` of the region is in the object, if the object still holds `byte_size` bytes from there.
    fn still_holds(&self, at: u64, byte_size: u64) -> Result<(u64, Stat)> {
        let status = fstat(&self.object).map_err(|reason| self.broken("read", reason))?;
        let start = self.offset.saturating_add(at);
        if start.checked_add(byte_size).is_none_or(|end| end > length(&status)) {
            return Err(self.shrunk(start, byte_size, length(&status)));
        }
        Ok((start, status))
    }

    fn shrunk(&self, start: u64, byte_size: u64, length: u64) -> Error {
        Error::invalid_arg(format!(
            "shared memory region '{}' has become shorter: {byte_size} bytes at offset {start} of '{}' are not there, \
             it has {length} bytes now",
            self.region, self.key
        ))
    }

    fn broken(&self, what: &str, reason: Errno) -> Error {
        Error::internal(format!("unable to {what} shared memory region '{}': {reason}", self.region))
    }
}

impl Memory for System {
    fn read(&self, at: u64, byte_size: u64) -> Result<Bytes> {
        let (start, status) = self.still_holds(at, byte_size)?;
        let occupied = u64::try_from(status.st_blocks).unwrap_or(0).saturating_mul(BLOCK_BYTES);
        if byte_size > occupied.saturating_add(MOST_HOLES_BYTES) {
            return Err(Error::invalid_arg(format!(
                "unable to read {byte_size} bytes of shared memory region '{}': only {occupied} bytes of '{}' were \
                 ever written, and at most {MOST_HOLES_BYTES} more are read",
                self.region, self.key
            )));
        }
        let too_large = |_| {
            Error::unavailable(format!(
                "no memory for {byte_size} bytes of shared memory region '{}'",
                self.region
            ))
        };
        let wanted = usize::try_from(byte_size).map_err(|_| too_large(()))?;
        let mut data = Vec::new();
        data.try_reserve_exact(wanted).map_err(|_| too_large(()))?;
        while data.len() < wanted {
            let position = start + data.len() as u64;
            let count = retry_on_intr(|| pread(&self.object, spare_capacity(&mut data), position))
                .map_err(|reason| self.broken("read", reason))?;
            if count == 0 {
                return Err(self.shrunk(start, byte_size, position));
            }
        }
        data.truncate(wanted); // an allocator may give more than asked for
        Ok(data.into())
    }

    fn write(&self, at: u64, mut data: &[u8]) -> Result<()> {
        // The object must not grow by this. Who truncates it just now may see it grow back.
        let (mut position, _) = self.still_holds(at, data.len() as u64)?;
        while !data.is_empty() {
            match pwrite(&self.object, data, position) {
                Ok(0) => return Err(self.broken("write", Errno::NOSPC)),
                Ok(count) => {
                    position += count as u64;
                    data = &data[count..];
                }
                Err(Errno::INTR) => {}
                Err(reason) => return Err(self.broken("write", reason)),
            }
        }
        Ok(())
    }

    fn waits(&self) -> bool {
        false
    }
}

fn length(status: &Stat) -> u64 {
    u64::try_from(status.st_size).unwrap_or(0)
}
