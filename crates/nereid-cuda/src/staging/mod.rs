//! The tensors of a batch on their way to a GPU and back, for backends that run batches there.
//!
//! [`gather`] puts an input of all requests into memory of the GPU, [`scatter`] gives outputs that lie there to the
//! requests. Both put copies into a stream; [`Area`] is the memory that an instance keeps for them. What runs in between is
//! the backend's.

mod area;
mod gather;
mod place;
mod scatter;

pub use area::Area;
pub use gather::{Gathered, gather, put};
pub use place::{is_asked_for, place};
pub use scatter::{OnDevice, Produced, scatter};

/// What kernels may expect of the address of a tensor, in bytes. Tensors that lie elsewhere are copied.
pub const ALIGNMENT: u64 = 256;
