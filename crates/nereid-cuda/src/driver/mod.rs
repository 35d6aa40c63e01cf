//! The GPUs of the machine, through the CUDA driver, which is loaded when it is first asked for.

mod unavailable;

use std::sync::Arc;

use crate::Device;

pub use unavailable::Unavailable;

/// The GPUs that the driver shows to this process, by their number. Looked up once.
///
/// # Errors
/// There is no driver, or no GPU, or the driver does not work: with the reason.
pub fn devices() -> Result<&'static [Arc<dyn Device>], Unavailable> {
    Err(Unavailable::new("this build does not look for them yet"))
}
