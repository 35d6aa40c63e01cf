//! Work that takes long, on a thread of its own: many connections share an event loop.

use nereid_core::{Error, Result};

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
