//! Regions in the memory of a GPU, by CUDA's inter-process handles: whether there can be any, and the refusal.

#[cfg(feature = "cuda")]
mod driver;

use std::sync::Arc;

use nereid_core::{Error, Result};

use super::Memory;

/// Bytes of a `cudaIpcMemHandle_t`.
pub(crate) const HANDLE_BYTES: usize = 64;

/// Opens the allocation of another process that `handle` names, on GPU `device_id`, for its first `byte_size` bytes.
///
/// # Errors
/// `InvalidArg`, with Triton's texts: the server has no GPU, or the handle names nothing that is large enough.
#[cfg_attr(not(feature = "cuda"), expect(unused_variables, reason = "without CUDA all are refused alike"))]
pub(super) fn open(
    region: Arc<str>,
    handle: [u8; HANDLE_BYTES],
    device_id: u64,
    byte_size: u64,
) -> Result<Box<dyn Memory>> {
    #[cfg(feature = "cuda")]
    if let gpus @ [_, ..] = driver::gpus() {
        return Ok(Box::new(driver::Cuda::open(gpus, region, handle, device_id, byte_size)?));
    }
    Err(Error::invalid_arg(format!(
        "failed to register CUDA shared memory region: '{region}', GPUs not supported"
    )))
}
