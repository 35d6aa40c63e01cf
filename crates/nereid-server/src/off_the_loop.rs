//! Work that takes long, on a thread of its own: many connections share an event loop.

use nereid_core::{Error, Result};

/// JSON, outputs and shared memory of more bytes than this are worked on off the event loop.
pub(crate) const LONG_BYTES: usize = 1 << 20;

/// Runs `work` off the event loop.
///
/// # Errors
/// Those of `work`; Internal if it panicked.
pub(crate) async fn off_the_loop<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|e| Err(Error::internal(format!("failed to process the request: {e}"))))
}
