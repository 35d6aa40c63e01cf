//! The bytes of all requests together, and the refusal of those that are too many. One counter, without a lock.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI64, AtomicU64};

use nereid_core::{Error, Result};

use super::{Held, Limit, sizing};
use crate::container::{self, Memory};

/// A request of up to one part in this many of the limit is small.
const SMALL_PART: u64 = 64;
/// One part in this many of the limit is for small requests alone: large ones cannot keep them out.
const SMALL_SHARE: u64 = 8;

/// Counts bytes in flight.
///
/// A process has one, for ever: whoever counts has a plain reference to it, so that a request touches nothing that is shared
/// but the counter.
#[derive(Clone, Copy)]
pub(crate) struct Budget(&'static Shared);

/// What is seen from outside.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// `None` for no limit.
    pub(crate) limit: Option<u64>,
    pub(crate) in_flight: u64,
    /// Requests that were refused.
    pub(crate) refused: u64,
}

struct Shared {
    rule: Limit,
    /// What the process has besides requests, as far as it is known.
    others: AtomicI64,
    limit: AtomicU64,
    refused: AtomicU64,
    in_flight: Line,
}

/// On a cache line of its own: it is written all the time.
#[repr(align(128))]
struct Line(AtomicU64);

const NO_LIMIT: u64 = u64::MAX;

impl Budget {
    /// Up to as many bytes as `rule` says.
    pub(crate) fn new(rule: Limit) -> Self {
        let budget = Self(Box::leak(Box::new(Shared {
            rule,
            others: AtomicI64::new(0),
            limit: AtomicU64::new(NO_LIMIT),
            refused: AtomicU64::new(0),
            in_flight: Line(AtomicU64::new(0)),
        })));
        budget.follow(budget.others());
        budget
    }

    /// For a request that has nothing yet.
    pub(crate) fn hold(self) -> Held {
        Held::new(self)
    }

    /// Does something with models, and follows what memory that takes or gives back, where the limit comes from memory.
    /// What allocators keep of earlier requests is there before and after it, and does not count.
    pub(crate) fn around<T>(self, action: impl FnOnce() -> T) -> T {
        let before = self.others();
        let result = action();
        self.follow(self.others().saturating_sub(before));
        result
    }

    /// What the process has now besides the requests in flight.
    fn others(self) -> i64 {
        match self.0.rule {
            Limit::Memory(_) => {
                let requests = self.0.in_flight.0.load(Relaxed);
                i64::try_from(container::resident().saturating_sub(requests)).unwrap_or(i64::MAX)
            }
            Limit::None | Limit::Bytes(_) => 0,
        }
    }

    fn follow(self, grown: i64) {
        let others = self.0.others.fetch_add(grown, Relaxed).saturating_add(grown).max(0).unsigned_abs();
        self.0.limit.store(sizing::bytes(self.0.rule, others).unwrap_or(NO_LIMIT), Relaxed);
    }

    /// Says in the log how large it is.
    pub(crate) fn log(self, memory: Memory) {
        let memory = match memory {
            Memory { limit: Some(limit), .. } => format!("the container may have {limit} bytes"),
            Memory { machine: Some(machine), .. } => format!("no limit, the machine has {machine} bytes"),
            Memory { .. } => "unknown".to_owned(),
        };
        let budget = match self.usage().limit {
            Some(limit) => format!("requests in flight may have {limit} bytes"),
            None => "requests in flight have no limit".to_owned(),
        };
        tracing::info!("Memory: {memory}; {budget} (--max-inflight-bytes)");
    }

    /// What is seen from outside, now.
    pub(crate) fn usage(self) -> Usage {
        let limit = self.0.limit.load(Relaxed);
        Usage {
            limit: (limit != NO_LIMIT).then_some(limit),
            in_flight: self.0.in_flight.0.load(Relaxed),
            refused: self.0.refused.load(Relaxed),
        }
    }

    /// Counts `more` bytes of a request that has `held`.
    ///
    /// # Errors
    /// See [`Self::refuse`].
    pub(super) fn add(self, held: u64, more: u64) -> Result<()> {
        let (total, most) = self.total(held, more);
        let taken = self.0.in_flight.0.load(Relaxed);
        if taken.saturating_add(more) > most {
            return Err(self.refuse(total, taken.saturating_sub(held)));
        }
        let taken = self.0.in_flight.0.fetch_add(more, Relaxed);
        if taken.saturating_add(more) > most {
            self.subtract(more); // others were faster
            return Err(self.refuse(total, taken.saturating_sub(held)));
        }
        Ok(())
    }

    /// Whether a request that has `held` could have `more` bytes now. Nothing is counted.
    ///
    /// # Errors
    /// See [`Self::refuse`].
    pub(super) fn check(self, held: u64, more: u64) -> Result<()> {
        let (total, most) = self.total(held, more);
        let taken = self.0.in_flight.0.load(Relaxed);
        if taken.saturating_add(more) > most {
            return Err(self.refuse(total, taken.saturating_sub(held)));
        }
        Ok(())
    }

    /// Counts `more` bytes, which are there already.
    pub(super) fn force(self, more: u64) {
        self.0.in_flight.0.fetch_add(more, Relaxed);
    }

    pub(super) fn subtract(self, bytes: u64) {
        self.0.in_flight.0.fetch_sub(bytes, Relaxed);
    }

    /// What a request has with `more` bytes, and how far it may fill the budget then.
    fn total(self, held: u64, more: u64) -> (u64, u64) {
        let total = held.saturating_add(more);
        (total, self.most(total))
    }

    /// How far a request of `total` bytes may fill the budget.
    fn most(self, total: u64) -> u64 {
        let limit = self.0.limit.load(Relaxed);
        if limit == NO_LIMIT || total <= limit / SMALL_PART { limit } else { limit - limit / SMALL_SHARE }
    }

    /// The refusal of a request of `total` bytes, beside `others` of other requests.
    fn refuse(self, total: u64, others: u64) -> Error {
        self.0.refused.fetch_add(1, Relaxed);
        let (limit, most) = (self.0.limit.load(Relaxed), self.most(total));
        let flag = "Use --max-inflight-bytes to increase the limit.";
        if total > most {
            return Error::invalid_arg(format!(
                "Exceeds maximum bytes in flight: the request wants {total} bytes and can never be served, as one request \
                 may have {most} bytes of the limit of {limit} bytes. {flag}"
            ));
        }
        Error::overloaded(format!(
            "Exceeds maximum bytes in flight: the request wants {total} bytes, and {others} bytes of the limit of {limit} \
             bytes are in flight. {flag}"
        ))
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.usage().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use nereid_core::ErrorCode;

    use super::*;

    #[test]
    fn what_is_held_comes_back() {
        let budget = Budget::new(Limit::Bytes(1000));
        let (mut first, mut second) = (budget.hold(), budget.hold());
        first.grow(300).unwrap();
        first.grow(300).unwrap();
        assert_eq!(budget.usage(), Usage { limit: Some(1000), in_flight: 600, refused: 0 });
        let error = second.grow(300).unwrap_err();
        assert!(error.is_overload() && error.code() == ErrorCode::Unavailable);
        assert_eq!(
            error.message(),
            "Exceeds maximum bytes in flight: the request wants 300 bytes, and 600 bytes of the limit of 1000 bytes are in \
             flight. Use --max-inflight-bytes to increase the limit."
        );
        second.grow(15).unwrap(); // a small one
        drop(first);
        second.grow(300).unwrap();
        assert_eq!(budget.usage(), Usage { limit: Some(1000), in_flight: 315, refused: 1 });
        drop(second);
        assert_eq!(budget.usage().in_flight, 0);
    }

    #[test]
    fn a_giant_leaves_room_for_small_requests_alone() {
        let budget = Budget::new(Limit::Bytes(6400));
        let mut giant = budget.hold();
        giant.grow(5600).unwrap();
        assert!(giant.grow(1).is_err());
        assert!(budget.hold().grow(101).is_err(), "not small");
        let small: Vec<_> = (0..8)
            .map(|_| {
                let mut held = budget.hold();
                held.grow(100).unwrap();
                held
            })
            .collect();
        assert!(budget.hold().grow(1).is_err(), "full");
        drop(small);
        let mut pieces = budget.hold();
        pieces.grow(60).unwrap();
        assert!(pieces.grow(60).is_err(), "small pieces of what is not small");
    }

    #[test]
    fn what_can_never_fit_is_told_so() {
        let budget = Budget::new(Limit::Bytes(800));
        let error = budget.hold().check(701).unwrap_err();
        assert!(!error.is_overload() && error.code() == ErrorCode::InvalidArg);
        assert_eq!(
            error.message(),
            "Exceeds maximum bytes in flight: the request wants 701 bytes and can never be served, as one request may have \
             700 bytes of the limit of 800 bytes. Use --max-inflight-bytes to increase the limit."
        );
        budget.hold().check(700).unwrap();
        assert_eq!(budget.usage().in_flight, 0, "nothing is taken for what was only announced");
        let mut held = budget.hold();
        held.grow(600).unwrap();
        assert!(!held.grow(101).unwrap_err().is_overload());
        assert!(budget.hold().check(u64::MAX).is_err());
    }

    #[test]
    fn no_limit() {
        let budget = Budget::new(Limit::None);
        let mut held = budget.hold();
        held.grow(usize::MAX >> 1).unwrap();
        assert_eq!(budget.usage().limit, None);
        assert!(budget.usage().in_flight > 0);
    }

    #[test]
    fn it_follows_the_memory_of_models() {
        const MEMORY: u64 = 1 << 40;
        let budget = Budget::new(Limit::Memory(MEMORY));
        let limit = || budget.usage().limit.unwrap();
        let start = limit();
        assert!(start < MEMORY / 5);
        let model = budget.around(|| vec![1_u8; 768 << 20]); // more than all other tests together
        let loaded = limit();
        assert!(start - loaded > 128 << 20, "a fifth of the model: {start} {loaded}");
        budget.around(|| drop(model));
        assert!(limit() - loaded > 128 << 20);
        let fixed = Budget::new(Limit::Bytes(7));
        assert_eq!(fixed.around(|| vec![1_u8; 1 << 20]).len(), 1 << 20);
        assert_eq!(fixed.usage().limit, Some(7));
    }

    #[test]
    fn threads_never_exceed_it_together() {
        const THREADS: usize = 4;
        let budget = Budget::new(Limit::Bytes(8000));
        let (start, holders) = (Barrier::new(THREADS), AtomicU64::new(0));
        thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    start.wait();
                    for round in 0..20_000_usize {
                        let mut held = budget.hold();
                        if held.grow(2500 + round % 7).is_ok() {
                            assert!(holders.fetch_add(1, Relaxed) < 2, "only two fit");
                            holders.fetch_sub(1, Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(budget.usage().in_flight, 0);
    }
}
