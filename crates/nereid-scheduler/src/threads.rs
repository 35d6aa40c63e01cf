//! The threads of one scheduler: started by it, waited for at its end.

use std::thread::{self, JoinHandle};

use nereid_core::{Error, Result};
use parking_lot::Mutex;

/// Threads that work for one model.
pub(crate) struct Threads {
    model: String,
    /// Until they are waited for.
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    /// None yet.
    pub(crate) fn of(model: &str) -> Self {
        Self { model: model.to_owned(), running: Mutex::default() }
    }

    /// Starts one.
    ///
    /// # Errors
    /// The system refuses it.
    pub(crate) fn spawn(&self, name: String, body: impl FnOnce() + Send + 'static) -> Result<()> {
        let thread = thread::Builder::new().name(name).spawn(body).map_err(|e| {
            Error::internal(format!("failed to start a thread for model '{}': {e}", self.model))
        })?;
        self.running.lock().push(thread);
        Ok(())
    }

    /// Waits until all have ended. Must not be called on one of them.
    pub(crate) fn join(&self) {
        let threads = std::mem::take(&mut *self.running.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!(model = self.model, "a thread of the scheduler panicked");
            }
        }
    }
}
