//! One version's scheduler as others see it, whatever its kind: started, given requests, stopped.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use nereid_core::backend::Instance;
use nereid_core::config::Ensemble;
use nereid_core::{ModelConfig, Responder, Result, ValidRequest};

use crate::cache::{Cached, Front, ModelIdentity, ResponseCache};
use crate::ensemble::{ComposingModels, EnsembleScheduler};
use crate::kind::Kind;
use crate::ticket::Place;
use crate::{Lead, RateLimiter, Statistics, Ticket};

/// What a scheduler is made of.
pub struct SchedulerOptions {
    pub config: Arc<ModelConfig>,
    /// Instances that take requests; passive ones stay out.
    pub instances: Vec<ActiveInstance>,
    /// Hold the first batch of a dynamic or sequence batcher until this many requests wait; 0 for normal service. A test
    /// hook of Triton's (`TRITONSERVER_DELAY_SCHEDULER`).
    pub delay_until_queued: usize,
    /// Of a model with sequences, hold until so many wait in the backlog besides; another such hook
    /// (`TRITONSERVER_BACKLOG_DELAY_SCHEDULER`).
    pub delay_until_backlogged: usize,
    /// Where it counts: those of the scheduler that it takes over from, or new ones.
    pub statistics: Arc<Statistics>,
    /// What decides with the schedulers of other models whose instances run, if anything does.
    pub rate_limiter: Option<Arc<RateLimiter>>,
}

/// An instance that takes requests.
pub struct ActiveInstance {
    pub instance: Box<dyn Instance>,
    /// Where its executions count: [`crate::Reporters::of_gpu`]; `None` means where all else of its version does.
    pub statistics: Option<Arc<Statistics>>,
}

/// What stands between the valid requests to one version of a model and its instances.
///
/// Dropping it refuses nothing that was accepted: its threads finish what waits, then end.
pub struct Scheduler {
    config: Arc<ModelConfig>,
    statistics: Arc<Statistics>,
    /// Shared with what may have to queue a request again.
    kind: Arc<Kind>,
    /// Of the model that was loaded, where there is a cache.
    identity: Option<ModelIdentity>,
    cached: Option<Arc<Cached>>,
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
    /// Starts the scheduler that the config chooses.
    ///
    /// # Errors
    /// The system refuses a thread; an instance could never get the resources that it needs.
    pub fn start(options: SchedulerOptions) -> Result<Self> {
        let (config, statistics) = (options.config.clone(), options.statistics.clone());
        let kind = Arc::new(Kind::start(options)?);
        Ok(Self { config, statistics, kind, identity: None, cached: None })
    }

    /// The scheduler of an ensemble, which has no instances of its own: `composing` knows its models.
    pub fn of_ensemble(
        config: Arc<ModelConfig>,
        ensemble: Ensemble,
        composing: Arc<dyn ComposingModels>,
        statistics: Arc<Statistics>,
    ) -> Self {
        let scheduler = EnsembleScheduler::new(config.clone(), ensemble, composing, statistics.clone());
        let kind = Arc::new(Kind::Ensemble(scheduler));
        Self { config, statistics, kind, identity: None, cached: None }
    }

    /// With a response cache, which is used if the config says so; ensembles of this model may use it in any case.
    #[must_use]
    pub fn with_cache(mut self, cache: Arc<ResponseCache>, identity: ModelIdentity) -> Self {
        let (config, statistics) = (&self.config, &self.statistics);
        self.cached = config.response_cache.then(|| {
            let front = Front { config: config.clone(), statistics: statistics.clone(), identity };
            Arc::new(Cached::new(front, self.kind.clone(), cache))
        });
        self.identity = Some(identity);
        self
    }

    /// What tells the model, and all that it is made of at the moment, from others. `None` without a cache, or if a part
    /// of it is not ready.
    pub(crate) fn identity(&self) -> Option<ModelIdentity> {
        self.kind.identity(self.identity?)
    }

    /// Queues a request; its answer goes to `responder`.
    ///
    /// # Errors
    /// `Unavailable`: the queue is full, or the scheduler stops. The responder is let go unanswered, and
    /// nothing is counted.
    pub fn enqueue(&self, request: ValidRequest, responder: Responder) -> Result<Queued> {
        match &self.cached {
            None => self.kind.enqueue(request, responder),
            Some(cached) => cached.enqueue(request, responder),
        }
    }

    /// Nobody waits for the request of `ticket` any more. If it waits in the queue it leaves it at once, is
    /// counted as CANCELED and answered `Cancelled`. If it runs it counts as what becomes of its batch; when
    /// nobody waits for any part of the batch, the instance is told to stop. Of an ensemble's request, every step that
    /// waits or runs is cancelled, and no other starts. Otherwise nothing happens.
    ///
    /// A request of a sequence takes those with it that wait behind it, and ends the sequence; a batch of sequences is
    /// never told to stop.
    ///
    /// Blocks no longer than [`Self::enqueue`] does.
    pub fn cancel(&self, ticket: Ticket) {
        match (&self.cached, &ticket.0) {
            (Some(cached), Place::Flight(seat)) => cached.cancel(*seat),
            _ => self.kind.cancel(ticket),
        }
    }

    /// Counters of this version.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.statistics
    }

    /// Requests that wait for an instance.
    pub fn pending(&self) -> usize {
        self.kind.pending()
    }

    /// Ends the wait for [`SchedulerOptions::delay_until_queued`] requests.
    pub fn release_held(&self) {
        self.kind.release_held();
    }

    /// Hardly any requests will come any more: those that are there, and those that come all the same, run without
    /// waiting for company.
    pub fn stop_waiting(&self) {
        self.kind.stop_waiting();
    }

    /// Nobody finds this version any more: as [`Self::stop_waiting`], and a sequence that cannot go on makes room for those
    /// that wait.
    pub fn retire(&self) {
        self.kind.retire();
    }

    /// Refuses new requests; those already queued run, without waiting for company.
    pub fn stop(&self) {
        self.kind.stop();
    }

    /// Refuses new requests, and where those in flight need other models waits for them, for at most `timeout`: so
    /// that these models can be stopped after it.
    pub fn finish(&self, timeout: Duration) {
        self.kind.finish(timeout);
    }

    /// Finishes what was accepted, refuses the rest, waits, however long it takes, until the threads have ended,
    /// and frees the instances. Must not be called on a thread of the scheduler or while this thread has a lead.
    pub fn join(&self) {
        self.kind.join();
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.kind.stop();
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("model", &self.config.name).finish_non_exhaustive()
    }
}

/// Counts where all else of its version does.
impl From<Box<dyn Instance>> for ActiveInstance {
    fn from(instance: Box<dyn Instance>) -> Self {
        Self { instance, statistics: None }
    }
}

impl fmt::Debug for ActiveInstance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveInstance").field("statistics", &self.statistics).finish_non_exhaustive()
    }
}

impl fmt::Debug for SchedulerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerOptions").field("model", &self.config.name).finish_non_exhaustive()
    }
}
