//! The instances of a sequence batcher at the rate limiter. As a sequence cannot move, each of them asks for itself, and
//! only when it has a batch, which goes on growing while it waits.
//!
//! [`Turns`] are the books. What they give out to be dropped must be dropped without the scheduler's lock: that tells
//! other schedulers.

use std::sync::{Arc, Weak};

use nereid_core::Result;
use parking_lot::MutexGuard;

use super::batches::Plan;
use super::shared::{Shared, State};
use crate::rate_limiter::{Asked, Grant, RateLimiter, Registration, Wait, Waiter, Wakes};

/// Where the instances stand.
#[derive(Debug)]
pub(crate) struct Turns {
    registration: Registration,
    /// By instance.
    turns: Vec<Turn>,
}

#[derive(Debug)]
enum Turn {
    NotAsked,
    Waiting(Wait),
    Granted(Grant),
}

/// What becomes of a plan.
pub(super) enum Turned {
    /// It is carried out, under the grant where there has to be one.
    Go(Option<Grant>),
    /// Nothing, until the instance is let in.
    Wait,
}

/// What an instance gave up that has no batch any more.
#[must_use]
struct GivenUp(Turn);

impl Turns {
    /// The grant of `instance`, if it has one.
    fn begin(&mut self, instance: usize) -> Option<Grant> {
        match std::mem::replace(&mut self.turns[instance], Turn::NotAsked) {
            Turn::Granted(grant) => Some(grant),
            other => {
                self.turns[instance] = other;
                None
            }
        }
    }

    /// Asks for `instance`, unless it waits already.
    fn ask(&mut self, instance: usize) -> Wakes {
        if !matches!(self.turns[instance], Turn::NotAsked) {
            return Wakes::default();
        }
        let (asked, wakes) = self.registration.ask(std::iter::once(instance), None);
        if let Some((_, asked)) = asked {
            self.turns[instance] = match asked {
                Asked::Granted(grant) => Turn::Granted(grant),
                Asked::Waiting(wait) => Turn::Waiting(wait),
            };
        }
        wakes
    }

    /// `instance` may run. Gives the grant back if it does not wait any more.
    fn let_in(&mut self, instance: usize, grant: Grant) -> Result<(), Grant> {
        match std::mem::replace(&mut self.turns[instance], Turn::NotAsked) {
            Turn::Waiting(wait) => {
                wait.over();
                self.turns[instance] = Turn::Granted(grant);
                Ok(())
            }
            other => {
                self.turns[instance] = other;
                Err(grant)
            }
        }
    }

    fn give_up(&mut self, instance: usize) -> Option<GivenUp> {
        match std::mem::replace(&mut self.turns[instance], Turn::NotAsked) {
            Turn::NotAsked => None,
            other => Some(GivenUp(other)),
        }
    }
}

impl Shared {
    /// Puts the instances under `limiter`, if their config says anything about rates.
    ///
    /// # Errors
    /// See [`RateLimiter::register`].
    pub(super) fn register(self: &Arc<Self>, limiter: &Arc<RateLimiter>) -> Result<()> {
        let this = Arc::downgrade(self);
        let waiter: Weak<dyn Waiter> = this;
        if let Some(registration) = limiter.register(&self.config, &waiter)? {
            let turns = self.work.iter().map(|_| Turn::NotAsked).collect();
            self.state.lock().turns = Some(Turns { registration, turns });
        }
        Ok(())
    }

    /// What `instance` is to do about `plan`, in its turn. `None` asks for a new plan, because the lock was released
    /// meanwhile.
    pub(super) fn in_turn(
        &self,
        state: &mut MutexGuard<'_, State>,
        instance: usize,
        plan: &Plan,
    ) -> Option<Turned> {
        let Some(turns) = &mut state.turns else { return Some(Turned::Go(None)) };
        if matches!(plan, Plan::Idle | Plan::Wait { .. }) {
            return match turns.give_up(instance) {
                None => Some(Turned::Go(None)),
                Some(unneeded) => {
                    MutexGuard::unlocked(state, || drop(unneeded));
                    None
                }
            };
        }
        if let Some(grant) = turns.begin(instance) {
            return Some(Turned::Go(Some(grant)));
        }
        let wakes = turns.ask(instance);
        let granted = matches!(turns.turns[instance], Turn::Granted(_));
        if granted || !wakes.is_empty() {
            MutexGuard::unlocked(state, || drop(wakes));
            return None;
        }
        Some(Turned::Wait)
    }
}

impl Waiter for Shared {
    fn granted(&self, instance: usize, grant: Grant) {
        let mut state = self.state.lock();
        let unneeded = match &mut state.turns {
            Some(turns) => turns.let_in(instance, grant).err(),
            None => Some(grant),
        };
        self.work[instance].notify_one();
        drop(state);
        if let Some(grant) = unneeded {
            grant.unused();
        }
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        if let Turn::Granted(grant) = std::mem::replace(&mut self.0, Turn::NotAsked) {
            grant.unused();
        }
    }
}
