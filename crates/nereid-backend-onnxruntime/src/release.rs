//! Lets go of something that is slow to free, such as a session, without holding up the caller. Knows
//! nothing about what it frees.

use std::sync::Arc;
use std::thread;

/// Gives up `shared`. If nobody else has a part of it, a thread of its own drops what it holds, or the
/// caller's where the system refuses one.
pub(crate) fn off_thread<T: Send + Sync + 'static>(shared: Arc<T>) {
    let Some(last) = Arc::into_inner(shared) else { return };
    // An error drops the closure, and that does the work here.
    if let Err(e) = thread::Builder::new().name("session-release".to_owned()).spawn(move || drop(last)) {
        tracing::warn!("no thread to release a session: {e}");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread::ThreadId;

    use super::*;

    struct Tells(Sender<ThreadId>);

    impl Drop for Tells {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    #[test]
    fn the_last_part_goes_elsewhere() {
        let (sender, dropped) = channel();
        let first = Arc::new(Tells(sender));
        let second = first.clone();
        off_thread(first);
        assert!(dropped.try_recv().is_err(), "another part is left");
        off_thread(second);
        assert_ne!(dropped.recv().unwrap(), thread::current().id());
    }
}
