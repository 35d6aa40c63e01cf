//! Finding and loading `libnvinfer`.

mod candidates;
mod error;
mod load;
mod plugins;
mod shared_object;

pub use error::LoadError;
pub use load::{Library, LoadOptions};
pub(crate) use shared_object::SharedObject;
