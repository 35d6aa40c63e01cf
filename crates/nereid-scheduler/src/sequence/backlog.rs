//! Sequences that wait for a slot, first come, first served. A request with a time-out makes its whole sequence time
//! out. Pure; `now` is an argument.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use nereid_core::{CorrelationId, Timestamp};

use crate::batching::queue::Entry;

/// A sequence without a slot.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) id: CorrelationId,
    pub(crate) entries: VecDeque<Entry>,
    /// More of its requests may come.
    pub(crate) open: bool,
    /// When the last one came.
    pub(crate) last: Timestamp,
    expires: Option<Timestamp>,
}

/// All sequences without a slot, by their numbers, which ascend.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    sequences: BTreeMap<u64, Waiting>,
    /// Those to which requests may be added.
    open: HashMap<CorrelationId, u64>,
    expiries: BTreeSet<(Timestamp, u64)>,
    requests: usize,
}

impl Backlog {
    /// Requests that wait here.
    pub(crate) fn len(&self) -> usize {
        self.requests
    }

    /// The number of the open sequence `id`.
    pub(crate) fn find(&self, id: &CorrelationId) -> Option<u64> {
        self.open.get(id).copied()
    }

    /// Adds a sequence that begins with `entry`. No open one has its id; `number` is higher than all before.
    pub(crate) fn begin(&mut self, number: u64, entry: Entry) {
        let id = entry.request.sequence().id.clone();
        self.open.insert(id.clone(), number);
        let last = entry.enqueued;
        let waiting = Waiting { id, entries: VecDeque::new(), open: true, last, expires: None };
        self.sequences.insert(number, waiting);
        self.join(number, entry);
    }

    /// Adds `entry` to the open sequence `number`.
    pub(crate) fn join(&mut self, number: u64, entry: Entry) {
        let Some(waiting) = self.sequences.get_mut(&number) else { return };
        waiting.last = entry.enqueued;
        let asked = entry.request.timeout_us();
        let expires = entry.enqueued.plus_us(asked);
        if asked != 0 && waiting.expires.is_none_or(|earlier| expires < earlier) {
            if let Some(earlier) = waiting.expires.replace(expires) {
                self.expiries.remove(&(earlier, number));
            }
            self.expiries.insert((expires, number));
        }
        if entry.request.sequence().end {
            waiting.open = false;
            self.open.remove(&waiting.id);
        }
        waiting.entries.push_back(entry);
        self.requests += 1;
    }

    /// Takes the sequence that has waited longest, with its number.
    pub(crate) fn pop(&mut self) -> Option<(u64, Waiting)> {
        let (number, _) = self.sequences.first_key_value()?;
        let number = *number;
        Some((number, self.remove(number)?))
    }

    /// Takes the sequence `number`, if it is here.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Waiting> {
        let waiting = self.sequences.remove(&number)?;
        if waiting.open {
            self.open.remove(&waiting.id);
        }
        if let Some(expires) = waiting.expires {
            self.expiries.remove(&(expires, number));
        }
        self.requests -= waiting.entries.len();
        Some(waiting)
    }

    /// Takes the requests of all sequences that have timed out at `now`.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Entry> {
        let mut expired = Vec::new();
        while let Some(&(expires, number)) = self.expiries.first()
            && expires <= now
        {
            expired.extend(self.remove(number).into_iter().flat_map(|waiting| waiting.entries));
        }
        expired
    }

    /// No sequence times out before this moment.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.first().map(|(expires, _)| *expires)
    }
}
