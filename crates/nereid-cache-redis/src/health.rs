//! Whether Redis is there, when to try again, and what of it to say in the log. Pure; `now` is an argument.

use nereid_core::Timestamp;

const FIRST_PAUSE_US: u64 = 250_000;
const LONGEST_PAUSE_US: u64 = 15_000_000;

/// What is known of Redis.
#[derive(Debug, Default)]
pub(crate) struct Health {
    outage: Option<Outage>,
}

#[derive(Debug, Clone, Copy)]
struct Outage {
    since: Timestamp,
    pause_us: u64,
    next_attempt: Timestamp,
}

impl Health {
    /// Whether looks make sense.
    pub(crate) fn is_up(&self) -> bool {
        self.outage.is_none()
    }

    /// It did not answer. `true` if that is news.
    pub(crate) fn failed(&mut self, now: Timestamp) -> bool {
        let (since, pause_us) = match self.outage {
            None => (now, FIRST_PAUSE_US),
            Some(outage) => (outage.since, (outage.pause_us * 2).min(LONGEST_PAUSE_US)),
        };
        let outage = Outage { since, pause_us, next_attempt: now.plus_us(pause_us) };
        self.outage.replace(outage).is_none()
    }

    /// It answers again; for how long it did not, in nanoseconds.
    pub(crate) fn recovered(&mut self, now: Timestamp) -> Option<u64> {
        self.outage.take().map(|outage| now.ns_since(outage.since))
    }

    /// When to try again; `None` while it is up.
    pub(crate) fn next_attempt(&self) -> Option<Timestamp> {
        self.outage.map(|outage| outage.next_attempt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_a_limit_and_an_outage_is_news_once() {
        let mut health = Health::default();
        assert!(
            health.is_up()
                && health.next_attempt().is_none()
                && health.recovered(Timestamp::from_ns(0)).is_none()
        );
        let mut now = Timestamp::from_ns(5);
        let mut pauses = Vec::new();
        for attempt in 0..9 {
            assert_eq!(health.failed(now), attempt == 0);
            assert!(!health.is_up());
            let next = health.next_attempt().unwrap();
            pauses.push(next.ns_since(now) / 1_000_000);
            now = next;
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000, 15_000]);
        assert_eq!(health.recovered(now), Some(now.as_ns() - 5));
        assert!(health.is_up() && health.failed(now));
        assert_eq!(health.next_attempt(), Some(now.plus_us(FIRST_PAUSE_US)));
    }
}
