//! Requests of one model that wait: priority levels, capacity, time-outs. Pure; `now` is an argument.
//!
//! Semantics are Triton's (`scheduler_utils.cc`): level 1 is the highest, a time-out either rejects a
//! request or puts it behind all others of its level.

use std::collections::BTreeMap;

use nereid_core::config::{DynamicBatching, QueuePolicy, TimeoutAction};
use nereid_core::{Responder, Timestamp, ValidRequest};

use super::level::Level;

/// Levels that are kept although nothing waits in them.
const FEW_LEVELS: usize = 64;

/// A request, its way back, and since when it waits.
#[derive(Debug)]
pub struct Entry {
    pub request: ValidRequest,
    pub responder: Responder,
    pub enqueued: Timestamp,
    /// Given when it is queued.
    pub(crate) serial: u64,
    pub(crate) deadline: Option<Timestamp>,
}

/// Names a request that was queued, also after it has left the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Unique in its scheduler.
    pub(crate) serial: u64,
    /// Where to look for it: a priority level, or the number of a sequence.
    pub(crate) level: u64,
}

impl Entry {
    /// A request that arrives at `enqueued`.
    pub fn new(request: ValidRequest, responder: Responder, enqueued: Timestamp) -> Self {
        Self { request, responder, enqueued, serial: 0, deadline: None }
    }

    /// Rows that this request adds to a batch, at least 1.
    pub fn rows(&self) -> usize {
        self.request.inference_count()
    }
}

/// The queue of one model.
#[derive(Debug)]
pub struct Queue {
    policies: Policies,
    /// Levels that were in use lately, highest priority first.
    levels: BTreeMap<u64, Level>,
    /// So many levels there may be before the empty ones go: clients choose from as many as the config has.
    most_levels: usize,
    len: usize,
    rows: usize,
    next_serial: u64,
    /// No entry times out before this; may be early, never late.
    earliest_deadline: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Policies {
    levels: u64,
    default_level: u64,
    default: QueuePolicy,
    by_level: BTreeMap<u64, QueuePolicy>,
}

impl Queue {
    /// A queue without levels, limits or time-outs: the default scheduler's.
    pub fn unlimited() -> Self {
        Self::with(Policies::default())
    }

    /// The queue that `config` describes.
    pub fn new(config: &DynamicBatching) -> Self {
        Self::with(Policies {
            levels: config.priority_levels,
            default_level: config.default_priority_level,
            default: config.default_queue_policy,
            // Without levels there is the default policy alone, whatever else the config says.
            by_level: match config.priority_levels {
                0 => BTreeMap::new(),
                _ => config.priority_queue_policies.clone(),
            },
        })
    }

    fn with(policies: Policies) -> Self {
        Self {
            policies,
            levels: BTreeMap::new(),
            most_levels: FEW_LEVELS,
            len: 0,
            rows: 0,
            next_serial: 0,
            earliest_deadline: None,
        }
    }

    /// Whether any request can time out here.
    pub fn has_timeouts(&self) -> bool {
        let times_out = |policy: &QueuePolicy| policy.default_timeout_us > 0;
        times_out(&self.policies.default) || self.policies.by_level.values().any(times_out)
    }

    /// Requests that wait.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows that wait, over all requests.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds `entry` at the end of its priority level.
    ///
    /// # Errors
    /// Gives the entry back when its level already holds as many as its policy allows.
    pub fn push(&mut self, mut entry: Entry) -> Result<Ticket, Box<Entry>> {
        let level = self.policies.level(entry.request.priority());
        let policy = self.policies.policy(level);
        if self.levels.len() >= self.most_levels {
            self.levels.retain(|_, level| level.len() > 0);
            self.most_levels = FEW_LEVELS.max(2 * self.levels.len());
        }
        let slot = self.levels.entry(level).or_default();
        if policy.max_queue_size != 0 && slot.len() >= policy.max_queue_size as usize {
            return Err(Box::new(entry));
        }
        entry.deadline = policy.deadline(&entry);
        self.earliest_deadline = [self.earliest_deadline, entry.deadline].into_iter().flatten().min();
        self.len += 1;
        self.rows += entry.rows();
        entry.serial = self.next_serial;
        self.next_serial += 1;
        let ticket = Ticket { serial: entry.serial, level };
        slot.push(entry, policy.mixes_timeouts());
        Ok(ticket)
    }

    /// Takes one request out, wherever it stands; `None` if it has left already.
    pub fn remove(&mut self, ticket: Ticket) -> Option<Entry> {
        let level = self.levels.get_mut(&ticket.level)?;
        let entry = level.remove(ticket.serial)?;
        self.forget(std::slice::from_ref(&entry));
        Some(entry)
    }

    /// Applies time-outs at `now`: delayed requests move behind the others, rejected ones come back.
    pub fn expire(&mut self, now: Timestamp) -> Vec<Entry> {
        let mut rejected = Vec::new();
        if self.earliest_deadline.is_none_or(|deadline| now <= deadline) {
            return rejected;
        }
        for (number, level) in &mut self.levels {
            let policy = self.policies.policy(*number);
            let expired = level.take_expired(now);
            match policy.timeout_action {
                TimeoutAction::Reject => rejected.extend(expired),
                TimeoutAction::Delay => expired.into_iter().for_each(|entry| level.delay(entry)),
            }
        }
        self.earliest_deadline = self.levels.values().filter_map(Level::earliest_deadline).min();
        self.forget(&rejected);
        rejected
    }

    /// No request times out before this moment; `None` when none does.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.earliest_deadline
    }

    /// The requests in the order in which they will be served.
    pub fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.levels.values().flat_map(Level::iter)
    }

    /// Takes the first `count` requests.
    pub fn take(&mut self, count: usize) -> Vec<Entry> {
        let mut taken = Vec::with_capacity(count.min(self.len));
        for level in self.levels.values_mut() {
            while taken.len() < count {
                let Some(entry) = level.pop() else { break };
                taken.push(entry);
            }
            if taken.len() == count {
                break;
            }
        }
        self.forget(&taken);
        taken
    }

    fn forget(&mut self, gone: &[Entry]) {
        self.len -= gone.len();
        self.rows -= gone.iter().map(Entry::rows).sum::<usize>();
        if self.len == 0 {
            self.earliest_deadline = None;
        }
    }
}

impl Policies {
    /// The level that a request of `priority` joins: its own, or the default where it has none.
    fn level(&self, priority: u64) -> u64 {
        if priority == 0 || priority > self.levels { self.default_level } else { priority }
    }

    fn policy(&self, level: u64) -> QueuePolicy {
        self.by_level.get(&level).copied().unwrap_or(self.default)
    }
}

/// Reading of a policy for one request.
trait Deadline {
    /// When `entry` times out.
    fn deadline(&self, entry: &Entry) -> Option<Timestamp>;
    /// Whether a later request may time out before an earlier one: where clients choose.
    fn mixes_timeouts(&self) -> bool;
}

impl Deadline for QueuePolicy {
    /// A client's own time-out counts only if it is allowed and shorter than the default one.
    fn deadline(&self, entry: &Entry) -> Option<Timestamp> {
        let asked = entry.request.timeout_us();
        let overrides = self.allow_timeout_override && asked != 0 && asked < self.default_timeout_us;
        let timeout_us = if overrides { asked } else { self.default_timeout_us };
        (timeout_us != 0).then(|| entry.enqueued.plus_us(timeout_us))
    }

    fn mixes_timeouts(&self) -> bool {
        self.allow_timeout_override && self.default_timeout_us != 0
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
