//! One model's scheduler as others see it: started with instances, given requests, stopped. What happens in
//! between is in `shared`.

use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nereid_core::backend::Instance;
use nereid_core::{Error, ModelConfig, Responder, Result, Timestamp, ValidRequest};

use crate::lead::Lead;
use crate::queue::{Entry, Ticket};
use crate::shared::Shared;
use crate::statistics::Statistics;
use crate::{timer, worker};

/// What a scheduler is made of.
pub struct SchedulerOptions {
    pub config: Arc<ModelConfig>,
    /// Instances that take requests; passive ones stay out.
    pub instances: Vec<Box<dyn Instance>>,
    /// Hold the first batch until this many requests wait; 0 for normal service. A test hook of
    /// Triton's (`TRITONSERVER_DELAY_SCHEDULER`).
    pub delay_until_queued: usize,
    /// Where it counts: those of the scheduler that it takes over from, or new ones.
    pub statistics: Arc<Statistics>,
}

/// Queue, batcher and instances of one version of a model.
///
/// Dropping it refuses nothing that was accepted: its threads finish the queue, then end.
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// A request that was accepted: its responder will get exactly one answer.
#[derive(Debug)]
#[must_use = "a lead that is dropped at once costs a wake-up"]
pub struct Queued {
    /// By which the request is cancelled.
    pub ticket: Ticket,
    /// When there is one the model is fast and idle: the caller is asked to run it on its own thread, after it
    /// has let other requests that are already there arrive. Dropping it hands the work to the instances'
    /// threads.
    pub lead: Option<Lead>,
}

impl Scheduler {
    /// Starts one thread per instance.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(options: SchedulerOptions) -> Result<Self> {
        let workers = options.instances.len();
        let shared = Arc::new(Shared::new(options));
        let mut scheduler = Self { shared, threads: Vec::with_capacity(workers + 1) };
        for i in 0..workers {
            scheduler.spawn(&format!("instance-{i}"), worker::run)?;
        }
        if scheduler.shared.has_timeouts() {
            scheduler.spawn("queue-timer", timer::run)?;
        }
        Ok(scheduler)
    }

    fn spawn(&mut self, name: &str, body: fn(Arc<Shared>)) -> Result<()> {
        let shared = self.shared.clone();
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || body(shared));
        let thread = spawned.map_err(|e| {
            Error::internal(format!("failed to start a thread for model '{}': {e}", self.shared.config.name))
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Queues a request; its answer goes to `responder`.
    ///
    /// # Errors
    /// `Unavailable`: the queue is full, or the scheduler stops. The responder is let go unanswered, and
    /// nothing is counted.
    pub fn enqueue(&self, request: ValidRequest, responder: Responder) -> Result<Queued> {
        let entry = Entry::new(request, responder, Timestamp::now());
        let (ticket, lead) = Shared::enqueue(&self.shared, entry)?;
        Ok(Queued { ticket, lead })
    }

    /// Nobody waits for the request of `ticket` any more. If it waits in the queue it leaves it at once, is
    /// counted as CANCELED and answered `Cancelled`. If it runs it counts as what becomes of its batch; when
    /// nobody waits for any part of the batch, the instance is told to stop. Otherwise nothing happens.
    ///
    /// Blocks no longer than [`Self::enqueue`] does.
    pub fn cancel(&self, ticket: Ticket) {
        self.shared.cancel(ticket);
    }

    /// Counters of this version.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.shared.statistics
    }

    /// Requests that wait for an instance.
    pub fn pending(&self) -> usize {
        self.shared.state.lock().queue.len()
    }

    /// Refuses new requests; those already queued run, without waiting for company.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Finishes what was accepted, refuses the rest, waits, however long it takes, until the threads have ended,
    /// and frees the instances. Must not be called on a thread of the scheduler or while this thread has a lead.
    pub fn join(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(model = self.shared.config.name, "a thread of the scheduler panicked");
            }
        }
        self.shared.close();
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("model", &self.shared.config.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for SchedulerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerOptions").field("model", &self.config.name).finish_non_exhaustive()
    }
}
