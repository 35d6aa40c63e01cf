//! Whether a model is fast enough to run on the thread that received the request. Waking another
//! thread costs more than a small model's whole execution; a large model would hold up every
//! connection of the thread.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// Executions that take longer than this on average belong on a worker thread.
const SLOW_NS: u64 = 100_000;
/// Executions shorter than this on average may run inline; the gap to [`SLOW_NS`] keeps the choice stable.
const FAST_NS: u64 = 60_000;
/// Share of a new sample in the average, as a divisor.
const WEIGHT: u64 = 8;
/// One execution this long shows that some requests of this model are slow, whatever the average says. A
/// thread that the system takes off its core for a while is usually back sooner.
const OUTLIER_NS: u64 = 20_000_000;
/// Executions that stay on worker threads after an outlier; each further outlier doubles it.
const FIRST_BAN: u64 = 64;
const LONGEST_BAN: u64 = 1 << 20;

/// Moving average of execution times. Unknown counts as slow.
///
/// Racing updates may lose a sample; that is harmless.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    average_ns: AtomicU64,
    fast: AtomicBool,
    /// Executions until the model may be fast again.
    banned: AtomicU64,
    /// Length of the last ban.
    last_ban: AtomicU64,
}

impl Pace {
    /// Takes a successful execution of `ns` into the average. Failures say nothing about the model.
    pub(crate) fn record(&self, ns: u64) {
        if ns >= OUTLIER_NS {
            let ban = (self.last_ban.load(Relaxed) * 2).clamp(FIRST_BAN, LONGEST_BAN);
            self.last_ban.store(ban, Relaxed);
            self.banned.store(ban, Relaxed);
        }
        let sample = ns.clamp(1, 4 * SLOW_NS);
        let old = self.average_ns.load(Relaxed);
        let new = if old == 0 { sample } else { old - old / WEIGHT + sample / WEIGHT };
        self.average_ns.store(new, Relaxed);
        let banned = self.banned.load(Relaxed);
        if banned > 0 {
            self.banned.store(banned - 1, Relaxed);
            self.fast.store(false, Relaxed);
        } else if new > SLOW_NS {
            self.fast.store(false, Relaxed);
        } else if new < FAST_NS {
            self.fast.store(true, Relaxed);
        }
    }

    /// Whether executions may run on the thread that received the request.
    pub(crate) fn is_fast(&self) -> bool {
        self.fast.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(pace: &Pace, ns: u64, times: u64) {
        (0..times).for_each(|_| pace.record(ns));
    }

    #[test]
    fn a_model_is_slow_until_it_has_shown_otherwise() {
        let pace = Pace::default();
        assert!(!pace.is_fast());
        pace.record(6_000);
        assert!(pace.is_fast());
        pace.record(5_000_000); // one hiccup
        assert!(pace.is_fast());
        record(&pace, 5_000_000, 4);
        assert!(!pace.is_fast());
        record(&pace, 80_000, 4); // between the bounds: stays as it was
        assert!(!pace.is_fast());
        record(&pace, 6_000, 40);
        assert!(pace.is_fast());
    }

    #[test]
    fn a_model_that_is_slow_now_and_then_stays_off_the_event_loops() {
        let pace = Pace::default();
        record(&pace, 6_000, 10);
        pace.record(OUTLIER_NS);
        record(&pace, 6_000, FIRST_BAN - 1);
        assert!(!pace.is_fast());
        pace.record(6_000);
        assert!(pace.is_fast());
        pace.record(OUTLIER_NS);
        record(&pace, 6_000, 2 * FIRST_BAN - 1);
        assert!(!pace.is_fast(), "the second time it takes twice as long");
        record(&pace, OUTLIER_NS, 100);
        record(&pace, 6_000, LONGEST_BAN);
        assert!(pace.is_fast(), "but not for ever");
    }
}
