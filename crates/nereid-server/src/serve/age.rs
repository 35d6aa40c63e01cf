//! The age at which a connection is to be replaced. Spread out, so that the clients of a server that started with
//! many connections at once do not all come back at once.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// How far the age of a connection is from what was asked for, at most: as gRPC
/// (`MAX_CONNECTION_AGE_JITTER` of `chttp2_transport.cc`).
const JITTER: f64 = 0.1;

/// Ends when a connection that begins now is `max_age` old, more or less; never without one.
pub(super) async fn reached(max_age: Option<Duration>) {
    match max_age {
        None => std::future::pending().await,
        Some(age) => tokio::time::sleep(spread(age, random())).await,
    }
}

/// `age`, changed by at most [`JITTER`]; `random` is from 0 to 1.
fn spread(age: Duration, random: f64) -> Duration {
    age.mul_f64(1.0 + JITTER * (2.0 * random - 1.0))
}

/// From 0 to 1, different for each call. Nothing secret depends on it.
pub(super) fn random() -> f64 {
    const BITS: u32 = 53; // of an f64's precision
    (RandomState::new().hash_one(()) >> (u64::BITS - BITS)) as f64 / (1u64 << BITS) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_percent_more_or_less() {
        let age = Duration::from_secs(100);
        for (random, expected) in [(0.0, 90), (0.5, 100), (1.0, 110)] {
            assert_eq!(spread(age, random), Duration::from_secs(expected));
        }
        let drawn: Vec<_> = (0..100).map(|_| random()).collect();
        assert!(drawn.iter().all(|r| (0.0..=1.0).contains(r)));
        assert!(drawn.iter().any(|r| *r < 0.4) && drawn.iter().any(|r| *r > 0.6), "{drawn:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn no_age_is_never_reached() {
        let start = tokio::time::Instant::now();
        reached(Some(Duration::from_secs(10))).await;
        assert!((9..=11).contains(&start.elapsed().as_secs()));
        assert!(tokio::time::timeout(Duration::from_secs(1 << 30), reached(None)).await.is_err());
    }
}
