//! The floor of the computation: a library's own call in a loop over fixed buffers, in a process of its own.

mod child;
mod onnxruntime;
mod parent;
mod tensorrt;

pub use child::{Loop, serve};
pub use parent::BareRun;
