//! A line of entries: first in, first out, but one may also leave from the middle, at once and whatever the
//! line's length. It leaves a gap behind; gaps go when their turn comes or when they are too many. Knows no
//! policy.

use std::collections::VecDeque;

use super::queue::Entry;

/// Gaps that may stay however few entries are left.
const MOST_GAPS: usize = 32;

/// Entries in the order in which they joined.
#[derive(Debug)]
pub(crate) struct Line {
    places: VecDeque<Place>,
    gaps: usize,
    /// Serial numbers ascend.
    sorted: bool,
}

#[derive(Debug)]
enum Place {
    Taken(Entry),
    /// The entry with this serial number has left.
    Gap(u64),
}

impl Place {
    fn serial(&self) -> u64 {
        match self {
            Self::Taken(entry) => entry.serial,
            Self::Gap(serial) => *serial,
        }
    }

    fn entry(&self) -> Option<&Entry> {
        match self {
            Self::Taken(entry) => Some(entry),
            Self::Gap(_) => None,
        }
    }

    /// The entry, which leaves a gap.
    fn take(&mut self) -> Option<Entry> {
        match std::mem::replace(self, Self::Gap(self.serial())) {
            Self::Taken(entry) => Some(entry),
            Self::Gap(_) => None,
        }
    }
}

impl Default for Line {
    fn default() -> Self {
        Self { places: VecDeque::new(), gaps: 0, sorted: true }
    }
}

impl Line {
    /// Entries in the line.
    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.gaps
    }

    /// The entries, first to last.
    #[inline]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.places.iter().filter_map(Place::entry)
    }

    /// Adds `entry` at the end. Serial numbers are unique.
    #[inline]
    pub(crate) fn push(&mut self, entry: Entry) {
        self.sorted = self.places.back().is_none_or(|last| self.sorted && last.serial() < entry.serial);
        self.places.push_back(Place::Taken(entry));
    }

    /// Takes the first entry.
    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Entry> {
        loop {
            match self.places.pop_front()? {
                Place::Taken(entry) => return Some(entry),
                Place::Gap(_) => self.gaps -= 1,
            }
        }
    }

    /// Takes the entry with this serial number, if it is in the line.
    pub(crate) fn remove(&mut self, serial: u64) -> Option<Entry> {
        let index = if self.sorted {
            self.places.binary_search_by_key(&serial, Place::serial).ok()?
        } else {
            self.places.iter().position(|place| place.serial() == serial)?
        };
        let entry = self.places[index].take()?;
        self.gaps += 1;
        self.close_gaps();
        Some(entry)
    }

    /// Takes the entries that `leaves` names, up to the first that it does not.
    pub(crate) fn take_leading(&mut self, leaves: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut taken = Vec::new();
        while self.iter().next().is_some_and(&leaves) {
            taken.extend(self.pop());
        }
        taken
    }

    fn close_gaps(&mut self) {
        while let Some(Place::Gap(_)) = self.places.front() {
            self.places.pop_front();
            self.gaps -= 1;
        }
        if self.gaps == self.places.len() || (self.gaps > MOST_GAPS && self.gaps > self.places.len() / 2) {
            self.places.retain(|place| matches!(place, Place::Taken(_)));
            self.gaps = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use nereid_core::testing::{identity_config, identity_request};
    use nereid_core::{Responder, Timestamp};

    use super::*;

    fn line(serials: impl IntoIterator<Item = u64>) -> Line {
        let request = || identity_request(&identity_config(8), 1, 0.0);
        let mut line = Line::default();
        for serial in serials {
            let mut entry = Entry::new(request(), Responder::nobody(), Timestamp::from_ns(0));
            entry.serial = serial;
            line.push(entry);
        }
        line
    }

    fn serials(line: &Line) -> Vec<u64> {
        line.iter().map(|entry| entry.serial).collect()
    }

    /// Removes `gone` one by one, and checks what is left after each.
    fn check(start: impl IntoIterator<Item = u64>, gone: impl IntoIterator<Item = u64>) -> Line {
        let mut line = line(start);
        let mut left = serials(&line);
        for serial in gone {
            let there = left.contains(&serial);
            left.retain(|other| *other != serial);
            assert_eq!(line.remove(serial).map(|entry| entry.serial), there.then_some(serial));
            assert_eq!((serials(&line), line.len()), (left.clone(), left.len()));
        }
        line
    }

    #[test]
    fn any_entry_may_leave_once() {
        check(0..5, [2, 2, 9, 0, 1, 4, 3, 3]);
        check([3, 1, 2, 0], [2, 2, 3, 0, 1]); // out of order
        let mut line = check([5, 6, 7, 8], [6, 7]);
        assert_eq!(line.pop().map(|entry| entry.serial), Some(5));
        assert_eq!(line.pop().map(|entry| entry.serial), Some(8));
        assert!(line.pop().is_none());
        line.push(self::line([4]).pop().unwrap());
        assert!(line.remove(4).is_some(), "an empty line may start anew");
    }

    #[test]
    fn gaps_do_not_pile_up() {
        let mut line = check(0..1000, (1..1000).filter(|serial| serial % 10 != 0));
        assert!(line.places.len() <= 2 * line.len() + MOST_GAPS, "{} places", line.places.len());
        assert_eq!(line.take_leading(|entry| entry.serial < 100).len(), 10);
        assert_eq!((line.len(), line.gaps <= line.places.len()), (90, true));
        let mut left = Vec::new();
        while let Some(entry) = line.pop() {
            left.push(entry.serial);
        }
        assert_eq!(left, (100..1000).step_by(10).collect::<Vec<_>>());
        assert_eq!((line.places.len(), line.gaps), (0, 0));
        let line = check(0..100, 0..99);
        assert_eq!(line.places.len(), 1, "nothing stays in front of the first");
    }
}
