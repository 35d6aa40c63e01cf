//! Frees versions that nobody holds any more, away from the threads that serve requests: on a thread for each,
//! or, where the system refuses one, on the thread that is there for this since the start.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread;

use nereid_core::{Error, Result};

use crate::version::Running;

/// Takes what is to be freed. Its thread ends after its last clone.
#[derive(Debug, Clone)]
pub(crate) struct Reaper {
    queue: Sender<Running>,
}

impl Reaper {
    /// # Errors
    /// The system refuses a thread.
    pub(crate) fn start() -> Result<Self> {
        Self::with(own_thread)
    }

    /// Frees `running` elsewhere, without waiting.
    pub(crate) fn free(&self, running: Running) {
        // Only a panic while freeing can have ended the thread; then this frees it here.
        drop(self.queue.send(running));
    }

    fn with(own_thread: impl Fn(Running) -> io::Result<()> + Send + 'static) -> Result<Self> {
        let (queue, arrivals) = mpsc::channel();
        let free_all = move || {
            for running in arrivals {
                if let Err(e) = own_thread(running) {
                    tracing::warn!("no thread of its own to unload a model: {e}");
                }
            }
        };
        match thread::Builder::new().name("model-unload".into()).spawn(free_all) {
            Ok(_) => Ok(Self { queue }),
            Err(e) => Err(Error::internal(format!("no thread to unload models: {e}"))),
        }
    }
}

fn own_thread(running: Running) -> io::Result<()> {
    let name = format!("unload {}", running.departure.model.name);
    thread::Builder::new().name(name).spawn(move || drop(running)).map(drop)
}

#[cfg(test)]
#[path = "reaper_tests.rs"]
mod tests;
