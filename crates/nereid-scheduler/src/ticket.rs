//! What names a request after it was queued, whichever scheduler has it.

use crate::batching::queue;

/// Names a request that was queued, also after it was answered. See [`crate::Scheduler::cancel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(pub(crate) Place);

/// Who has the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Batching(queue::Ticket),
}
