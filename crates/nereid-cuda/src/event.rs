//! A point in a stream that others wait for.

#![allow(unsafe_code, reason = "events are used by their address")]

use std::sync::Arc;

use crate::{Device, RawEvent, Result, Stream};

/// An event without a time stamp.
#[derive(Debug)]
pub struct Event {
    device: Arc<dyn Device>,
    raw: RawEvent,
}

impl Event {
    /// Who waits for it spins when `busy_wait`, and sleeps otherwise.
    ///
    /// # Errors
    /// The driver fails.
    pub fn new(device: &Arc<dyn Device>, busy_wait: bool) -> Result<Self> {
        let raw = device.create_event(busy_wait)?;
        Ok(Self { device: device.clone(), raw })
    }

    /// For those who record it or wait for it. It is theirs as long as `self`.
    pub fn raw(&self) -> RawEvent {
        self.raw
    }

    /// It happens when what is in `stream` now has ended.
    ///
    /// # Errors
    /// The stream is of another device, or the driver fails.
    pub fn record(&self, stream: &Stream) -> Result<()> {
        // SAFETY: both are there; the driver refuses a stream of another device.
        unsafe { self.device.record_event(self.raw, stream.raw()) }
    }

    /// Waits until it has happened, as recorded last; not at all if it never was.
    ///
    /// # Errors
    /// What was in the stream failed, or the driver fails.
    pub fn synchronize(&self) -> Result<()> {
        // SAFETY: the event is of this device.
        unsafe { self.device.synchronize_event(self.raw) }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: it was created by this device, and this was its only owner.
        let destroyed = unsafe { self.device.destroy_event(self.raw) };
        if let Err(error) = destroyed {
            tracing::warn!("failed to destroy an event: {error}");
        }
    }
}
