//! The instances of one scheduler at the rate limiter: those that wait for it, with no batch yet, so that batches keep
//! growing, and those that it has let in and that have not begun. Only models with rate limiter settings have this.
//!
//! [`Turns`] are the books, and `Shared` here is the shell. What the books give out to be dropped must be dropped without
//! the scheduler's lock: that tells other schedulers.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use nereid_core::{Result, Timestamp};
use parking_lot::MutexGuard;

use super::batcher::Decision;
use super::running::Seat;
use super::shared::{Shared, State};
use crate::rate_limiter::{Asked, Grant, RateLimiter, Registration, Wait, Waiter, Wakes};

#[derive(Debug)]
pub(crate) struct Turns {
    registration: Registration,
    waiting: Vec<(Seat, Wait)>,
    granted: VecDeque<(Seat, Grant)>,
}

/// What instances gave up that are idle again.
#[must_use]
pub(crate) struct GivenUp {
    waits: Vec<Wait>,
    grants: Vec<Grant>,
}

impl Turns {
    pub(crate) fn new(registration: Registration) -> Self {
        Self { registration, waiting: Vec::new(), granted: VecDeque::new() }
    }

    /// Instances that will run a batch each, or find that none is left.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.granted.len()
    }

    /// Whether an instance may begin at once.
    pub(crate) fn may_begin(&self) -> bool {
        !self.granted.is_empty()
    }

    /// An instance that may begin.
    pub(crate) fn begin(&mut self) -> Option<(Seat, Grant)> {
        self.granted.pop_front()
    }

    /// Lets one more of the `idle` instances wait for its turn. One that has just `finished` gives its resources back in
    /// the same moment.
    pub(crate) fn line_up(&mut self, idle: &mut VecDeque<Seat>, finished: Option<Grant>) -> Wakes {
        let (asked, wakes) = self.registration.ask(idle.iter().map(|seat| seat.number), finished);
        if let Some((number, asked)) = asked
            && let Some(seat) = take(idle, number)
        {
            match asked {
                Asked::Granted(grant) => self.granted.push_back((seat, grant)),
                Asked::Waiting(wait) => self.waiting.push((seat, wait)),
            }
        }
        wakes
    }

    /// Instance `number` may run. Gives the grant back if it does not wait any more.
    pub(crate) fn let_in(&mut self, number: usize, grant: Grant) -> Result<(), Grant> {
        match self.waiting.iter().position(|(seat, _)| seat.number == number) {
            Some(index) => {
                let (seat, wait) = self.waiting.swap_remove(index);
                wait.over();
                self.granted.push_back((seat, grant));
                Ok(())
            }
            None => Err(grant),
        }
    }

    /// Makes every instance idle that has not begun; `None` if there is none.
    pub(crate) fn give_up(&mut self, idle: &mut VecDeque<Seat>) -> Option<GivenUp> {
        if self.len() == 0 {
            return None;
        }
        let mut given_up = GivenUp { waits: Vec::new(), grants: Vec::new() };
        for (seat, wait) in self.waiting.drain(..) {
            idle.push_back(seat);
            given_up.waits.push(wait);
        }
        for (seat, grant) in self.granted.drain(..) {
            idle.push_back(seat);
            given_up.grants.push(grant);
        }
        Some(given_up)
    }
}

impl Shared {
    /// Puts the instances under `limiter`, if their config says anything about rates.
    ///
    /// # Errors
    /// See [`RateLimiter::register`].
    pub(crate) fn register(self: &Arc<Self>, limiter: &Arc<RateLimiter>) -> Result<()> {
        let this = Arc::downgrade(self);
        let waiter: Weak<dyn Waiter> = this;
        if let Some(registration) = limiter.register(&self.config, &waiter)? {
            self.state.lock().turns = Some(Turns::new(registration));
        }
        Ok(())
    }

    /// Where the rate limiter has a say: lets as many instances wait for it as there are batches.
    pub(super) fn line_up(&self, state: &mut State) -> Wakes {
        let State { turns: Some(turns), idle, queue, .. } = state else { return Wakes::default() };
        while !turns.may_begin() && turns.len() < self.batcher.batches(queue) && !idle.is_empty() {
            let wakes = turns.line_up(idle, None);
            if !wakes.is_empty() {
                return wakes;
            }
        }
        Wakes::default()
    }

    /// A batch has run, and its instance is idle. Its resources go to whoever is next, which may be this scheduler.
    pub(super) fn pass_on(&self, state: &mut MutexGuard<'_, State>, grant: Grant) {
        let now = Timestamp::now();
        self.expire(state, now);
        let runs = matches!(self.decide(state, now), Decision::Run { .. });
        let State { turns, idle, queue, .. } = &mut **state;
        match turns {
            Some(turns) if runs && turns.len() < self.batcher.batches(queue) => {
                let wakes = turns.line_up(idle, Some(grant));
                if !wakes.is_empty() {
                    MutexGuard::unlocked(state, || drop(wakes));
                }
            }
            _ => MutexGuard::unlocked(state, || drop(grant)),
        }
    }
}

impl State {
    /// An instance for the next batch.
    pub(super) fn take_seat(&mut self) -> Option<(Seat, Option<Grant>)> {
        match &mut self.turns {
            None => Some((self.idle.pop_front()?, None)),
            Some(turns) => turns.begin().map(|(seat, grant)| (seat, Some(grant))),
        }
    }

    /// Instances that wait for the rate limiter, or that it let in, are idle again. Drop what comes of it without the
    /// lock.
    pub(super) fn give_up_turns(&mut self) -> Option<GivenUp> {
        self.turns.as_mut()?.give_up(&mut self.idle)
    }
}

impl Waiter for Shared {
    fn granted(&self, instance: usize, grant: Grant) {
        let mut state = self.state.lock();
        let unneeded = match &mut state.turns {
            Some(turns) => turns.let_in(instance, grant).err(),
            None => Some(grant),
        };
        self.work.notify_one();
        drop(state);
        if let Some(grant) = unneeded {
            grant.unused();
        }
    }
}

impl Drop for GivenUp {
    fn drop(&mut self) {
        self.waits.clear();
        self.grants.drain(..).for_each(Grant::unused);
    }
}

fn take(idle: &mut VecDeque<Seat>, number: usize) -> Option<Seat> {
    idle.remove(idle.iter().position(|seat| seat.number == number)?)
}
