//! The oldest strategy: requests that are ready on one instance, at most one of each sequence, and what a dynamic
//! batcher makes of them. Pure; `now` is an argument.

use std::collections::VecDeque;

use nereid_core::Timestamp;

use super::batches::Seat;
use crate::batching::batcher::{Batcher, Decision};
use crate::batching::queue::Entry;

/// Requests of one instance that may run at once.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    entries: VecDeque<Entry>,
    /// Where each comes from.
    seats: VecDeque<Seat>,
}

impl Ready {
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn push(&mut self, entry: Entry, seat: Seat) {
        self.entries.push_back(entry);
        self.seats.push_back(seat);
    }

    pub(crate) fn decide(&self, batcher: &Batcher, now: Timestamp) -> Decision {
        batcher.decide_among(self.entries.iter(), None, now)
    }

    /// Takes the first `count` requests.
    pub(crate) fn take(&mut self, count: usize) -> (Vec<Entry>, Vec<Seat>) {
        (self.entries.drain(..count).collect(), self.seats.drain(..count).collect())
    }

    /// Takes the request with this serial number, if it is here.
    pub(crate) fn remove(&mut self, serial: u64) -> Option<(Entry, Seat)> {
        let position = self.entries.iter().position(|entry| entry.serial == serial)?;
        Some((self.entries.remove(position)?, self.seats.remove(position)?))
    }
}
