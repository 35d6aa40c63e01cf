//! What the sequence batcher, its instances' threads and its reaper share: the state machine behind one lock, and who is
//! told when there is something to do.
//!
//! Nobody is answered under the lock, so that whoever takes an answer may enqueue.

use std::sync::Arc;

use nereid_core::config::SequenceBatching;
use nereid_core::{Continuations, Error, ModelConfig, Result, Timestamp};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::batches::{Job, Plan};
use super::hold::Hold;
use super::sequencer::{Refused, Sequencer};
use super::turns::{Turned, Turns};
use crate::batching::instance::{self, Outcome};
use crate::batching::queue::{Entry, Ticket};
use crate::rate_limiter::Grant;
use crate::statistics::{Clock, FailureReason, Statistics};
use crate::{ActiveInstance, SchedulerOptions};

/// What the sequence batcher and its threads share.
pub(crate) struct Shared {
    pub(crate) config: Arc<ModelConfig>,
    statistics: Arc<Statistics>,
    pub(crate) state: Mutex<State>,
    /// One for each instance: when it ran.
    clocks: Vec<Arc<Clock>>,
    /// One for each instance: there is something to decide.
    pub(crate) work: Vec<Condvar>,
    /// A time-out before the one that the reaper waits for.
    pub(crate) expiry: Condvar,
}

pub(crate) struct State {
    pub(crate) sequencer: Sequencer,
    /// Instances at the rate limiter, where it has a say.
    pub(super) turns: Option<Turns>,
    /// When the reaper will look next.
    pub(crate) reaper_until: Option<Timestamp>,
    /// The reaper ends.
    pub(crate) closed: bool,
}

/// What an instance is to do.
pub(crate) enum Next {
    /// Nothing, until told.
    Idle,
    /// Look again then, or when told.
    Wait { until: Timestamp },
    /// Run this, under the rate limiter's grant where there has to be one.
    Run(Job, Option<Grant>),
}

impl Shared {
    /// Shared by the threads of as many instances as `options` has, which it gives back.
    pub(crate) fn new(options: SchedulerOptions, batching: SequenceBatching) -> (Self, Vec<ActiveInstance>) {
        let SchedulerOptions {
            config,
            instances,
            delay_until_queued,
            delay_until_backlogged,
            statistics,
            ..
        } = options;
        let count = instances.len();
        let clock = |active: &ActiveInstance| active.statistics.as_ref().unwrap_or(&statistics).clock();
        let clocks = instances.iter().map(clock).collect();
        let hold = Hold::new(delay_until_queued, delay_until_backlogged, count);
        let sequencer = Sequencer::new(config.clone(), batching, count, hold);
        let shared = Self {
            config,
            statistics,
            clocks,
            state: Mutex::new(State { sequencer, turns: None, reaper_until: None, closed: false }),
            work: (0..count).map(|_| Condvar::new()).collect(),
            expiry: Condvar::new(),
        };
        (shared, instances)
    }

    pub(crate) fn enqueue(&self, entry: Entry) -> Result<Ticket> {
        let mut state = self.state.lock();
        let result = if self.work.is_empty() {
            let name = &self.config.name;
            let error = Error::unavailable(format!("model '{name}' has no instance that takes requests"));
            Err(Box::new(Refused { entry, error }))
        } else {
            state.sequencer.enqueue(entry)
        };
        self.notify(&mut state);
        drop(state);
        result.map_err(|refused| {
            let Refused { entry, error } = *refused;
            entry.responder.forget();
            error
        })
    }

    /// Whoever has sent the request of `ticket` has gone.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        let cancelled = state.sequencer.cancel(ticket);
        self.notify(&mut state);
        drop(state);
        let now = Timestamp::now();
        instance::fail(cancelled, now, FailureReason::Canceled, &Error::cancelled(), &self.statistics);
    }

    /// Applies time-outs at `now`; those who are rejected are told with the lock released.
    pub(crate) fn expire(&self, state: &mut MutexGuard<'_, State>, now: Timestamp) {
        let rejected = state.sequencer.expire(now);
        self.notify(state);
        if !rejected.is_empty() {
            let error = Error::unavailable("timeout of the corresponding sequence has been expired");
            MutexGuard::unlocked(state, || {
                instance::fail(rejected, now, FailureReason::Rejected, &error, &self.statistics);
            });
        }
    }

    /// What instance `number` is to do. The lock may be released meanwhile.
    pub(crate) fn next(&self, state: &mut MutexGuard<'_, State>, number: usize, now: Timestamp) -> Next {
        loop {
            let plan = state.sequencer.plan(number, now);
            let grant = match self.in_turn(state, number, &plan) {
                None => continue,
                Some(Turned::Wait) => return Next::Idle,
                Some(Turned::Go(grant)) => grant,
            };
            let job = state.sequencer.carry_out(number, &plan, now);
            self.notify(state);
            return match (job, plan) {
                (Some(job), _) => Next::Run(job, grant),
                (None, Plan::Wait { until }) => Next::Wait { until },
                (None, _) => Next::Idle,
            };
        }
    }

    /// Runs `job` on instance `number` and answers its requests; what that makes possible goes to `later`. A batch of
    /// sequences is never told to stop: the state that it leaves is needed even if nobody waits for its answers.
    pub(crate) fn run(
        &self,
        number: usize,
        active: &mut ActiveInstance,
        job: Job,
        later: &mut Continuations,
    ) {
        let Job { entries, seats } = job;
        let statistics = active.statistics.as_deref().unwrap_or(&self.statistics);
        let (instance, clock) = (&mut *active.instance, Some(&*self.clocks[number]));
        let mut answers = match instance::run(instance, &self.config, entries, statistics, clock) {
            Outcome::Done { answers, .. } => answers,
            Outcome::Failed(failed) => failed.blame_backend(statistics),
        };
        let mut state = self.state.lock();
        state.sequencer.complete(number, &seats, &mut answers);
        self.notify(&mut state);
        drop(state);
        answers.into_iter().for_each(|(responder, result)| later.add(responder.respond(result)));
    }

    /// See [`crate::Scheduler::stop_waiting`].
    pub(crate) fn stop_waiting(&self) {
        let mut state = self.state.lock();
        state.sequencer.stop_waiting();
        self.notify(&mut state);
    }

    /// See [`crate::Scheduler::retire`].
    pub(crate) fn retire(&self) {
        let mut state = self.state.lock();
        state.sequencer.retire();
        self.notify(&mut state);
    }

    /// No sequence begins any more.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        state.sequencer.stop();
        self.notify(&mut state);
    }

    /// See [`crate::Scheduler::release_held`].
    pub(crate) fn release_held(&self) {
        let mut state = self.state.lock();
        state.sequencer.release_held();
        self.notify(&mut state);
    }

    /// No request comes any more: the threads of the instances end when all is done.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        state.sequencer.close();
        state.closed = true;
        self.notify(&mut state);
        self.expiry.notify_all();
    }

    /// Tells the threads that have something new to look at.
    pub(crate) fn notify(&self, state: &mut State) {
        for instance in state.sequencer.take_woken() {
            self.work[instance].notify_one();
        }
        let next = state.sequencer.next_expiry();
        if next.is_some_and(|next| state.reaper_until.is_none_or(|until| next < until)) {
            self.expiry.notify_one();
        }
    }
}
