//! What an instance of a model with sequences runs next, and what becomes of it: the other half of the [`Sequencer`].
//! Pure, like the first.

use nereid_core::config::Strategy;
use nereid_core::{InferResponse, Responder, Result, Timestamp};

use super::direct::{self, Decision};
use super::sequencer::Sequencer;
use super::slot::Place;
use crate::batching::batcher;
use crate::batching::queue::Entry;

/// Where a request of a batch comes from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seat {
    pub(super) slot: usize,
    /// Of the sequence; `None` for a null request.
    pub(super) number: Option<u64>,
}

/// A batch: requests, and where each comes from.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) entries: Vec<Entry>,
    pub(crate) seats: Vec<Seat>,
}

/// What an instance is to do.
#[derive(Debug)]
pub(crate) enum Plan {
    /// Nothing, until told.
    Idle,
    /// Look again then, or when told.
    Wait { until: Timestamp },
    /// Run the first `slots` slots, with what goes together with slot `leader`.
    Rows { leader: usize, slots: usize },
    /// Run so many of the requests that are ready.
    Ready { requests: usize },
}

impl Sequencer {
    /// What `instance`, which runs nothing, is to do at `now`.
    pub(crate) fn plan(&mut self, instance: usize, now: Timestamp) -> Plan {
        self.woken.retain(|woken| *woken != instance);
        if self.is_held(instance) {
            return Plan::Idle;
        }
        let judged = if self.hurried { Timestamp::from_ns(u64::MAX) } else { now };
        match &self.batching.strategy {
            Strategy::Direct(rule) => {
                match direct::decide(*rule, &self.slots[instance], self.capacity, judged) {
                    Decision::Idle => Plan::Idle,
                    Decision::Wait { until } => Plan::Wait { until },
                    Decision::Run { leader, slots } => Plan::Rows { leader, slots },
                }
            }
            Strategy::Oldest(_) => match self.ready[instance].decide(&self.batcher, judged) {
                batcher::Decision::Idle => Plan::Idle,
                batcher::Decision::Wait { until, .. } => Plan::Wait { until },
                batcher::Decision::Run { requests } => Plan::Ready { requests },
            },
        }
    }

    /// Takes the batch of a plan that was just made.
    pub(crate) fn carry_out(&mut self, instance: usize, plan: &Plan, now: Timestamp) -> Option<Job> {
        match *plan {
            Plan::Idle | Plan::Wait { .. } => None,
            Plan::Rows { leader, slots } => Some(self.rows(instance, leader, slots, now)),
            Plan::Ready { requests } => {
                let (entries, seats) = self.ready[instance].take(requests);
                Some(Job { entries, seats })
            }
        }
    }

    /// The batch of the first `count` slots: the next request of each that goes together with that of slot `leader`, and
    /// null requests for the others.
    fn rows(&mut self, instance: usize, leader: usize, count: usize, now: Timestamp) -> Job {
        let first = self.take(Place { slot: leader, instance }).expect("the leader has a request");
        let mut rows: Vec<Option<Entry>> = (0..count).map(|_| None).collect();
        let mut seats = Vec::with_capacity(count);
        for (slot, row) in rows.iter_mut().enumerate() {
            let place = Place { slot, instance };
            let number = self.slot(place).holder.as_ref().map(|holder| holder.number);
            if slot != leader {
                *row = self.take(place);
                if let Some(other) = row.take_if(|other| !self.batcher.joins(&first.request, &other.request))
                {
                    self.put_back(place, other);
                }
            }
            let filled = slot == leader || row.is_some();
            seats.push(Seat { slot, number: number.filter(|_| filled) });
        }
        let mut entries = Vec::with_capacity(count);
        for (slot, row) in rows.into_iter().enumerate() {
            entries.push(match row {
                Some(entry) => entry,
                None => self.injector.null(&first.request, now),
            });
            let place = Place { slot, instance };
            self.settle(place);
        }
        entries[leader] = first;
        Job { entries, seats }
    }

    /// The next request of `place`, prepared.
    pub(super) fn take(&mut self, place: Place) -> Option<Entry> {
        let slot = &mut self.slots[place.instance][place.slot];
        let mut entry = slot.queue.pop_front()?;
        self.injector.prepare(&mut entry.request, &slot.states);
        Some(entry)
    }

    /// Undoes [`Self::take`].
    fn put_back(&mut self, place: Place, mut entry: Entry) {
        self.injector.withdraw(&mut entry.request);
        self.slot(place).queue.push_front(entry);
    }

    /// Books what became of a batch of `instance`: `answers` are those to the requests of `seats`. Takes the states out of
    /// them.
    pub(crate) fn complete(
        &mut self,
        instance: usize,
        seats: &[Seat],
        answers: &mut [(Responder, Result<InferResponse>)],
    ) {
        for (seat, (_, result)) in seats.iter().zip(answers) {
            let Some(number) = seat.number else { continue };
            let place = Place { slot: seat.slot, instance };
            let states = result.as_mut().map(|response| std::mem::take(&mut response.states));
            let iterative = self.batching.iterative;
            let slot = self.slot(place);
            slot.in_flight = false;
            if slot.is_held_by(number) {
                if let Ok(states) = states {
                    slot.states = states;
                }
                if iterative {
                    self.shut(place); // no backend asks to see a request again
                }
            }
            self.settle(place);
        }
    }

    /// Whether a test hook holds `instance` back.
    fn is_held(&mut self, instance: usize) -> bool {
        if !self.hold.holds(instance) {
            return false;
        }
        if matches!(self.batching.strategy, Strategy::Oldest(_)) {
            self.hold.release(instance, self.ready[instance].len());
        } else {
            let queued = self.slots.iter().flatten().map(|slot| slot.queue.len()).sum();
            self.hold.release_all(queued, self.backlog.len());
        }
        if !self.hold.holds(instance) {
            self.wake_all();
            self.woken.retain(|woken| *woken != instance);
        }
        self.hold.holds(instance)
    }
}

#[cfg(test)]
#[path = "batches_tests.rs"]
mod tests;
