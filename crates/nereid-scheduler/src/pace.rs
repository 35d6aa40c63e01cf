//! Whether a model is fast enough to run on the thread that received the request. Waking another
//! thread costs more than a small model's whole execution; a large model would hold up every
//! connection of the thread.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Executions longer than this belong on a worker thread.
const SLOW_NS: u64 = 100_000;
/// Executions shorter than this may run inline; the gap to [`SLOW_NS`] keeps the choice stable.
const FAST_NS: u64 = 60_000;
/// Share of a new sample in the average, as a divisor.
const WEIGHT: u64 = 8;

/// Moving average of execution times. Unknown counts as slow.
#[derive(Debug)]
pub(crate) struct Pace {
    average_ns: AtomicU64,
    /// 1 when executions may run inline.
    fast: AtomicU64,
}

impl Pace {
    /// Knows nothing yet, hence says "slow".
    pub(crate) fn unknown() -> Self {
        Self { average_ns: AtomicU64::new(0), fast: AtomicU64::new(0) }
    }

    /// Takes an execution of `ns` into the average. Racing updates may lose a sample; that is harmless.
    pub(crate) fn record(&self, ns: u64) {
        let sample = ns.clamp(1, 4 * SLOW_NS); // one long pause of the machine is not a slow model
        let old = self.average_ns.load(Relaxed);
        let new = if old == 0 { sample } else { old - old / WEIGHT + sample / WEIGHT };
        self.average_ns.store(new, Relaxed);
        if new > SLOW_NS {
            self.fast.store(0, Relaxed);
        } else if new < FAST_NS {
            self.fast.store(1, Relaxed);
        }
    }

    /// Whether executions may run on the thread that received the request.
    pub(crate) fn is_fast(&self) -> bool {
        self.fast.load(Relaxed) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_slow_until_it_has_shown_otherwise() {
        let pace = Pace::unknown();
        assert!(!pace.is_fast());
        pace.record(6_000);
        assert!(pace.is_fast());
        pace.record(5_000_000); // one hiccup
        assert!(pace.is_fast());
        for _ in 0..4 {
            pace.record(5_000_000);
        }
        assert!(!pace.is_fast());
        for _ in 0..4 {
            pace.record(80_000); // between the bounds: stays as it was
        }
        assert!(!pace.is_fast());
        for _ in 0..40 {
            pace.record(6_000);
        }
        assert!(pace.is_fast());
    }
}
