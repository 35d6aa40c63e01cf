//! The bytes of one request. They are given back when it is dropped, wherever that happens.

use bytes::Bytes;
use nereid_core::Result;

use super::{Budget, LARGE};

/// What one request has of the budget.
#[derive(Debug)]
pub(crate) struct Held {
    /// `None`: nobody counts.
    budget: Option<Budget>,
    bytes: u64,
}

impl Held {
    pub(super) fn new(budget: Budget) -> Self {
        Self { budget: Some(budget), bytes: 0 }
    }

    /// For what is bounded by other means.
    pub(crate) fn uncounted() -> Self {
        Self { budget: None, bytes: 0 }
    }

    /// Has `more` bytes.
    ///
    /// # Errors
    /// There is no room for them (`Unavailable`), or never will be (`InvalidArg`). What was held before still is.
    pub(crate) fn grow(&mut self, more: usize) -> Result<()> {
        let Some(budget) = self.budget.filter(|_| more > 0) else { return Ok(()) };
        budget.add(self.bytes, more as u64)?;
        self.bytes += more as u64;
        Ok(())
    }

    /// Whether there is room for `more` bytes, which are only announced.
    ///
    /// # Errors
    /// As of [`Self::grow`].
    pub(crate) fn check(&self, more: u64) -> Result<()> {
        self.budget.map_or(Ok(()), |budget| budget.check(self.bytes, more))
    }

    /// Has `bytes` bytes from now on, more or fewer.
    ///
    /// # Errors
    /// As of [`Self::grow`].
    pub(crate) fn settle(&mut self, bytes: usize) -> Result<()> {
        match (bytes as u64).checked_sub(self.bytes) {
            Some(more) => self.grow(more as usize),
            None => {
                self.set(bytes);
                Ok(())
            }
        }
    }

    /// Has `bytes` bytes from now on, for which the memory is already taken: however many they are.
    pub(crate) fn set(&mut self, bytes: usize) {
        let Some(budget) = self.budget else { return };
        let bytes = bytes as u64;
        if bytes > self.bytes {
            budget.force(bytes - self.bytes);
        } else if bytes < self.bytes {
            budget.subtract(self.bytes - bytes);
        }
        self.bytes = bytes;
    }

    /// Takes the place of this one, which has nothing any more.
    pub(crate) fn take(&mut self) -> Self {
        let empty = Self { budget: self.budget, bytes: 0 };
        std::mem::replace(self, empty)
    }

    /// The last part of an answer that is `bytes` long in all: held until it has been written. A short answer is let go.
    pub(crate) fn until_written(mut self, last: Bytes, bytes: usize) -> Bytes {
        if bytes <= LARGE || self.budget.is_none() {
            return last;
        }
        self.set(bytes);
        Bytes::from_owner(Written { last, _held: self })
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Bytes on their way to a client.
struct Written {
    last: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Written {
    fn as_ref(&self) -> &[u8] {
        &self.last
    }
}

#[cfg(test)]
mod tests {
    use super::super::Limit;
    use super::*;

    #[test]
    fn it_follows_what_there_is() {
        let budget = Budget::new(Limit::Bytes(8000));
        let mut held = budget.hold();
        for (bytes, in_flight) in [(700, 700), (700, 700), (20, 20), (7000, 7000), (0, 0)] {
            held.settle(bytes).unwrap();
            assert_eq!(budget.usage().in_flight, in_flight);
        }
        assert!(held.settle(7001).is_err());
        held.set(9000);
        assert_eq!(budget.usage().in_flight, 9000, "there it is");
        let taken = held.take();
        drop(held);
        assert_eq!(budget.usage().in_flight, 9000);
        drop(taken);
        assert_eq!(budget.usage().in_flight, 0);
    }

    #[test]
    fn a_long_answer_counts_until_it_is_written() {
        let budget = Budget::new(Limit::Bytes(8000));
        for (bytes, in_flight) in [(LARGE, 0), (LARGE + 1, LARGE as u64 + 1)] {
            let mut held = budget.hold();
            held.grow(500).unwrap();
            let last = held.until_written(Bytes::from_static(b"last"), bytes);
            assert_eq!(budget.usage().in_flight, in_flight);
            assert_eq!(&last[..], b"last");
            let part = last.slice(1..);
            drop(last);
            assert_eq!(budget.usage().in_flight, in_flight, "a part of it is still there");
            drop(part);
            assert_eq!(budget.usage().in_flight, 0);
        }
    }

    #[test]
    fn uncounted() {
        let mut held = Held::uncounted();
        held.grow(usize::MAX).unwrap();
        held.check(u64::MAX).unwrap();
        held.settle(usize::MAX).unwrap();
        assert_eq!(held.until_written(Bytes::from_static(b"x"), usize::MAX), "x");
    }
}
