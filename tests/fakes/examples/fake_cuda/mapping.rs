//! Memory that other processes can open: a file in memory, mapped.

use std::fs::File;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::ptr::null_mut;

use rustix::fs::{MemfdFlags, fstat, ftruncate, memfd_create};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// A file in memory, mapped for as long as this lives.
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) bytes: u64,
    file: OwnedFd,
}

impl Mapping {
    /// New memory, with something in it.
    pub(crate) fn new(bytes: u64) -> Option<Self> {
        let file = memfd_create("fake_cuda", MemfdFlags::CLOEXEC).ok()?;
        ftruncate(&file, bytes).ok()?;
        let mapping = Self::of(file, bytes)?;
        // SAFETY: so many bytes are mapped, and nobody else knows them.
        unsafe { (mapping.start as *mut u8).write_bytes(0xA5, bytes.min(4096) as usize) };
        Some(mapping)
    }

    /// The memory of another process, if its descriptor is still that file.
    pub(crate) fn open(process: u32, descriptor: u32, inode: u64, bytes: u64) -> Option<Self> {
        let path = format!("/proc/{process}/fd/{descriptor}");
        let file: OwnedFd = File::options().read(true).write(true).open(path).ok()?.into();
        let status = fstat(&file).ok()?;
        (status.st_ino == inode && u64::try_from(status.st_size) == Ok(bytes)).then_some(())?;
        Self::of(file, bytes)
    }

    fn of(file: OwnedFd, bytes: u64) -> Option<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: at any place, hence over nothing that is there.
        let start = unsafe { mmap(null_mut(), usize::try_from(bytes).ok()?, protection, flags, &file, 0) };
        Some(Self { start: start.ok()? as u64, bytes, file })
    }

    /// Whether all these bytes are in it.
    pub(crate) fn has(&self, address: u64, bytes: u64) -> bool {
        let end = address.checked_add(bytes);
        address >= self.start && end.is_some_and(|end| end <= self.start + self.bytes)
    }

    pub(crate) fn descriptor(&self) -> u32 {
        self.file.as_raw_fd() as u32
    }

    pub(crate) fn inode(&self) -> u64 {
        fstat(&self.file).map_or(0, |status| status.st_ino)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped so, and nobody knows it any more.
        let unmapped = unsafe { munmap(self.start as *mut _, self.bytes as usize) };
        debug_assert!(unmapped.is_ok());
    }
}
