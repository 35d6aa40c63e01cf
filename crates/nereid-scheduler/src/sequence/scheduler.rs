//! The sequence batcher as others see it: started with instances, given requests, stopped. What happens in between is in
//! `shared`.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nereid_core::config::SequenceBatching;
use nereid_core::{Error, Responder, Result, Timestamp, ValidRequest};
use parking_lot::Mutex;

use super::shared::Shared;
use super::{reaper, worker};
use crate::batching::queue::{self, Entry};
use crate::ticket::{Place, Ticket};
use crate::{Queued, SchedulerOptions};

/// Sequences and instances of one version of a model.
///
/// Dropping it refuses nothing that was accepted: its threads finish what waits, then end.
pub(crate) struct SequenceScheduler {
    shared: Arc<Shared>,
    /// Until they are waited for.
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl SequenceScheduler {
    /// Starts one thread per instance, and one that watches the time.
    ///
    /// # Errors
    /// The system refuses a thread, or an instance needs more than the rate limiter has.
    pub(crate) fn start(options: SchedulerOptions, batching: SequenceBatching) -> Result<Self> {
        let limiter = options.rate_limiter.clone();
        let (shared, instances) = Shared::new(options, batching);
        let scheduler = Self { shared: Arc::new(shared), threads: Mutex::default() };
        if let Some(limiter) = limiter {
            scheduler.shared.register(&limiter)?;
        }
        for (number, instance) in instances.into_iter().enumerate() {
            let body = move |shared: &Arc<Shared>| worker::run(shared, number, instance);
            scheduler.spawn(&format!("sequence-{number}"), body)?;
        }
        scheduler.spawn("reaper", reaper::run)?;
        Ok(scheduler)
    }

    fn spawn(&self, name: &str, body: impl FnOnce(&Arc<Shared>) + Send + 'static) -> Result<()> {
        let shared = self.shared.clone();
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || body(&shared));
        let thread = spawned.map_err(|e| {
            Error::internal(format!("failed to start a thread for model '{}': {e}", self.shared.config.name))
        })?;
        self.threads.lock().push(thread);
        Ok(())
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
        let threads = std::mem::take(&mut *self.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!(model = self.shared.config.name, "a thread of the scheduler panicked");
            }
        }
    }
}

impl Drop for SequenceScheduler {
    fn drop(&mut self) {
        self.shared.close();
    }
}
