//! What was captured from a stream, to be run again at once.

#![allow(unsafe_code, reason = "graphs are used by their address, and read and write memory by its address")]

use std::sync::Arc;

use crate::{Device, RawGraph, Result, Stream};

/// A graph, ready to be launched. [`Stream::capture`] makes it.
#[derive(Debug)]
pub struct Graph {
    device: Arc<dyn Device>,
    raw: RawGraph,
}

impl Graph {
    pub(crate) fn new(device: Arc<dyn Device>, raw: RawGraph) -> Self {
        Self { device, raw }
    }

    /// Puts all of it into `stream`.
    ///
    /// # Errors
    /// The stream is of another device, or the driver fails.
    ///
    /// # Safety
    /// Everything that it reads and writes is there, and nobody else's, until it has ended.
    pub unsafe fn launch(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both are there; the caller answers for the memory.
        unsafe { self.device.launch(self.raw, stream.raw()) }
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: it was made by this device, and this was its only owner. What runs of it runs to its end.
        let destroyed = unsafe { self.device.destroy_graph(self.raw) };
        if let Err(error) = destroyed {
            tracing::warn!("failed to destroy a graph: {error}");
        }
    }
}
