//! What the user of a context provides for outputs whose size is known only when they have been computed.

use std::fmt;

use nereid_cuda::RawStream;

/// Memory for one output. TensorRT calls it during `enqueue`, perhaps on another thread; a panic in it becomes a failed
/// allocation.
pub trait OutputAllocator: fmt::Debug + Send + Sync {
    /// At least `bytes` (never 0, even for an empty tensor) aligned to `alignment` in the tensor's memory, for `tensor`, whose memory is
    /// `current` now (0: none). `None`: there is none, and `enqueue` fails.
    fn reallocate(
        &self,
        tensor: &str,
        current: u64,
        bytes: u64,
        alignment: u64,
        stream: RawStream,
    ) -> Option<u64>;

    /// The shape that `tensor` has got.
    fn notify_shape(&self, tensor: &str, shape: &[i64]);
}
