//! A stream: what is put into it runs in order, and beside the host.

#![allow(unsafe_code, reason = "streams are used by their address")]

use std::sync::Arc;

use nereid_core::config::StreamPriority;

use crate::{Device, Event, Graph, RawStream, Result};

/// A stream that does not wait for the default stream of its device. Dropped, it runs to its end.
#[derive(Debug)]
pub struct Stream {
    device: Arc<dyn Device>,
    raw: RawStream,
}

impl Stream {
    /// # Errors
    /// The driver fails.
    pub fn new(device: &Arc<dyn Device>, priority: StreamPriority) -> Result<Self> {
        let raw = device.create_stream(priority)?;
        Ok(Self { device: device.clone(), raw })
    }

    /// For those who put something into it. It is theirs as long as `self`.
    pub fn raw(&self) -> RawStream {
        self.raw
    }

    pub fn device(&self) -> &Arc<dyn Device> {
        &self.device
    }

    /// Waits until everything in it has ended.
    ///
    /// # Errors
    /// What was in it failed, or the driver fails.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the stream is of this device.
        unsafe { self.device.synchronize(self.raw) }
    }

    /// What is put into it from now on waits for `event`.
    ///
    /// # Errors
    /// The driver fails.
    pub fn wait(&self, event: &Event) -> Result<()> {
        // SAFETY: both are there; the driver keeps what it needs of the event.
        unsafe { self.device.wait_event(self.raw, event.raw()) }
    }

    /// Runs `work`, and gives what it put into the stream as a graph, without running it. The thread must not allocate, free
    /// or wait meanwhile; others may.
    ///
    /// # Errors
    /// `work` fails, or the driver fails. The stream can be used again in either case.
    pub fn capture<E: From<crate::CudaError>>(
        &self,
        work: impl FnOnce() -> Result<(), E>,
    ) -> Result<Graph, E> {
        // SAFETY: the stream is of this device, and the capture is ended below, or by `capturing` if `work` panics.
        unsafe { self.device.begin_capture(self.raw) }?;
        let capturing = Capturing(self);
        let worked = work();
        let graph = capturing.end();
        worked?;
        Ok(graph?)
    }
}

/// A capture that has not ended yet.
struct Capturing<'s>(&'s Stream);

impl Capturing<'_> {
    fn end(self) -> Result<Graph> {
        let Self(stream) = self;
        std::mem::forget(self);
        // SAFETY: this thread began the capture.
        let raw = unsafe { stream.device.end_capture(stream.raw) }?;
        Ok(Graph::new(stream.device.clone(), raw))
    }
}

impl Drop for Capturing<'_> {
    fn drop(&mut self) {
        drop(Capturing(self.0).end());
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // SAFETY: it was created by this device, and this was its only owner.
        let destroyed = unsafe { self.device.destroy_stream(self.raw) };
        if let Err(error) = destroyed {
            tracing::warn!("failed to destroy a stream: {error}");
        }
    }
}
