//! What can go wrong below this crate, as errors that clients see.

use nereid_core::Error;
use nereid_cuda::CudaError;
use nereid_tensorrt::TensorRtError;

/// A call of CUDA or TensorRT that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    Cuda(CudaError),
    TensorRt(TensorRtError),
}

impl From<CudaError> for Failure {
    fn from(error: CudaError) -> Self {
        Self::Cuda(error)
    }
}

impl From<TensorRtError> for Failure {
    fn from(error: TensorRtError) -> Self {
        Self::TensorRt(error)
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Cuda(error) => error.into(),
            Failure::TensorRt(error) => Self::internal(format!("failed to run TRT inference: {error}")),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cuda(error) => error.fmt(f),
            Self::TensorRt(error) => error.fmt(f),
        }
    }
}

/// There is no memory for `what` of `instance`.
pub(crate) fn no_memory(what: &str, byte_size: usize, instance: &str, error: &CudaError) -> Error {
    let message = format!("unable to allocate {byte_size} bytes for {what} for {instance}: {error}");
    // Memory that is short may come back.
    if error.is_out_of_memory() { Error::unavailable(message) } else { Error::internal(message) }
}
