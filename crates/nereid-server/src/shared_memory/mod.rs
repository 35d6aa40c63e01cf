//! Client shared memory: regions that clients register, and the tensors of their requests that lie in them.
//!
//! A region is read into a buffer before a request runs and written after it, one copy each way: a client that
//! changes the memory meanwhile disturbs nobody, and one that takes it away gets an error. Only where a model takes
//! tensors in the memory of a GPU it is given those that are there. No wire here; who may register is
//! [`SharedMemory`]'s to say.

mod cuda;
mod names;
mod regions;
mod system;
mod windows;

#[cfg(test)]
mod device_tests;
#[cfg(test)]
mod tests;

use std::fmt::Debug;
use std::sync::Arc;

use bytes::Bytes;
use nereid_core::{DeviceSlice, Result};

pub(crate) use cuda::HANDLE_BYTES;
pub(crate) use regions::SharedMemory;
pub(crate) use windows::{Bounds, Windows};

/// Where a region is; each kind has endpoints of its own, the names are common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    System,
    Cuda,
}

/// A registered region.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) name: Arc<str>,
    pub(crate) byte_size: u64,
    pub(crate) place: Place,
    memory: Box<dyn Memory>,
}

/// What the client said when it registered a region.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The name of the object, and the bytes in it before the region.
    System { key: String, offset: u64 },
    /// The number of the GPU.
    Cuda { device_id: u64 },
}

impl Place {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::System { .. } => Kind::System,
            Self::Cuda { .. } => Kind::Cuda,
        }
    }
}

/// The memory of a region. Callers stay within the region's size; what the owner did to the memory since is for
/// `read` and `write` to find out.
trait Memory: Debug + Send + Sync {
    /// Copies `byte_size` bytes out, from byte `at` of the region.
    fn read(&self, at: u64, byte_size: u64) -> Result<Bytes>;

    /// Copies `data` in, to byte `at` of the region.
    fn write(&self, at: u64, data: &[u8]) -> Result<()>;

    /// `byte_size` bytes from byte `at` of the region in the memory of a GPU, if the region is there. They are there for
    /// as long as the slice, whatever becomes of the region.
    fn device_slice(&self, at: u64, byte_size: u64) -> Option<DeviceSlice> {
        let _ = (at, byte_size);
        None
    }

    /// Copying may wait for a device, hence is not for an event loop.
    fn waits(&self) -> bool;

    /// Lets go of the memory now, so that its owner may free it, and may wait as copying may. Nothing is read or
    /// written afterwards. Memory that is dropped instead is let go of some time later.
    fn close(&self) {}
}
