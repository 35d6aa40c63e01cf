//! Ending without losing anything: everyone who serves holds a [`Draining`]; [`Drain`] tells them to
//! end, and waits until the last one is gone.

use std::time::Duration;

use tokio::sync::{mpsc, watch};

/// Tells all holders of its [`Draining`]s to end.
#[derive(Debug)]
pub struct Drain {
    start: watch::Sender<bool>,
    /// Closed once every `Draining` is gone.
    gone: mpsc::Receiver<()>,
    template: Draining,
}

/// Held by everything that must end before the server does.
#[derive(Debug, Clone)]
pub struct Draining {
    start: watch::Receiver<bool>,
    _alive: mpsc::Sender<()>,
}

impl Drain {
    /// Nothing drains yet.
    #[expect(clippy::new_without_default, reason = "a drain is a thing that happens once, not a value")]
    pub fn new() -> Self {
        let (start, started) = watch::channel(false);
        let (alive, gone) = mpsc::channel(1);
        Self { start, gone, template: Draining { start: started, _alive: alive } }
    }

    /// For one more thing that must end first.
    pub fn draining(&self) -> Draining {
        self.template.clone()
    }

    /// Tells everyone to end and waits for the last, at most `timeout`. `true` when all are gone.
    pub async fn drain(self, timeout: Duration) -> bool {
        let Self { start, mut gone, template } = self;
        drop(template);
        start.send_replace(true);
        tokio::time::timeout(timeout, gone.recv()).await.is_ok()
    }
}

impl Draining {
    /// Ends when draining has begun.
    pub async fn started(&mut self) {
        // An error means that the `Drain` is gone, which is as good as told.
        let _ = self.start.wait_for(|started| *started).await;
    }

    /// Whether draining has begun.
    pub fn has_started(&self) -> bool {
        *self.start.borrow()
    }

    /// This holder is done.
    pub fn ended(self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waits_for_every_holder() {
        let drain = Drain::new();
        let mut holder = drain.draining();
        let task = tokio::spawn(async move { holder.started().await });
        assert!(drain.drain(Duration::from_secs(20)).await);
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn gives_up_after_the_timeout() {
        let drain = Drain::new();
        let holder = drain.draining();
        assert!(!drain.drain(Duration::from_secs(3600)).await);
        assert!(holder.has_started());
    }
}
