//! What names a request after it was queued, whichever scheduler has it.

use std::sync::Weak;

use crate::batching::queue;
use crate::cache::Seat;
use crate::ensemble::Request;

/// Names a request that was queued, also after it was answered, and keeps nothing of it alive. See
/// [`crate::Scheduler::cancel`].
#[derive(Debug, Clone)]
pub struct Ticket(pub(crate) Place);

/// Who has the request.
#[derive(Debug, Clone)]
pub(crate) enum Place {
    Batching(queue::Ticket),
    Ensemble(Weak<Request>),
    Sequence(queue::Ticket),
    /// The cache, until there is an answer for it and all that wait with it.
    Flight(Seat),
    /// Nobody: it was answered at once.
    Answered,
}
