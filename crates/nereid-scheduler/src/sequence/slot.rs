//! One place for a sequence on one instance: who holds it, which requests wait in it, and the state that the next one
//! gets.

use std::collections::VecDeque;

use nereid_core::config::StateTensor;
use nereid_core::{CorrelationId, Timestamp};

use crate::batching::queue::Entry;

/// Which slot of which instance. In this order free ones are given away: the first slots of all instances first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) slot: usize,
    pub(crate) instance: usize,
}

/// A place for one sequence at a time.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    pub(crate) holder: Option<Holder>,
    /// Requests that no batch and no list of an instance has taken yet.
    pub(crate) queue: VecDeque<Entry>,
    /// A request from here is ready or runs, and whatever comes next waits for its end. Only with the oldest strategy.
    pub(crate) in_flight: bool,
    /// What the last request left behind; empty before that.
    pub(crate) states: Vec<StateTensor>,
}

/// The sequence that holds a slot.
#[derive(Debug)]
pub(crate) struct Holder {
    /// Unique among all sequences of the model.
    pub(crate) number: u64,
    pub(crate) id: CorrelationId,
    /// More of its requests may come.
    pub(crate) open: bool,
    /// When the last one came.
    pub(crate) last: Timestamp,
    /// When to look next whether it is idle.
    pub(crate) watched: Timestamp,
}

impl Slot {
    /// Whether sequence `number` holds it.
    pub(crate) fn is_held_by(&self, number: u64) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.number == number)
    }

    /// Whether nothing is there that its sequence has sent.
    pub(crate) fn is_unused(&self) -> bool {
        self.queue.is_empty() && !self.in_flight
    }

    /// Whether its sequence has ended and left nothing behind.
    pub(crate) fn is_done(&self) -> bool {
        self.is_unused() && self.holder.as_ref().is_some_and(|holder| !holder.open)
    }
}
