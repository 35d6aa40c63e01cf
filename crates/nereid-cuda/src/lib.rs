//! GPUs, as far as inference needs them: memory, streams, events, graphs, and memory that another process shares.
//!
//! [`Device`] is one GPU; [`driver::devices`] gives those of the machine. What is allocated on one is held by
//! [`DeviceBuffer`], [`PinnedBuffer`], [`Stream`], [`Event`], [`Graph`] and [`IpcMemory`], which give it back when they are
//! dropped. There are no kernels here; only [`staging`] knows what a
//! tensor is.

mod buffer;
mod device;
pub mod driver;
mod error;
mod event;
mod graph;
#[cfg(feature = "testing")]
pub mod host;
mod ipc;
mod pinned;
mod pool;
pub mod staging;
mod stream;

pub use buffer::DeviceBuffer;
pub use device::{Device, DeviceInfo, IpcHandle, MemoryUse, RawEvent, RawGraph, RawStream};
pub use error::{CudaError, Result};
pub use event::Event;
pub use graph::Graph;
pub use ipc::IpcMemory;
pub use nereid_core::config::StreamPriority;
pub use pinned::PinnedBuffer;
pub use pool::{PinnedPool, PoolUse};
pub use stream::Stream;
