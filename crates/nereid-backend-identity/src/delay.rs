//! A wait that another thread can end. Knows nothing of batches.

use std::fmt;
use std::time::Duration;

use nereid_core::backend::Terminate;
use parking_lot::{Condvar, Mutex};

/// How long each execution of an instance takes, and the handle by which that is cut short.
pub(crate) struct Delay {
    length: Duration,
    terminated: Mutex<bool>,
    changed: Condvar,
}

impl Delay {
    pub(crate) fn new(length: Duration) -> Self {
        Self { length, terminated: Mutex::new(false), changed: Condvar::new() }
    }

    /// Waits; `false` if it was told to stop, before or meanwhile.
    #[must_use]
    pub(crate) fn wait(&self) -> bool {
        let mut terminated = self.terminated.lock();
        self.changed.wait_while_for(&mut terminated, |terminated| !*terminated, self.length);
        !*terminated
    }

    fn set(&self, terminated: bool) {
        *self.terminated.lock() = terminated;
        self.changed.notify_all();
    }
}

impl Terminate for Delay {
    fn terminate(&self) {
        self.set(true);
    }

    fn reset(&self) {
        self.set(false);
    }
}

impl fmt::Debug for Delay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Delay").field(&self.length).finish()
    }
}
