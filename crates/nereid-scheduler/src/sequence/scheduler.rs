//! The sequence batcher as others see it: started with instances, given requests, stopped. What happens in between is in
//! `shared`.

use std::sync::Arc;

use nereid_core::config::SequenceBatching;
use nereid_core::{Responder, Result, Timestamp, ValidRequest};

use super::shared::Shared;
use super::{reaper, worker};
use crate::batching::queue::{self, Entry};
use crate::threads::Threads;
use crate::ticket::{Place, Ticket};
use crate::{Queued, SchedulerOptions};

/// Sequences and instances of one version of a model.
///
/// Dropping it refuses nothing that was accepted: its threads finish what waits, then end.
pub(crate) struct SequenceScheduler {
    shared: Arc<Shared>,
    threads: Threads,
}

impl SequenceScheduler {
    /// Starts one thread per instance, and one that watches the time.
    ///
    /// # Errors
    /// The system refuses a thread, or an instance needs more than the rate limiter has.
    pub(crate) fn start(options: SchedulerOptions, batching: SequenceBatching) -> Result<Self> {
        let limiter = options.rate_limiter.clone();
        let (shared, instances) = Shared::new(options, batching);
        let threads = Threads::of(&shared.config.name);
        let scheduler = Self { shared: Arc::new(shared), threads };
        if let Some(limiter) = limiter {
            scheduler.shared.register(&limiter)?;
        }
        for (number, active) in instances.into_iter().enumerate() {
            let body = move |shared: &Arc<Shared>| worker::run(shared, number, active);
            scheduler.spawn(format!("sequence-{number}"), body)?;
        }
        scheduler.spawn("reaper".to_owned(), reaper::run)?;
        Ok(scheduler)
    }

    fn spawn(&self, name: String, body: impl FnOnce(&Arc<Shared>) + Send + 'static) -> Result<()> {
        let shared = self.shared.clone();
        self.threads.spawn(name, move || body(&shared))
    }

    /// See [`crate::Scheduler::enqueue`].
    pub(crate) fn enqueue(&self, request: ValidRequest, responder: Responder) -> Result<Queued> {
        let ticket = self.shared.enqueue(Entry::new(request, responder, Timestamp::now()))?;
        Ok(Queued { ticket: Ticket(Place::Sequence(ticket)), lead: None })
    }

    /// See [`crate::Scheduler::cancel`].
    pub(crate) fn cancel(&self, ticket: queue::Ticket) {
        self.shared.cancel(ticket);
    }

    /// See [`crate::Scheduler::pending`].
    pub(crate) fn pending(&self) -> usize {
        self.shared.state.lock().sequencer.pending()
    }

    /// See [`crate::Scheduler::release_held`].
    pub(crate) fn release_held(&self) {
        self.shared.release_held();
    }

    /// See [`crate::Scheduler::stop_waiting`].
    pub(crate) fn stop_waiting(&self) {
        self.shared.stop_waiting();
    }

    /// See [`crate::Scheduler::retire`].
    pub(crate) fn retire(&self) {
        self.shared.retire();
    }

    /// See [`crate::Scheduler::stop`].
    pub(crate) fn stop(&self) {
        self.shared.stop();
    }

    /// See [`crate::Scheduler::join`].
    pub(crate) fn join(&self) {
        self.shared.close();
        self.threads.join();
    }
}

impl Drop for SequenceScheduler {
    fn drop(&mut self) {
        self.shared.close();
    }
}
