//! Ending without losing anything: everyone who serves holds a [`Draining`]; [`Drain`] tells them, if there is time,
//! to send clients elsewhere, then to end, and waits until the last one is gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use super::age;

/// Of the time that there is for the end, the part that may go into waiting for clients who may have nothing to say.
const COURTESY: u32 = 4;

/// Tells all holders of its [`Draining`]s to end.
#[derive(Debug)]
pub struct Drain {
    phase: watch::Sender<Phase>,
    /// Closed once every `Draining` is gone.
    gone: mpsc::Receiver<()>,
    template: Draining,
}

/// Held by everything that must end before the server does.
#[derive(Debug, Clone)]
pub struct Draining {
    phase: watch::Receiver<Phase>,
    /// As the phase says, for those who ask with every request.
    parting: Arc<AtomicBool>,
    _alive: mpsc::Sender<()>,
}

#[derive(Debug, Clone, Copy)]
enum Phase {
    Serving,
    /// Everything is served, and clients are told to go elsewhere until then.
    Parting(Instant),
    /// What is in flight has this long.
    Ending(Duration),
}

impl Drain {
    /// Nothing drains yet.
    #[expect(clippy::new_without_default, reason = "a drain is a thing that happens once, not a value")]
    pub fn new() -> Self {
        let (phase, told) = watch::channel(Phase::Serving);
        let (alive, gone) = mpsc::channel(1);
        let template = Draining { phase: told, parting: Arc::default(), _alive: alive };
        Self { phase, gone, template }
    }

    /// For one more thing that must end first.
    pub fn draining(&self) -> Draining {
        self.template.clone()
    }

    /// From now on clients are told to go elsewhere; the end is to come after `delay`.
    pub fn part(&self, delay: Duration) {
        self.template.parting.store(true, Relaxed);
        self.phase.send_replace(Phase::Parting(Instant::now() + delay));
    }

    /// Tells everyone to end and waits for the last, at most `timeout`. `true` when all are gone.
    pub async fn drain(self, timeout: Duration) -> bool {
        let Self { phase, mut gone, template } = self;
        template.parting.store(true, Relaxed);
        drop(template);
        phase.send_replace(Phase::Ending(timeout));
        tokio::time::timeout(timeout, gone.recv()).await.is_ok()
    }
}

impl Draining {
    /// Ends when draining has begun.
    pub async fn started(&mut self) {
        // An error means that the `Drain` is gone, which is as good as told.
        let _ = self.phase.wait_for(|phase| matches!(phase, Phase::Ending(_))).await;
    }

    /// Whether draining has begun.
    pub fn has_started(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Ending(_))
    }

    /// Whether clients are to go elsewhere: draining has begun, or will soon.
    pub(super) fn is_parting(&self) -> bool {
        self.parting.load(Relaxed)
    }

    /// Ends when it is this holder's turn to send its client elsewhere, at the latest when draining begins. Each has a
    /// turn of its own in the time that is left, so that not all of them come back at once.
    pub(super) async fn parted(&mut self) {
        let parting = self.phase.wait_for(|phase| !matches!(phase, Phase::Serving)).await.map(|phase| *phase);
        if let Ok(Phase::Parting(end)) = parting {
            let left = end.saturating_duration_since(Instant::now());
            tokio::select! {
                () = tokio::time::sleep(left.mul_f64(age::random())) => {}
                () = self.started() => {}
            }
        }
    }

    /// How long to wait for a client who may have nothing to say: `most`, or less where the server has little time.
    pub(super) fn patience(&self, most: Duration) -> Duration {
        match *self.phase.borrow() {
            Phase::Ending(timeout) => most.min(timeout / COURTESY),
            Phase::Serving | Phase::Parting(_) => most,
        }
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
        assert!(holder.has_started() && holder.is_parting());
    }

    #[tokio::test(start_paused = true)]
    async fn clients_part_one_by_one_before_the_end() {
        let (drain, delay) = (Drain::new(), Duration::from_secs(1000));
        let holder = drain.draining();
        assert!(!holder.is_parting());
        let start = Instant::now();
        let turns = (0..100).map(|_| {
            let mut holder = drain.draining();
            tokio::spawn(async move {
                holder.parted().await;
                assert!(!holder.has_started());
                start.elapsed().as_secs()
            })
        });
        let turns: Vec<_> = turns.collect();
        tokio::task::yield_now().await;
        assert!(turns.iter().all(|turn| !turn.is_finished()));
        drain.part(delay);
        assert!(holder.is_parting() && !holder.has_started());
        let mut at = Vec::new();
        for turn in turns {
            at.push(turn.await.unwrap());
        }
        assert!(at.iter().all(|at| *at <= 1000));
        assert!(at.iter().any(|at| *at < 400) && at.iter().any(|at| *at > 600), "{at:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_comes_before_the_turn() {
        for delay in [None, Some(Duration::from_secs(1 << 30))] {
            let drain = Drain::new();
            let mut holder = drain.draining();
            let parted = tokio::spawn(async move {
                holder.parted().await;
                holder.has_started()
            });
            delay.into_iter().for_each(|delay| drain.part(delay));
            tokio::task::yield_now().await;
            assert!(!parted.is_finished());
            assert!(drain.drain(Duration::from_secs(1)).await);
            assert!(parted.await.unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn little_time_leaves_little_patience() {
        for (timeout, expected) in [(60, 1000), (4, 1000), (2, 500), (0, 0)] {
            let drain = Drain::new();
            let holder = drain.draining();
            assert_eq!(holder.patience(Duration::from_secs(1)).as_millis(), 1000);
            assert!(!drain.drain(Duration::from_secs(timeout)).await);
            assert_eq!(holder.patience(Duration::from_secs(1)).as_millis(), expected, "{timeout}");
        }
    }
}
