//! The requests of one priority level: those that wait, and behind them those that timed out and were put off. Knows when
//! they time out, but not what becomes of them then.

use std::collections::BTreeSet;

use nereid_core::Timestamp;

use super::line::Line;
use super::queue::Entry;

/// One level of a queue.
#[derive(Debug, Default)]
pub(crate) struct Level {
    waiting: Line,
    /// Served after `waiting`.
    delayed: Line,
    /// Deadlines and serial numbers of what waits, where a later request may time out before an earlier one. Elsewhere
    /// it is empty, and the first request that waits is the next to time out.
    deadlines: BTreeSet<(Timestamp, u64)>,
}

impl Level {
    /// Requests here.
    pub(crate) fn len(&self) -> usize {
        self.waiting.len() + self.delayed.len()
    }

    /// The requests in the order in which they are served.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.waiting.iter().chain(self.delayed.iter())
    }

    /// Adds `entry` behind what waits. `mixed` says, always the same for one level, whether it may time out before
    /// what came earlier.
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry, mixed: bool) {
        if mixed && let Some(deadline) = entry.deadline {
            self.deadlines.insert((deadline, entry.serial));
        }
        self.waiting.push(entry);
    }

    /// Puts `entry`, which timed out, behind everything. It does not time out again.
    pub(crate) fn delay(&mut self, entry: Entry) {
        self.delayed.push(Entry { deadline: None, ..entry });
    }

    /// Takes the first request.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        let entry = self.waiting.pop().or_else(|| self.delayed.pop())?;
        self.forget(&entry);
        Some(entry)
    }

    /// Takes the request of that number, wherever it stands.
    pub(crate) fn remove(&mut self, serial: u64) -> Option<Entry> {
        let entry = self.waiting.remove(serial).or_else(|| self.delayed.remove(serial))?;
        self.forget(&entry);
        Some(entry)
    }

    /// Takes what has timed out at `now`, in the order in which it came.
    pub(crate) fn take_expired(&mut self, now: Timestamp) -> Vec<Entry> {
        let is_expired = |entry: &Entry| entry.deadline.is_some_and(|deadline| now > deadline);
        if self.deadlines.is_empty() {
            return self.waiting.take_leading(is_expired);
        }
        let mut expired = Vec::new();
        while let Some((_, serial)) = self.deadlines.first().copied().filter(|(deadline, _)| now > *deadline)
        {
            self.deadlines.pop_first();
            expired.extend(self.waiting.remove(serial));
        }
        expired.sort_unstable_by_key(|entry| entry.serial);
        expired
    }

    /// When the next request times out.
    pub(crate) fn earliest_deadline(&self) -> Option<Timestamp> {
        match self.deadlines.first() {
            Some((deadline, _)) => Some(*deadline),
            None => self.waiting.iter().next()?.deadline,
        }
    }

    #[inline]
    fn forget(&mut self, gone: &Entry) {
        if !self.deadlines.is_empty()
            && let Some(deadline) = gone.deadline
        {
            self.deadlines.remove(&(deadline, gone.serial));
        }
    }
}
