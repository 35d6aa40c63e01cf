//! Who may run, and who goes next: the decisions of the rate limiter. Pure.
//!
//! The instance goes first that has the smallest product of executions and priority; of equals, the one that has
//! waited longer. Whoever waits in front keeps what it still waits for from those behind it, so that many small needs
//! do not starve a large one. Those behind that need other resources do not wait for it, other than in Triton.

use std::collections::{BTreeMap, BTreeSet};

use nereid_core::Result;
use nereid_core::config::InstanceSpec;

use super::resources::{Key, Needs, ResourceLimits, Resources, needs};

/// Names an instance. Never given twice.
pub(crate) type SlotId = u64;

/// Names an asking to run. Never given twice.
pub(crate) type Ask = u64;

/// All instances that the rate limiter knows.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    resources: Resources,
    slots: BTreeMap<SlotId, Slot>,
    waiting: Vec<SlotId>,
    next_slot: SlotId,
    next_ask: Ask,
}

#[derive(Debug)]
struct Slot {
    needs: Needs,
    /// At least 1.
    priority: u32,
    executions: u64,
    state: State,
    /// Its last asking.
    ask: Ask,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Waiting,
    /// Holds its resources. `asks` once more: the word that it was let in has crossed its asking again.
    Granted {
        asks: bool,
    },
}

impl Ledger {
    pub(crate) fn new(limits: ResourceLimits) -> Self {
        Self { resources: Resources::new(limits), ..Self::default() }
    }

    /// Takes an instance in.
    ///
    /// # Errors
    /// See [`Resources::add`].
    pub(crate) fn add(&mut self, spec: &InstanceSpec) -> Result<SlotId> {
        let needs = needs(spec);
        self.resources.add(&needs)?;
        let id = self.next_slot;
        self.next_slot += 1;
        let priority = spec.rate_limiter.priority.max(1);
        self.slots.insert(id, Slot { needs, priority, executions: 0, state: State::Idle, ask: 0 });
        Ok(id)
    }

    /// Forgets instances, and gives back what they hold.
    pub(crate) fn remove(&mut self, ids: &[SlotId]) {
        for id in ids {
            if let Some(slot) = self.slots.remove(id)
                && matches!(slot.state, State::Granted { .. })
            {
                self.resources.give_back(&slot.needs);
            }
        }
        self.waiting.retain(|id| self.slots.contains_key(id));
        self.resources.recount(self.slots.values().map(|slot| &slot.needs));
    }

    /// Lets the one of `candidates` wait that ran least; of equals, the first. This takes the place of what it may have
    /// asked before. Call [`Self::advance`] next.
    pub(crate) fn ask(&mut self, candidates: impl IntoIterator<Item = SlotId>) -> Option<(SlotId, Ask)> {
        let known = candidates.into_iter().filter_map(|id| Some((id, self.slots.get(&id)?.rank())));
        let (id, _) = known.min_by_key(|(_, rank)| *rank)?;
        let slot = self.slots.get_mut(&id)?;
        slot.ask = self.next_ask;
        self.next_ask += 1;
        match slot.state {
            State::Idle => {
                slot.state = State::Waiting;
                self.waiting.push(id);
            }
            State::Granted { .. } => slot.state = State::Granted { asks: true },
            State::Waiting => {}
        }
        Some((id, slot.ask))
    }

    /// An instance does not want to run any more, unless it has asked again. Call [`Self::advance`] next.
    pub(crate) fn withdraw(&mut self, id: SlotId, ask: Ask) {
        let Some(slot) = self.slots.get_mut(&id).filter(|slot| slot.ask == ask) else { return };
        match slot.state {
            State::Waiting => {
                slot.state = State::Idle;
                self.waiting.retain(|waiting| *waiting != id);
            }
            State::Granted { .. } => slot.state = State::Granted { asks: false },
            State::Idle => {}
        }
    }

    /// An instance that was let in gives its resources back, after it `ran` or without. Call [`Self::advance`] next.
    pub(crate) fn finish(&mut self, id: SlotId, ran: bool) {
        let Some(slot) = self.slots.get_mut(&id) else { return };
        let State::Granted { asks } = slot.state else { return };
        slot.executions += u64::from(ran);
        slot.state = if asks { State::Waiting } else { State::Idle };
        self.resources.give_back(&slot.needs);
        if asks {
            self.waiting.push(id);
        }
    }

    /// Instances that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Lets in everyone who may run now.
    pub(crate) fn advance(&mut self) -> Vec<SlotId> {
        let Self { resources, slots, waiting, .. } = self;
        waiting.sort_by_key(|id| slots.get(id).map(|slot| (slot.rank(), slot.ask)));
        let mut granted = Vec::new();
        let mut kept: BTreeSet<&Key> = BTreeSet::new();
        waiting.retain(|id| {
            let Some(slot) = slots.get(id) else { return false };
            let goes = resources.are_free(&slot.needs) && !slot.needs.keys().any(|key| kept.contains(key));
            if goes {
                resources.take(&slot.needs);
                granted.push(*id);
            } else {
                kept.extend(slot.needs.keys());
            }
            !goes
        });
        for id in &granted {
            if let Some(slot) = slots.get_mut(id) {
                slot.state = State::Granted { asks: false };
            }
        }
        granted
    }
}

impl Slot {
    /// The smaller, the sooner.
    fn rank(&self) -> u128 {
        u128::from(self.executions) * u128::from(self.priority)
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
