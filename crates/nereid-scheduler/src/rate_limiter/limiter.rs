//! The shell around the ledger: its lock, and the word to schedulers when one of their instances may run.
//!
//! What an instance holds is a [`Grant`], and its place among those that wait is a [`Wait`]; both end when dropped,
//! whatever happened. Dropping one, or [`Wakes`], tells other schedulers, which take their own locks: never do it
//! under a scheduler's lock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Weak};

use nereid_core::config::RateLimiterSpec;
use nereid_core::{ModelConfig, Result};
use parking_lot::Mutex;

use super::ledger::{Ask, Ledger, SlotId};
use super::resources::ResourceLimits;

/// Decides which instances of a server's models may run at the same time, and which go first.
pub struct RateLimiter {
    state: Mutex<State>,
}

struct State {
    ledger: Ledger,
    /// Who is told that an instance may run, and by which number it knows the instance.
    waiters: BTreeMap<SlotId, (Weak<dyn Waiter>, usize)>,
}

/// Is told when one of its instances that waited may run. Called without any lock held.
pub(crate) trait Waiter: Send + Sync {
    fn granted(&self, instance: usize, grant: Grant);
}

/// The instances of one scheduler. Forgotten when dropped.
pub(crate) struct Registration {
    limiter: Arc<RateLimiter>,
    slots: Vec<SlotId>,
}

/// What became of asking for an instance to run.
pub(crate) enum Asked {
    /// It may.
    Granted(Grant),
    /// It has to wait; the [`Waiter`] will be told.
    Waiting(Wait),
}

/// An instance may run, and holds its resources until this is dropped.
#[must_use]
pub(crate) struct Grant {
    limiter: Arc<RateLimiter>,
    /// `None` when it was given back.
    slot: Option<SlotId>,
}

/// An instance's place among those that wait. Dropping it gives the place up.
#[must_use]
pub(crate) struct Wait {
    limiter: Arc<RateLimiter>,
    slot: SlotId,
    ask: Ask,
    open: bool,
}

/// Instances that may run now, and whom to tell, which happens when this is dropped.
#[must_use]
#[derive(Default)]
pub(crate) struct Wakes(Vec<(Arc<dyn Waiter>, usize, Grant)>);

impl RateLimiter {
    /// A rate limiter that knows no instance.
    pub fn new(limits: ResourceLimits) -> Self {
        Self { state: Mutex::new(State { ledger: Ledger::new(limits), waiters: BTreeMap::new() }) }
    }

    /// Instances that wait for their turn.
    pub fn waiting(&self) -> usize {
        self.state.lock().ledger.waiting()
    }

    /// Takes in the active instances of `config`, numbered in their order; `None` if none of them says anything about
    /// rates. `waiter` is told when one may run.
    ///
    /// # Errors
    /// `InvalidArg` if one of them could never run, or sees a resource as global that others see as one of
    /// devices, or the other way round. Then none is taken in.
    pub(crate) fn register(
        self: &Arc<Self>,
        config: &ModelConfig,
        waiter: &Weak<dyn Waiter>,
    ) -> Result<Option<Registration>> {
        let active = || config.instances.iter().filter(|spec| !spec.passive);
        if active().all(|spec| spec.rate_limiter == RateLimiterSpec::default()) {
            return Ok(None);
        }
        // Dropped on an error, after the lock.
        let mut registration = Registration { limiter: self.clone(), slots: Vec::new() };
        let mut state = self.state.lock();
        for (number, spec) in active().enumerate() {
            let slot = state.ledger.add(spec)?;
            state.waiters.insert(slot, (waiter.clone(), number));
            registration.slots.push(slot);
        }
        let (_, wakes) = self.advance(&mut state, None); // there may be more copies than before
        drop(state);
        drop(wakes);
        Ok(Some(registration))
    }

    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Ledger) -> T) -> (T, Wakes) {
        let mut state = self.state.lock();
        let result = change(&mut state.ledger);
        (result, self.advance(&mut state, None).1)
    }

    /// Lets in who may run: perhaps `asker`, and others.
    fn advance(self: &Arc<Self>, state: &mut State, asker: Option<SlotId>) -> (bool, Wakes) {
        let (mut asker_goes, mut wakes) = (false, Wakes::default());
        for slot in state.ledger.advance() {
            if asker == Some(slot) {
                asker_goes = true;
            } else if let Some((waiter, number)) = state.waiters.get(&slot)
                && let Some(waiter) = waiter.upgrade()
            {
                wakes.0.push((waiter, *number, self.grant(slot)));
            }
            // A scheduler that is gone is about to forget its instances.
        }
        (asker_goes, wakes)
    }

    fn grant(self: &Arc<Self>, slot: SlotId) -> Grant {
        Grant { limiter: self.clone(), slot: Some(slot) }
    }
}

impl Registration {
    /// Asks that one of the `idle` instances may run; the limiter chooses which. An instance that has just `finished`
    /// gives its resources back in the same moment, so that its scheduler competes with those that wait already.
    /// `None` only without an idle instance.
    pub(crate) fn ask(
        &self,
        idle: impl Iterator<Item = usize>,
        finished: Option<Grant>,
    ) -> (Option<(usize, Asked)>, Wakes) {
        let mut state = self.limiter.state.lock();
        if let Some(slot) = finished.and_then(Grant::taken) {
            state.ledger.finish(slot, true);
        }
        let slots = idle.filter_map(|number| self.slots.get(number).copied());
        let asker = state.ledger.ask(slots);
        let (goes, wakes) = self.limiter.advance(&mut state, asker.map(|(slot, _)| slot));
        drop(state);
        let asked = asker.and_then(|(slot, ask)| {
            let number = self.slots.iter().position(|other| *other == slot)?;
            let limiter = self.limiter.clone();
            Some(match goes {
                true => (number, Asked::Granted(limiter.grant(slot))),
                false => (number, Asked::Waiting(Wait { limiter, slot, ask, open: true })),
            })
        });
        (asked, wakes)
    }
}

impl Grant {
    /// Gives the resources back without that the instance has run.
    pub(crate) fn unused(mut self) {
        if let Some(slot) = self.slot.take() {
            drop(self.limiter.change(|ledger| ledger.finish(slot, false)));
        }
    }

    fn taken(mut self) -> Option<SlotId> {
        self.slot.take()
    }
}

impl Wait {
    /// The instance was let in.
    pub(crate) fn over(mut self) {
        self.open = false;
    }
}

impl Wakes {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            drop(self.limiter.change(|ledger| ledger.finish(slot, true)));
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        if self.open {
            drop(self.limiter.change(|ledger| ledger.withdraw(self.slot, self.ask)));
        }
    }
}

impl Drop for Wakes {
    fn drop(&mut self) {
        for (waiter, number, grant) in self.0.drain(..) {
            waiter.granted(number, grant);
        }
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut state = self.limiter.state.lock();
        for slot in &self.slots {
            state.waiters.remove(slot);
        }
        state.ledger.remove(&self.slots);
        let (_, wakes) = self.limiter.advance(&mut state, None);
        drop(state);
        drop(wakes);
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").finish_non_exhaustive()
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration").field("slots", &self.slots).finish_non_exhaustive()
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Grant").field(&self.slot).finish()
    }
}

impl fmt::Debug for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wait").field(&self.slot).finish()
    }
}

impl fmt::Debug for Wakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Wakes").field(&self.0.len()).finish()
    }
}
