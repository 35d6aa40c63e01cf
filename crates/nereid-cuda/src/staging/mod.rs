//! The tensors of a batch on their way to a GPU and back, for backends that run batches there.
//!
//! [`Upload`] brings bytes into one piece of memory of the GPU, [`Download`] from there into responses; [`DeviceMemory`] and
//! [`StagingMemory`] are what an instance keeps for them, and [`Places`] are those of tensors in such memory. For backends
//! whose tensors each have memory of their own, an [`Area`], [`gather()`] uploads an input of all requests and [`scatter()`]
//! gives outputs to the requests. What runs in between is the backend's.

mod area;
mod download;
mod gather;
mod memory;
mod part;
mod place;
mod places;
mod scatter;
mod streams;
mod upload;

pub use area::Area;
pub use download::{Download, Landing};
pub use gather::{Gathered, gather, lying, put};
pub use memory::{DeviceMemory, StagingMemory};
pub use part::Part;
pub use place::{is_asked_for, place, send};
pub use places::{ALIGNMENT, Places};
pub use scatter::{OnDevice, Produced, scatter};
pub use streams::OutputStreams;
pub use upload::{Source, Upload};
