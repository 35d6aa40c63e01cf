//! A GPU in host memory, for tests: [`HostDevice`].

mod device;
mod memory;
mod streams;

pub use device::{Copies, HostDevice, Live};
pub use streams::{HostStream, STREAM_MAGIC, Work};
