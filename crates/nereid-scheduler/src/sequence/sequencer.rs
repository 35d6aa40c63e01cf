//! Which sequence holds which slot, and what its requests may do. What an instance runs next is in [`super::batches`].
//! Pure: told the time, asked for decisions, answers nobody.
//!
//! The rules are Triton's (`sequence_batch_scheduler.cc`). A sequence begins with a request that says so and gets the
//! lowest free slot, or joins the backlog; it holds the slot until its last request leaves it, it is idle for too long,
//! or one of its waiting requests is cancelled. Then the first sequence of the backlog gets the slot.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, HashMap};
use std::sync::Arc;

use nereid_core::config::{SequenceBatching, Strategy};
use nereid_core::{CorrelationId, Error, ModelConfig, Result, Timestamp, ValidRequest};

use super::admission::{self, Standing};
use super::backlog::{Backlog, Waiting};
use super::batches::Seat;
use super::hold::Hold;
use super::injector::Injector;
use super::oldest::Ready;
use super::slot::{Holder, Place, Slot};
use crate::batching::batcher::Batcher;
use crate::batching::queue::{Entry, Ticket};

/// All sequences of one version of a model.
#[derive(Debug)]
pub(crate) struct Sequencer {
    config: Arc<ModelConfig>,
    pub(super) batching: SequenceBatching,
    pub(super) batcher: Batcher,
    pub(super) injector: Injector,
    /// Slots of each instance, as many as have been used so far.
    pub(super) slots: Vec<Vec<Slot>>,
    /// Slots that each instance may have.
    pub(super) capacity: usize,
    /// Requests of each instance that may run; only with the oldest strategy.
    pub(super) ready: Vec<Ready>,
    /// Sequences that have a slot and may go on.
    assigned: HashMap<CorrelationId, Place>,
    /// Slots that were used and are free.
    free: BinaryHeap<Reverse<Place>>,
    pub(super) backlog: Backlog,
    /// When to look whether the sequence in a slot is idle. Looking early is allowed.
    watched: BTreeSet<(Timestamp, Place)>,
    pub(super) hold: Hold,
    next_serial: u64,
    next_number: u64,
    /// Id of the next iterative sequence.
    next_id: u64,
    /// Nothing is held back for company any more.
    pub(super) hurried: bool,
    stopping: bool,
    /// Hardly any request comes any more: a sequence without one makes room for those that have some.
    retired: bool,
    /// No request comes any more.
    closing: bool,
    /// Instances that have something new to look at, some of them more than once.
    pub(super) woken: Vec<usize>,
}

/// A request that is not accepted, and why.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) entry: Entry,
    pub(crate) error: Error,
}

impl Sequencer {
    /// Slots on `instances` instances for the sequences of `config`.
    pub(crate) fn new(
        config: Arc<ModelConfig>,
        batching: SequenceBatching,
        instances: usize,
        hold: Hold,
    ) -> Self {
        let capacity = match &batching.strategy {
            Strategy::Direct(_) => config.max_batch_size.max(1) as usize,
            Strategy::Oldest(oldest) => oldest.max_candidate_sequences,
        };
        Self {
            batcher: Batcher::new(&config),
            injector: Injector::new(config.clone()),
            slots: (0..instances).map(|_| Vec::new()).collect(),
            capacity,
            ready: (0..instances).map(|_| Ready::default()).collect(),
            assigned: HashMap::new(),
            free: BinaryHeap::new(),
            backlog: Backlog::default(),
            watched: BTreeSet::new(),
            hold,
            next_serial: 0,
            next_number: 0,
            next_id: 1,
            hurried: false,
            stopping: false,
            retired: false,
            closing: false,
            woken: Vec::new(),
            config,
            batching,
        }
    }

    /// Takes a request in.
    ///
    /// # Errors
    /// Triton's text for one that no sequence can take.
    pub(crate) fn enqueue(&mut self, mut entry: Entry) -> Result<Ticket, Box<Refused>> {
        if self.batching.iterative && admission::is_none(&entry.request.sequence().id) {
            entry.request.start_sequence(CorrelationId::Number(self.next_id));
            self.next_id += 1;
        }
        if let Err(error) = self.admit(&entry.request) {
            return Err(Box::new(Refused { entry, error }));
        }
        entry.serial = self.next_serial;
        self.next_serial += 1;
        let serial = entry.serial;
        let id = &entry.request.sequence().id;
        let number = if let Some(&place) = self.assigned.get(id) {
            self.join(place, entry)
        } else if let Some(number) = self.backlog.find(id) {
            self.backlog.join(number, entry);
            number
        } else {
            let number = self.next_number;
            self.next_number += 1;
            self.backlog.begin(number, entry);
            if let Some(place) = self.free_place() {
                self.fill(place);
                self.settle(place);
            } else if self.retired {
                self.settle_all();
            }
            number
        };
        if self.hold.is_on() {
            self.wake_all();
        }
        Ok(Ticket { serial, level: number })
    }

    fn admit(&self, request: &ValidRequest) -> Result<()> {
        admission::check(request, &self.config.name)?;
        let id = &request.sequence().id;
        let known = self.assigned.contains_key(id) || self.backlog.find(id).is_some();
        admission::admit(request, &self.config.name, Standing { known, stopping: self.stopping })
    }

    /// Adds `entry` to the sequence that holds `place`, whose number this returns.
    fn join(&mut self, place: Place, entry: Entry) -> u64 {
        let ends = entry.request.sequence().end;
        let slot = self.slot(place);
        let holder = slot.holder.as_mut().expect("an assigned slot has a holder");
        holder.last = entry.enqueued;
        let number = holder.number;
        slot.queue.push_back(entry);
        if ends {
            self.shut(place);
        }
        self.settle(place);
        number
    }

    /// Whoever has sent the request of `ticket` has gone: if it waits, it leaves, what waits behind it does, too, and the
    /// sequence is over. In the backlog, nothing of the sequence has run, so that all of it leaves.
    pub(crate) fn cancel(&mut self, ticket: Ticket) -> Vec<Entry> {
        if let Some(waiting) = self.backlog.remove(ticket.level) {
            return waiting.entries.into();
        }
        let mut cancelled = Vec::new();
        for instance in 0..self.slots.len() {
            if let Some((entry, seat)) = self.ready[instance].remove(ticket.serial) {
                let place = Place { slot: seat.slot, instance };
                self.slot(place).in_flight = false;
                cancelled.push(entry);
                if self.slot(place).is_held_by(ticket.level) {
                    cancelled.extend(self.slot(place).queue.drain(..));
                    self.shut(place);
                }
                self.settle(place);
                return cancelled;
            }
            let held = self.slots[instance].iter().position(|slot| slot.is_held_by(ticket.level));
            if let Some(slot) = held {
                let place = Place { slot, instance };
                let queue = &mut self.slot(place).queue;
                if let Ok(position) = queue.binary_search_by_key(&ticket.serial, |entry| entry.serial) {
                    cancelled.extend(queue.drain(position..));
                    self.shut(place);
                    self.settle(place);
                    return cancelled;
                }
            }
        }
        cancelled // it runs, or was answered a moment ago
    }

    /// Ends sequences that are idle at `now`, and takes the requests of those that wait for a slot for too long.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Entry> {
        while let Some(&(watched, place)) = self.watched.first()
            && watched <= now
        {
            let max_idle_us = self.batching.max_idle_us;
            let Some(holder) = &mut self.slot(place).holder else { break };
            let idle = holder.last.plus_us(max_idle_us);
            if idle > now {
                holder.watched = idle;
                self.watched.remove(&(watched, place));
                self.watched.insert((idle, place));
            } else {
                self.shut(place);
                self.settle(place);
            }
        }
        self.backlog.expire(now)
    }

    /// When to call [`Self::expire`] next.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        let idle = self.watched.first().map(|(watched, _)| *watched);
        [idle, self.backlog.next_expiry()].into_iter().flatten().min()
    }

    /// Requests that wait.
    pub(crate) fn pending(&self) -> usize {
        let queued: usize = self.slots.iter().flatten().map(|slot| slot.queue.len()).sum();
        queued + self.ready.iter().map(Ready::len).sum::<usize>() + self.backlog.len()
    }

    /// See [`crate::Scheduler::stop_waiting`].
    pub(crate) fn stop_waiting(&mut self) {
        self.hurried = true;
        self.release_held();
    }

    /// See [`crate::Scheduler::retire`].
    pub(crate) fn retire(&mut self) {
        self.retired = true;
        self.stop_waiting();
        self.settle_all();
    }

    /// No sequence begins any more.
    pub(crate) fn stop(&mut self) {
        self.stopping = true;
        self.stop_waiting();
    }

    /// No request comes any more: sequences end with what is there, so that those in the backlog get their turn.
    pub(crate) fn close(&mut self) {
        self.closing = true;
        self.stop();
        for place in self.places() {
            self.shut(place);
            self.settle(place);
        }
    }

    /// The test hooks' time is over.
    pub(crate) fn release_held(&mut self) {
        self.hold.release_all(usize::MAX, usize::MAX);
        self.wake_all();
    }

    /// Whether `instance` has run all that it will ever get.
    pub(crate) fn is_drained(&self, instance: usize) -> bool {
        let is_empty = || self.slots[instance].iter().all(|slot| slot.queue.is_empty());
        // A sequence in the backlog gets the first slot that is done, which with an empty queue each is.
        self.closing && is_empty() && self.ready[instance].len() == 0
    }

    /// Takes the instances that have something new to look at.
    pub(crate) fn take_woken(&mut self) -> impl Iterator<Item = usize> {
        self.woken.drain(..)
    }

    /// The lowest free slot, if there is one.
    fn free_place(&mut self) -> Option<Place> {
        if let Some(Reverse(place)) = self.free.pop() {
            return Some(place); // a slot that was never used is higher
        }
        let (instance, slots) = self.slots.iter_mut().enumerate().min_by_key(|(_, slots)| slots.len())?;
        if slots.len() == self.capacity {
            return None;
        }
        slots.push(Slot::default());
        Some(Place { slot: slots.len() - 1, instance })
    }

    pub(super) fn slot(&mut self, place: Place) -> &mut Slot {
        &mut self.slots[place.instance][place.slot]
    }

    /// The sequence in `place` takes no more requests.
    pub(super) fn shut(&mut self, place: Place) {
        if let Some(holder) = &mut self.slots[place.instance][place.slot].holder
            && holder.open
        {
            holder.open = false;
            self.assigned.remove(&holder.id);
            self.watched.remove(&(holder.watched, place));
        }
    }

    /// Moves on what can move: the next request becomes ready, a slot whose sequence is over goes to the next one.
    pub(super) fn settle(&mut self, place: Place) {
        self.woken.push(place.instance);
        loop {
            if matches!(self.batching.strategy, Strategy::Oldest(_)) && !self.slot(place).in_flight {
                let number = self.slot(place).holder.as_ref().map(|holder| holder.number);
                if let Some(entry) = self.take(place) {
                    self.slot(place).in_flight = true;
                    self.ready[place.instance].push(entry, Seat { slot: place.slot, number });
                }
            }
            if self.retired && self.backlog.len() > 0 && self.slot(place).is_unused() {
                self.shut(place);
            }
            if !self.slot(place).is_done() || !self.fill(place) {
                return;
            }
        }
    }

    fn settle_all(&mut self) {
        self.places().into_iter().for_each(|place| self.settle(place));
    }

    /// Every slot that has been used.
    fn places(&self) -> Vec<Place> {
        let of = |(instance, slots): (usize, &Vec<Slot>)| {
            (0..slots.len()).map(move |slot| Place { slot, instance }).collect::<Vec<_>>()
        };
        self.slots.iter().enumerate().flat_map(of).collect()
    }

    /// Gives `place`, whose sequence is over, to the first sequence of the backlog; frees it if there is none.
    fn fill(&mut self, place: Place) -> bool {
        let slot = &mut self.slots[place.instance][place.slot];
        slot.states.clear();
        slot.holder = None;
        let Some((number, Waiting { id, entries, open, last, .. })) = self.backlog.pop() else {
            self.free.push(Reverse(place));
            return false;
        };
        let open = open && !self.closing;
        let watched = last.plus_us(self.batching.max_idle_us);
        if open {
            self.assigned.insert(id.clone(), place);
            self.watched.insert((watched, place));
        }
        slot.queue = entries;
        slot.holder = Some(Holder { number, id, open, last, watched });
        true
    }

    pub(super) fn wake_all(&mut self) {
        self.woken.extend(0..self.slots.len());
    }
}

#[cfg(test)]
#[path = "sequencer_tests.rs"]
mod tests;
