//! From the program's moments to the nanoseconds that Triton writes: those of `std::chrono::steady_clock`, which on
//! Linux is `CLOCK_MONOTONIC`, the time since the machine was started. Tools on the same machine can compare them.

use nereid_core::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// How far the origin of [`Timestamp`] lies behind that of the monotonic clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    origin_ns: u64,
}

impl Clock {
    /// Compares the clocks.
    pub(super) fn new() -> Self {
        let now = clock_gettime(ClockId::Monotonic);
        let now_ns = now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64;
        Self { origin_ns: now_ns.saturating_sub(Timestamp::now().as_ns()) }
    }

    /// `moment` on the monotonic clock.
    pub(super) fn ns(self, moment: Timestamp) -> u64 {
        self.origin_ns.saturating_add(moment.as_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_keep_their_distance() {
        let clock = Clock::new();
        let now = Timestamp::now();
        assert_eq!(clock.ns(now.plus_us(7)) - clock.ns(now), 7000);
        assert!(clock.ns(now) >= now.as_ns());
    }
}
