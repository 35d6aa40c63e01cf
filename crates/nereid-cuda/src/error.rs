//! What a call of CUDA answered when it failed.

use std::fmt;

use nereid_core::Error;

pub type Result<T, E = CudaError> = std::result::Result<T, E>;

/// `CUDA_ERROR_OUT_OF_MEMORY`
const OUT_OF_MEMORY: u32 = 2;

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CudaError {
    /// The driver's function, such as `cuMemAlloc_v2`.
    pub call: &'static str,
    /// The driver's `CUresult`.
    pub code: u32,
    /// CUDA's name of the code and its description.
    pub reason: String,
}

impl CudaError {
    /// Whether the GPU, or the host for page-locked memory, has no memory left.
    pub fn is_out_of_memory(&self) -> bool {
        self.code == OUT_OF_MEMORY
    }
}

impl fmt::Display for CudaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, code, reason } = self;
        write!(f, "{call} failed with error {code}: {reason}")
    }
}

impl std::error::Error for CudaError {}

impl From<CudaError> for Error {
    /// Unavailable when memory is short, since it may come back; Internal otherwise.
    fn from(error: CudaError) -> Self {
        let message = error.to_string();
        if error.is_out_of_memory() { Self::unavailable(message) } else { Self::internal(message) }
    }
}
