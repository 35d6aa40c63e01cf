//! What a scheduler, its threads and its leads share: the queue and the instances behind one lock, and who is
//! told when there is work. There is no thread between: instances' threads, or the thread that received a
//! request ([`Lead`]), pull the next batch themselves.
//!
//! Nobody is answered under the lock, so that whoever takes an answer may enqueue.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread::{self, ThreadId};

use nereid_core::config::Scheduling;
use nereid_core::{Continuations, Error, ModelConfig, Result, Timestamp};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::batcher::{Batcher, Decision};
use super::instance::{self, Outcome};
use super::lead::Lead;
use super::ordering::Ordering;
use super::pace::Pace;
use super::queue::{Entry, Queue, Ticket};
use super::running::{Running, Seat};
use super::turns::Turns;
use crate::SchedulerOptions;
use crate::rate_limiter::Grant;
use crate::statistics::{FailureReason, Statistics};

/// What the scheduler, its threads and its leads share.
pub(crate) struct Shared {
    pub(crate) config: Arc<ModelConfig>,
    pub(super) batcher: Batcher,
    pace: Pace,
    pub(crate) statistics: Arc<Statistics>,
    ordering: Option<Ordering>,
    instances: usize,
    /// Instances must run on threads of their own.
    own_threads: bool,
    pub(crate) state: Mutex<State>,
    /// An idle instance and something to decide.
    pub(crate) work: Condvar,
    /// A time-out before the one that the timer waits for.
    pub(crate) expiry: Condvar,
    /// The scheduler stops, and an instance is idle again.
    returned: Condvar,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) queue: Queue,
    pub(crate) idle: VecDeque<Seat>,
    /// Instances at the rate limiter, where it has a say.
    pub(crate) turns: Option<Turns>,
    running: Running,
    /// Number of the next batch, for [`Ordering`].
    next_batch: u64,
    /// Nothing runs before so many requests wait.
    hold: usize,
    /// Nothing is held back for company any more, as when stopping.
    hurried: bool,
    pub(crate) stopping: bool,
    /// Threads that have promised to look at the queue soon.
    pub(crate) leads: Vec<ThreadId>,
    /// A worker waits for this many rows, or for time to pass.
    pub(crate) wake_at_rows: Option<usize>,
    /// When the timer will look next.
    pub(crate) timer_until: Option<Timestamp>,
}

/// A batch and the instance that runs it.
pub(crate) struct Job {
    seat: Seat,
    entries: Vec<Entry>,
    number: u64,
    grant: Option<Grant>,
}

/// A seat that goes back, whatever happens to who sits on it.
struct Taken<'a> {
    shared: &'a Shared,
    seat: Option<Seat>,
    grant: Option<Grant>,
}

/// What a thread that looks at the queue is to do.
pub(crate) enum Next {
    /// Nothing, until told.
    Idle,
    /// Look again then, or when `rows` rows wait.
    Wait {
        until: Timestamp,
        rows: usize,
    },
    Run(Job),
}

impl Shared {
    pub(crate) fn new(options: SchedulerOptions) -> Self {
        let SchedulerOptions { config, instances, delay_until_queued, statistics, .. } = options;
        let (queue, ordering, hold) = match &config.scheduling {
            Scheduling::Default | Scheduling::Ensemble(_) | Scheduling::Sequence(_) => {
                (Queue::unlimited(), None, 0)
            }
            Scheduling::DynamicBatching(batching) => {
                let ordering = batching.preserve_ordering.then(Ordering::default);
                (Queue::new(batching), ordering, delay_until_queued)
            }
        };
        let instance_count = instances.len();
        let own_threads = instances.iter().any(|active| active.instance.needs_own_thread());
        let (running, seats) = Running::new(instances, &statistics);
        let idle = seats.collect();
        Self {
            batcher: Batcher::new(&config),
            pace: Pace::default(),
            statistics,
            ordering,
            instances: instance_count,
            own_threads,
            state: Mutex::new(State {
                queue,
                idle,
                turns: None,
                running,
                next_batch: 0,
                hold,
                hurried: false,
                stopping: false,
                leads: Vec::new(),
                wake_at_rows: None,
                timer_until: None,
            }),
            work: Condvar::new(),
            expiry: Condvar::new(),
            returned: Condvar::new(),
            config,
        }
    }

    /// Whether any request waits or runs.
    pub(crate) fn is_busy(&self) -> bool {
        let state = self.state.lock();
        !state.queue.is_empty() || state.idle.len() < self.instances
    }

    /// Whether any request can time out.
    pub(crate) fn has_timeouts(&self) -> bool {
        self.state.lock().queue.has_timeouts()
    }

    pub(crate) fn enqueue(self: &Arc<Self>, entry: Entry) -> Result<(Ticket, Option<Lead>)> {
        let mut state = self.state.lock();
        if state.stopping || self.instances == 0 {
            drop(state);
            let stopping =
                "Server is stopping, scheduler for model has stopped accepting new inference requests";
            let error = refuse(entry, Error::unavailable(stopping));
            if self.instances == 0 {
                // The words of Triton for a model whose instances are all passive.
                let text = format!("Unable to find the payload queue for the model {}", self.config.name);
                return Err(Error::internal(text));
            }
            return Err(error);
        }
        let ticket = match state.queue.push(entry) {
            Ok(ticket) => ticket,
            Err(entry) => {
                drop(state);
                return Err(refuse(*entry, Error::overloaded("Exceeds maximum queue size")));
            }
        };
        if state.queue.next_deadline().is_some_and(|d| state.timer_until.is_none_or(|until| d < until)) {
            self.expiry.notify_one();
        }
        if state.idle.is_empty() {
            return Ok((ticket, None)); // whoever gives an instance back looks at the queue again
        }
        if self.may_lead() {
            return Ok((ticket, self.lead(&mut state)));
        }
        if self.batcher.compares_inputs() || state.wake_at_rows.is_none_or(|rows| state.queue.rows() >= rows)
        {
            self.work.notify_one();
        }
        Ok((ticket, None))
    }

    /// Whoever has sent the request of `ticket` has gone.
    pub(crate) fn cancel(&self, ticket: Ticket) {
        let mut state = self.state.lock();
        let Some(entry) = state.queue.remove(ticket) else {
            // It runs, or was answered a moment ago.
            return state.running.leave(ticket.serial);
        };
        if state.wake_at_rows.is_some() {
            self.work.notify_one(); // what is left may make a preferred size
        }
        self.notify_if_ended(&state);
        let unneeded = if state.queue.is_empty() { state.give_up_turns() } else { None };
        drop(state);
        drop(unneeded);
        self.fail([entry], Timestamp::now(), FailureReason::Canceled, &Error::cancelled());
    }

    /// Whether batches may run on the threads that receive requests.
    pub(crate) fn may_lead(&self) -> bool {
        self.pace.is_fast() && !self.batcher.waits() && !self.own_threads
    }

    /// A lead for this thread, unless it has one or the idle instances are all spoken for.
    fn lead(self: &Arc<Self>, state: &mut State) -> Option<Lead> {
        let thread = thread::current().id();
        if state.leads.len() >= state.idle.len() || state.leads.contains(&thread) {
            return None;
        }
        state.leads.push(thread);
        Some(Lead::new(self.clone(), thread))
    }

    /// Rejects what timed out at `now`, with the lock released meanwhile; then takes what is to be done.
    pub(crate) fn next(&self, state: &mut MutexGuard<'_, State>, now: Timestamp) -> Next {
        loop {
            self.expire(state, now);
            if state.hold > state.queue.len() && !state.stopping {
                return Next::Idle;
            }
            state.hold = 0;
            let decision = self.decide(state, now);
            let Decision::Run { requests } = decision else {
                if let Some(unneeded) = state.give_up_turns() {
                    MutexGuard::unlocked(state, || drop(unneeded));
                    continue; // much may have happened meanwhile
                }
                return match decision {
                    Decision::Wait { until, rows } => Next::Wait { until, rows },
                    _ => Next::Idle,
                };
            };
            let wakes = self.line_up(state);
            if !wakes.is_empty() {
                MutexGuard::unlocked(state, || drop(wakes));
                continue;
            }
            let Some((seat, grant)) = state.take_seat() else { return Next::Idle };
            let entries = state.queue.take(requests);
            state.running.start(seat.number, &entries);
            self.notify_if_ended(state);
            let number = state.next_batch;
            state.next_batch += 1;
            return Next::Run(Job { seat, entries, number, grant });
        }
    }

    pub(super) fn decide(&self, state: &State, now: Timestamp) -> Decision {
        let judged = if state.stopping || state.hurried { Timestamp::from_ns(u64::MAX) } else { now };
        self.batcher.decide(&state.queue, judged)
    }

    /// Rejects what timed out at `now`, with the lock released meanwhile.
    pub(crate) fn expire(&self, state: &mut MutexGuard<'_, State>, now: Timestamp) {
        let rejected = state.queue.expire(now);
        if !rejected.is_empty() {
            self.notify_if_ended(state);
            let unneeded = if state.queue.is_empty() { state.give_up_turns() } else { None };
            let error = Error::unavailable("Request timeout expired");
            MutexGuard::unlocked(state, || {
                drop(unneeded);
                self.fail(rejected, now, FailureReason::Rejected, &error);
            });
        }
    }

    fn fail(
        &self,
        entries: impl IntoIterator<Item = Entry>,
        now: Timestamp,
        reason: FailureReason,
        error: &Error,
    ) {
        instance::fail(entries, now, reason, error, &self.statistics);
    }

    /// Runs `job`, answers its requests and gives the instance back. What the answers make possible goes to `later`.
    pub(crate) fn run(&self, job: Job, later: &mut Continuations) -> MutexGuard<'_, State> {
        let Job { mut seat, entries, number, grant } = job;
        let Seat { instance, statistics, clock, .. } = &mut seat;
        let outcome = instance::run(&mut **instance, &self.config, entries, statistics, Some(clock));
        let instance = seat.number;
        let taken = Taken { shared: self, seat: Some(seat), grant };
        let answers = match outcome {
            Outcome::Done { answers, elapsed_ns } => {
                self.pace.record(elapsed_ns);
                answers
            }
            // Nobody waits for what was told to stop, and the backend did nothing wrong.
            Outcome::Failed(failed) if self.state.lock().running.was_terminated(instance) => {
                failed.cancelled(&self.statistics)
            }
            Outcome::Failed(failed) => failed.blame_backend(taken.statistics()),
        };
        match &self.ordering {
            Some(ordering) => ordering.release(number, answers, later),
            None => answers.into_iter().for_each(|(responder, result)| later.add(responder.respond(result))),
        }
        taken.give_back()
    }

    /// Waits until every instance is idle for good, and frees them. The scheduler has stopped, and its threads
    /// have ended; a lead may still run what was left.
    pub(crate) fn close(&self) {
        let mut state = self.state.lock();
        if let Some(unneeded) = state.give_up_turns() {
            MutexGuard::unlocked(&mut state, || drop(unneeded));
        }
        while state.idle.len() < self.instances {
            self.returned.wait(&mut state);
        }
        let (seats, turns) = (std::mem::take(&mut state.idle), state.turns.take());
        drop(state);
        drop((turns, seats));
    }

    /// Threads end when the scheduler stops and its queue is empty: tells those that sleep.
    fn notify_if_ended(&self, state: &State) {
        if state.stopping && state.queue.is_empty() {
            self.work.notify_all();
            self.expiry.notify_all();
        }
    }

    /// See [`crate::Scheduler::release_held`].
    pub(crate) fn release_held(&self) {
        let mut state = self.state.lock();
        if std::mem::take(&mut state.hold) > 0 {
            self.work.notify_one();
        }
    }

    /// See [`crate::Scheduler::stop_waiting`].
    pub(crate) fn stop_waiting(&self) {
        let mut state = self.state.lock();
        state.hold = 0;
        state.hurried = true;
        self.work.notify_one();
    }

    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        state.stopping = true;
        self.work.notify_all();
        self.expiry.notify_all();
    }
}

impl<'a> Taken<'a> {
    /// Where executions of the instance count.
    fn statistics(&self) -> &Statistics {
        self.seat.as_ref().map_or(&self.shared.statistics, |seat| &seat.statistics)
    }

    fn give_back(mut self) -> MutexGuard<'a, State> {
        let mut state = self.shared.state.lock();
        self.put(&mut state);
        if let Some(grant) = self.grant.take() {
            self.shared.pass_on(&mut state, grant);
        }
        state
    }

    fn put(&mut self, state: &mut State) {
        if let Some(seat) = self.seat.take() {
            state.running.finish(seat.number);
            state.idle.push_back(seat);
            if state.stopping {
                self.shared.returned.notify_all();
            }
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.seat.is_some() {
            let shared = self.shared;
            self.put(&mut shared.state.lock());
        }
    }
}

/// The error for a request that was never accepted: such a one is counted nowhere.
fn refuse(entry: Entry, reason: Error) -> Error {
    let Entry { request, responder, .. } = entry;
    responder.forget();
    reason.prefixed(&request.log_prefix())
}
