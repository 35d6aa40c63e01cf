//! How long it has been building, for who looks at a terminal.
#![expect(clippy::print_stderr, reason = "the command's own output")]

use std::io::{IsTerminal, stderr};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nereid_core::Timestamp;

/// Shows the seconds until it is dropped; nothing where no terminal is.
#[derive(Debug)]
pub(super) struct Progress(Option<(Sender<()>, JoinHandle<()>)>);

impl Progress {
    pub(super) fn start() -> Self {
        if !stderr().is_terminal() {
            return Self(None);
        }
        let (stop, stopped) = channel();
        let shown = thread::spawn(move || {
            let start = Timestamp::now();
            while stopped.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                eprint!("\rbuilding, {} s", Timestamp::now().since(start).as_secs());
            }
            eprint!("\r\x1b[K"); // clears the line
        });
        Self(Some((stop, shown)))
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some((stop, shown)) = self.0.take() {
            drop(stop);
            let _ = shown.join(); // it only prints
        }
    }
}
