//! The schedulers that a config can choose, behind the methods that they have in common. What they do is theirs.

use std::time::Duration;

use nereid_core::config::Scheduling;
use nereid_core::{Error, Responder, Result, ValidRequest};

use crate::batching::BatchScheduler;
use crate::cache::ModelIdentity;
use crate::ensemble::EnsembleScheduler;
use crate::sequence::SequenceScheduler;
use crate::ticket::{Place, Ticket};
use crate::{Queued, SchedulerOptions};

/// A scheduler of one of the kinds. Shared with the requests that may have to be queued again.
pub(crate) enum Kind {
    Batching(BatchScheduler),
    Ensemble(EnsembleScheduler),
    Sequence(SequenceScheduler),
}

impl Kind {
    /// See [`crate::Scheduler::start`].
    pub(crate) fn start(options: SchedulerOptions) -> Result<Self> {
        match &options.config.scheduling {
            Scheduling::Default | Scheduling::DynamicBatching(_) => {
                BatchScheduler::start(options).map(Self::Batching)
            }
            Scheduling::Ensemble(_) => {
                let name = &options.config.name;
                Err(Error::internal(format!("ensemble '{name}' has no instances to start")))
            }
            Scheduling::Sequence(batching) => {
                let batching = batching.clone();
                SequenceScheduler::start(options, batching).map(Self::Sequence)
            }
        }
    }

    /// See [`crate::Scheduler::enqueue`].
    pub(crate) fn enqueue(&self, request: ValidRequest, responder: Responder) -> Result<Queued> {
        match self {
            Self::Batching(scheduler) => scheduler.enqueue(request, responder),
            Self::Ensemble(scheduler) => scheduler.enqueue(request, responder),
            Self::Sequence(scheduler) => scheduler.enqueue(request, responder),
        }
    }

    /// See [`crate::Scheduler::cancel`]. A ticket that another scheduler gave names nothing here.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        match (self, ticket.0) {
            (Self::Batching(scheduler), Place::Batching(ticket)) => scheduler.cancel(ticket),
            (Self::Sequence(scheduler), Place::Sequence(ticket)) => scheduler.cancel(ticket),
            (Self::Ensemble(_), Place::Ensemble(request)) => {
                if let Some(request) = request.upgrade() {
                    request.cancel();
                }
            }
            _ => {}
        }
    }

    /// What tells a model whose own identity is `own`, with all that it is made of, from others. `None` if a part of it is
    /// not ready.
    pub(crate) fn identity(&self, own: ModelIdentity) -> Option<ModelIdentity> {
        match self {
            Self::Batching(_) => Some(own),
            Self::Ensemble(scheduler) => scheduler.identity(own),
            Self::Sequence(_) => None, // its answers depend on what came before
        }
    }

    /// Whether any request waits or runs.
    pub(crate) fn is_busy(&self) -> bool {
        match self {
            Self::Batching(scheduler) => scheduler.is_busy(),
            Self::Ensemble(_) | Self::Sequence(_) => false, // nobody asks: no order is kept before a cache
        }
    }

    /// See [`crate::Scheduler::pending`].
    pub(crate) fn pending(&self) -> usize {
        match self {
            Self::Batching(scheduler) => scheduler.pending(),
            Self::Ensemble(_) => 0, // they wait for instances of other models, and count there
            Self::Sequence(scheduler) => scheduler.pending(),
        }
    }

    /// See [`crate::Scheduler::release_held`].
    pub(crate) fn release_held(&self) {
        match self {
            Self::Batching(scheduler) => scheduler.release_held(),
            Self::Ensemble(_) => {}
            Self::Sequence(scheduler) => scheduler.release_held(),
        }
    }

    /// See [`crate::Scheduler::stop_waiting`].
    pub(crate) fn stop_waiting(&self) {
        match self {
            Self::Batching(scheduler) => scheduler.stop_waiting(),
            Self::Sequence(scheduler) => scheduler.stop_waiting(),
            Self::Ensemble(_) => {} // its steps wait in other models
        }
    }

    /// See [`crate::Scheduler::retire`].
    pub(crate) fn retire(&self) {
        match self {
            Self::Sequence(scheduler) => scheduler.retire(),
            Self::Batching(_) | Self::Ensemble(_) => self.stop_waiting(),
        }
    }

    /// See [`crate::Scheduler::stop`].
    pub(crate) fn stop(&self) {
        match self {
            Self::Batching(scheduler) => scheduler.stop(),
            Self::Sequence(scheduler) => scheduler.stop(),
            Self::Ensemble(scheduler) => scheduler.stop(),
        }
    }

    /// See [`crate::Scheduler::finish`].
    pub(crate) fn finish(&self, timeout: Duration) {
        match self {
            Self::Ensemble(scheduler) => scheduler.finish(timeout),
            Self::Batching(scheduler) => scheduler.stop(),
            Self::Sequence(scheduler) => scheduler.stop(),
        }
    }

    /// See [`crate::Scheduler::join`].
    pub(crate) fn join(&self) {
        match self {
            Self::Batching(scheduler) => scheduler.join(),
            Self::Ensemble(scheduler) => scheduler.join(),
            Self::Sequence(scheduler) => scheduler.join(),
        }
    }
}
