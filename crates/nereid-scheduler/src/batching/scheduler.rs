//! The default scheduler and the dynamic batcher as others see them: started with instances, given requests,
//! stopped. What happens in between is in `shared`.

use std::sync::Arc;

use nereid_core::{Responder, Result, Timestamp, ValidRequest};

use super::queue::{self, Entry};
use super::shared::Shared;
use super::{timer, worker};
use crate::threads::Threads;
use crate::ticket::{Place, Ticket};
use crate::{Queued, SchedulerOptions};

/// Queue, batcher and instances of one version of a model.
///
/// Dropping it refuses nothing that was accepted: its threads finish the queue, then end.
pub(crate) struct BatchScheduler {
    shared: Arc<Shared>,
    threads: Threads,
}

impl BatchScheduler {
    /// Starts one thread per instance.
    ///
    /// # Errors
    /// The system refuses a thread; an instance could never get the resources that it needs.
    pub(crate) fn start(options: SchedulerOptions) -> Result<Self> {
        let workers = options.instances.len();
        let rate_limiter = options.rate_limiter.clone();
        let shared = Arc::new(Shared::new(options));
        if let Some(limiter) = rate_limiter {
            Shared::register(&shared, &limiter)?;
        }
        let threads = Threads::of(&shared.config.name);
        let scheduler = Self { shared, threads };
        for i in 0..workers {
            scheduler.spawn(format!("instance-{i}"), worker::run)?;
        }
        if scheduler.shared.has_timeouts() {
            scheduler.spawn("queue-timer".to_owned(), timer::run)?;
        }
        Ok(scheduler)
    }

    fn spawn(&self, name: String, body: fn(Arc<Shared>)) -> Result<()> {
        let shared = self.shared.clone();
        self.threads.spawn(name, move || body(shared))
    }

    /// See [`crate::Scheduler::enqueue`].
    pub(crate) fn enqueue(&self, request: ValidRequest, responder: Responder) -> Result<Queued> {
        let entry = Entry::new(request, responder, Timestamp::now());
        let (ticket, lead) = Shared::enqueue(&self.shared, entry)?;
        Ok(Queued { ticket: Ticket(Place::Batching(ticket)), lead })
    }

    /// See [`crate::Scheduler::cancel`].
    pub(crate) fn cancel(&self, ticket: queue::Ticket) {
        self.shared.cancel(ticket);
    }

    /// Whether any request waits or runs.
    pub(crate) fn is_busy(&self) -> bool {
        self.shared.is_busy()
    }

    /// See [`crate::Scheduler::pending`].
    pub(crate) fn pending(&self) -> usize {
        self.shared.state.lock().queue.len()
    }

    /// See [`crate::Scheduler::release_held`].
    pub(crate) fn release_held(&self) {
        self.shared.release_held();
    }

    /// See [`crate::Scheduler::stop_waiting`].
    pub(crate) fn stop_waiting(&self) {
        self.shared.stop_waiting();
    }

    /// See [`crate::Scheduler::stop`].
    pub(crate) fn stop(&self) {
        self.shared.stop();
    }

    /// See [`crate::Scheduler::join`].
    pub(crate) fn join(&self) {
        self.shared.stop();
        self.threads.join();
        self.shared.close();
    }
}

impl Drop for BatchScheduler {
    fn drop(&mut self) {
        self.shared.stop();
    }
}
