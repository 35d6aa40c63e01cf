//! One model's scheduler: the queue behind a lock, the instances that wait for work, and who is told
//! when there is some. There is no thread between: instances' threads, or the thread that received a
//! request ([`Lead`]), pull the next batch themselves.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::thread::{self, JoinHandle, ThreadId};
use std::time::Duration;

use nereid_core::backend::Instance;
use nereid_core::config::Scheduling;
use nereid_core::{Error, ModelConfig, Responder, Result, Timestamp, ValidRequest};
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::batcher::{Batcher, Decision};
use crate::instance;
use crate::lead::Lead;
use crate::ordering::Ordering;
use crate::pace::Pace;
use crate::queue::{Entry, Queue};
use crate::statistics::{FailureReason, Statistics};
use crate::{timer, worker};

/// What a scheduler is made of.
pub struct SchedulerOptions {
    pub config: Arc<ModelConfig>,
    /// Instances that take requests; passive ones stay out.
    pub instances: Vec<Box<dyn Instance>>,
    /// Hold the first batch until this many requests wait; 0 for normal service. A test hook of
    /// Triton's (`TRITONSERVER_DELAY_SCHEDULER`).
    pub delay_until_queued: usize,
}

/// Queue, batcher and instances of one version of a model.
///
/// Dropping it refuses nothing that was accepted: its threads finish the queue, then end.
pub struct Scheduler {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Scheduler {
    /// Starts one thread per instance.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(options: SchedulerOptions) -> Result<Self> {
        Self::start_with(options, Arc::default())
    }

    /// As [`Self::start`], counting on in the `statistics` of the scheduler that this one takes over from.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start_with(options: SchedulerOptions, statistics: Arc<Statistics>) -> Result<Self> {
        let SchedulerOptions { config, instances, delay_until_queued } = options;
        let (queue, ordering) = match &config.scheduling {
            Scheduling::Default => (Queue::unlimited(), None),
            Scheduling::DynamicBatching(batching) => {
                (Queue::new(batching), batching.preserve_ordering.then(Ordering::default))
            }
        };
        let (workers, has_timeouts) = (instances.len(), queue.has_timeouts());
        let shared = Arc::new(Shared {
            batcher: Batcher::new(&config),
            pace: Pace::default(),
            statistics,
            ordering,
            has_instances: workers > 0,
            state: Mutex::new(State {
                queue,
                idle: instances.into(),
                running: 0,
                next_batch: 0,
                hold: delay_until_queued,
                stopping: false,
                leads: Vec::new(),
                wake_at_rows: None,
                timer_until: None,
            }),
            work: Condvar::new(),
            expiry: Condvar::new(),
            done: Condvar::new(),
            config,
        });
        let mut scheduler = Self { shared, threads: Vec::with_capacity(workers + 1) };
        for i in 0..workers {
            scheduler.spawn(&format!("instance-{i}"), worker::run)?;
        }
        if has_timeouts {
            scheduler.spawn("queue-timer", timer::run)?;
        }
        Ok(scheduler)
    }

    fn spawn(&mut self, name: &str, body: fn(Arc<Shared>)) -> Result<()> {
        let shared = self.shared.clone();
        let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || body(shared));
        let thread = spawned.map_err(|e| {
            Error::internal(format!("failed to start a thread for model '{}': {e}", self.shared.config.name))
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Queues a request; its answer, refusal included, goes to `responder`.
    ///
    /// When a [`Lead`] comes back the model is fast and idle: the caller is asked to run it on its own
    /// thread, after it has let other requests that are already there arrive. Dropping it hands the work
    /// to the instances' threads.
    #[must_use = "a lead that is dropped at once costs a wake-up"]
    pub fn enqueue(&self, request: ValidRequest, responder: Responder) -> Option<Lead> {
        Shared::enqueue(&self.shared, Entry::new(request, responder, Timestamp::now()))
    }

    /// Counters of this version.
    pub fn statistics(&self) -> &Arc<Statistics> {
        &self.shared.statistics
    }

    /// Requests that wait for an instance.
    pub fn pending(&self) -> usize {
        self.shared.state.lock().queue.len()
    }

    /// Requests that wait or run.
    pub fn in_flight(&self) -> usize {
        let state = self.shared.state.lock();
        state.queue.len() + state.running
    }

    /// Refuses new requests; those already queued run, without waiting for company.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Waits until nothing waits or runs, at most `timeout`. Returns the requests left.
    pub fn drain(&self, timeout: Duration) -> usize {
        let end = Timestamp::now().plus_us(u64::try_from(timeout.as_micros()).unwrap_or(u64::MAX));
        let mut state = self.shared.state.lock();
        loop {
            let left = state.queue.len() + state.running;
            let rest = end.since(Timestamp::now());
            if left == 0 || rest.is_zero() {
                return left;
            }
            self.shared.done.wait_for(&mut state, rest);
        }
    }

    /// Finishes what was accepted, refuses the rest, and waits, however long it takes, until the threads have
    /// ended; dropping the scheduler then frees the instances. Must not be called on a thread of the scheduler.
    pub fn join(&mut self) {
        self.shared.stop();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(model = self.shared.config.name, "a thread of the scheduler panicked");
            }
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl fmt::Debug for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduler").field("model", &self.shared.config.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for SchedulerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchedulerOptions").field("model", &self.config.name).finish_non_exhaustive()
    }
}

/// What the scheduler, its threads and its leads share.
pub(crate) struct Shared {
    config: Arc<ModelConfig>,
    batcher: Batcher,
    pace: Pace,
    statistics: Arc<Statistics>,
    ordering: Option<Ordering>,
    has_instances: bool,
    pub(crate) state: Mutex<State>,
    /// An idle instance and something to decide.
    pub(crate) work: Condvar,
    /// A time-out before the one that the timer waits for.
    pub(crate) expiry: Condvar,
    /// Nothing waits or runs.
    done: Condvar,
}

pub(crate) struct State {
    pub(crate) queue: Queue,
    pub(crate) idle: VecDeque<Box<dyn Instance>>,
    /// Requests in execution.
    running: usize,
    /// Number of the next batch, for [`Ordering`].
    next_batch: u64,
    hold: usize,
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
    instance: Box<dyn Instance>,
    entries: Vec<Entry>,
    number: u64,
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
    fn enqueue(self: &Arc<Self>, entry: Entry) -> Option<Lead> {
        let mut state = self.state.lock();
        if state.stopping || !self.has_instances {
            drop(state);
            let reason = if self.has_instances {
                "Server is stopping, scheduler for model has stopped accepting new inference requests"
                    .to_owned()
            } else {
                format!("model '{}' has no instance that takes requests", self.config.name)
            };
            refuse(entry, &reason);
            return None;
        }
        if let Err(entry) = state.queue.push(entry) {
            drop(state);
            refuse(*entry, "Exceeds maximum queue size");
            return None;
        }
        if state.queue.next_deadline().is_some_and(|d| state.timer_until.is_none_or(|until| d < until)) {
            self.expiry.notify_one();
        }
        if state.idle.is_empty() {
            return None; // whoever gives an instance back looks at the queue again
        }
        if self.may_lead() {
            return self.lead(&mut state);
        }
        if self.batcher.compares_inputs() || state.wake_at_rows.is_none_or(|rows| state.queue.rows() >= rows)
        {
            self.work.notify_one();
        }
        None
    }

    /// Whether batches may run on the threads that receive requests.
    pub(crate) fn may_lead(&self) -> bool {
        self.pace.is_fast() && !self.batcher.waits()
    }

    /// A lead for this thread, unless it has one or the idle instances are all spoken for.
    pub(crate) fn lead(self: &Arc<Self>, state: &mut State) -> Option<Lead> {
        let thread = thread::current().id();
        if state.leads.len() >= state.idle.len() || state.leads.contains(&thread) {
            return None;
        }
        state.leads.push(thread);
        Some(Lead::new(self.clone(), thread))
    }

    /// Takes what is to be done at `now`. Requests that timed out or were cancelled are answered on the
    /// way, under the lock: [`Respond::respond`](nereid_core::Respond) neither blocks nor enqueues.
    pub(crate) fn next(&self, state: &mut State, now: Timestamp) -> Next {
        loop {
            self.expire(state, now);
            if state.hold > state.queue.len() && !state.stopping {
                return Next::Idle;
            }
            state.hold = 0;
            // When stopping, nothing is held back for company.
            let judged = if state.stopping { Timestamp::from_ns(u64::MAX) } else { now };
            let requests = match self.batcher.decide(&state.queue, judged) {
                Decision::Idle => return Next::Idle,
                Decision::Wait { until, rows } => return Next::Wait { until, rows },
                Decision::Run { requests } => requests,
            };
            let Some(instance) = state.idle.pop_front() else { return Next::Idle };
            let mut entries = state.queue.take(requests);
            if entries.iter().any(|entry| entry.responder.is_cancelled()) {
                let (gone, kept) = entries.into_iter().partition(|entry| entry.responder.is_cancelled());
                entries = kept;
                self.fail(gone, now, FailureReason::Canceled, &Error::cancelled());
            }
            if entries.is_empty() {
                state.idle.push_front(instance);
                self.notify_if_done(state);
                continue;
            }
            let number = state.next_batch;
            state.next_batch += 1;
            state.running += entries.len();
            return Next::Run(Job { instance, entries, number });
        }
    }

    /// Rejects what timed out at `now`.
    pub(crate) fn expire(&self, state: &mut State, now: Timestamp) {
        let rejected = state.queue.expire(now);
        if !rejected.is_empty() {
            self.fail(rejected, now, FailureReason::Rejected, &Error::unavailable("Request timeout expired"));
            self.notify_if_done(state);
        }
    }

    fn fail(&self, entries: Vec<Entry>, now: Timestamp, reason: FailureReason, error: &Error) {
        for entry in entries {
            self.statistics.record_failure(reason, now.ns_since(entry.enqueued));
            entry.responder.respond(Err(error.clone()));
        }
    }

    /// Runs `job`, answers its requests and gives the instance back.
    pub(crate) fn run(&self, job: Job) -> MutexGuard<'_, State> {
        let Job { mut instance, entries, number } = job;
        let count = entries.len();
        let (answers, elapsed_ns) = instance::run(&mut *instance, &self.config, entries, &self.statistics);
        if let Some(elapsed_ns) = elapsed_ns {
            self.pace.record(elapsed_ns);
        }
        match &self.ordering {
            Some(ordering) => ordering.release(number, answers),
            None => answers.into_iter().for_each(|(responder, result)| responder.respond(result)),
        }
        let mut state = self.state.lock();
        state.idle.push_back(instance);
        state.running -= count;
        self.notify_if_done(&state);
        state
    }

    fn notify_if_done(&self, state: &State) {
        if state.running == 0 && state.queue.is_empty() {
            self.done.notify_all();
            if state.stopping {
                self.work.notify_all();
                self.expiry.notify_all();
            }
        }
    }

    fn stop(&self) {
        let mut state = self.state.lock();
        state.stopping = true;
        self.work.notify_all();
        self.expiry.notify_all();
    }
}

/// Refuses a request that was never accepted: such a one is counted nowhere.
fn refuse(entry: Entry, reason: &str) {
    let Entry { request, responder, .. } = entry;
    responder.refuse(Error::unavailable(reason).prefixed(&request.log_prefix()));
}
