//! The schedulers that a config can choose, behind the methods that they have in common. What they do is theirs.

use nereid_core::config::Scheduling;
use nereid_core::{Responder, Result, ValidRequest};

use crate::batching::BatchScheduler;
use crate::ticket::{Place, Ticket};
use crate::{Queued, SchedulerOptions};

/// A scheduler of one of the kinds. Shared with the requests that may have to be queued again.
pub(crate) enum Kind {
    Batching(BatchScheduler),
}

impl Kind {
    /// See [`crate::Scheduler::start`].
    pub(crate) fn start(options: SchedulerOptions) -> Result<Self> {
        match options.config.scheduling {
            Scheduling::Default | Scheduling::DynamicBatching(_) => {
                BatchScheduler::start(options).map(Self::Batching)
            }
        }
    }

    /// See [`crate::Scheduler::enqueue`].
    pub(crate) fn enqueue(&self, request: ValidRequest, responder: Responder) -> Result<Queued> {
        match self {
            Self::Batching(scheduler) => scheduler.enqueue(request, responder),
        }
    }

    /// See [`crate::Scheduler::cancel`]. A ticket that another scheduler gave names nothing here.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        match (self, ticket.0) {
            (Self::Batching(scheduler), Place::Batching(ticket)) => scheduler.cancel(ticket),
        }
    }

    /// See [`crate::Scheduler::pending`].
    pub(crate) fn pending(&self) -> usize {
        match self {
            Self::Batching(scheduler) => scheduler.pending(),
        }
    }

    /// See [`crate::Scheduler::release_held`].
    pub(crate) fn release_held(&self) {
        match self {
            Self::Batching(scheduler) => scheduler.release_held(),
        }
    }

    /// See [`crate::Scheduler::stop`].
    pub(crate) fn stop(&self) {
        match self {
            Self::Batching(scheduler) => scheduler.stop(),
        }
    }

    /// See [`crate::Scheduler::join`].
    pub(crate) fn join(&self) {
        match self {
            Self::Batching(scheduler) => scheduler.join(),
        }
    }
}
