//! What copies of outputs go into.

use std::fmt::Debug;

use crate::{Result, Stream};

/// The streams of whoever downloads: where copies go, and how they are waited for.
pub trait OutputStreams: Debug {
    /// For copies of outputs.
    fn output(&self) -> &Stream;

    /// Waits for the copies of outputs, which are all in their stream.
    ///
    /// # Errors
    /// One of them failed, or the driver fails.
    fn wait_for_outputs(&self) -> Result<()>;

    /// Waits for whatever is in the streams, and says whether all of it succeeded.
    ///
    /// # Errors
    /// Something in them failed, or the driver fails. Nothing in them runs any more: the driver ends what it cannot finish.
    fn settle(&self) -> Result<()>;
}

/// Everything in one stream.
impl OutputStreams for Stream {
    fn output(&self) -> &Stream {
        self
    }

    fn wait_for_outputs(&self) -> Result<()> {
        self.synchronize()
    }

    fn settle(&self) -> Result<()> {
        self.synchronize()
    }
}
