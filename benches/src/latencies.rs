//! A log-linear histogram of latencies: constant memory, no allocation while measuring, and a relative
//! error under 1 %. It keeps no order and no outliers' identity.

use std::time::Duration;

/// Linear steps per power of two, as a power of two.
const STEP_BITS: u32 = 7;
const STEPS: usize = 1 << STEP_BITS;
/// Up to 2^40 ns, 18 minutes; longer ones count as that.
const MAX_BITS: u32 = 40;

/// Counts of latencies.
#[derive(Debug, Clone)]
pub struct Latencies {
    counts: Vec<u64>,
    total: u64,
}

impl Default for Latencies {
    fn default() -> Self {
        Self { counts: vec![0; slot((1 << MAX_BITS) - 1) + 1], total: 0 }
    }
}

impl Latencies {
    /// Counts one latency of `ns` nanoseconds.
    pub fn record(&mut self, ns: u64) {
        self.counts[slot(ns.min((1 << MAX_BITS) - 1))] += 1;
        self.total += 1;
    }

    /// Adds the counts of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.total += other.total;
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.total
    }

    /// The latency that a share of `quantile` (0 to 1) does not exceed; zero if nothing was counted.
    pub fn quantile(&self, quantile: f64) -> Duration {
        let wanted = ((self.total as f64 * quantile).ceil() as u64).clamp(1, self.total.max(1));
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        Duration::from_nanos(found.map_or(0, middle))
    }
}

/// Below 2·STEPS every nanosecond has its slot, above that each power of two has STEPS of them.
fn slot(ns: u64) -> usize {
    let shift = ns.checked_ilog2().unwrap_or(0).saturating_sub(STEP_BITS);
    (shift as usize) * STEPS + (ns >> shift) as usize
}

/// Middle of the latencies that share `slot`.
fn middle(slot: usize) -> u64 {
    let shift = (slot / STEPS).saturating_sub(1);
    let low = ((slot - shift * STEPS) as u64) << shift;
    low + (1 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_latency_comes_back_within_one_percent() {
        let mut ns = 1_u64;
        while ns < 1 << MAX_BITS {
            for candidate in [ns - 1, ns, ns + 1] {
                let mut one = Latencies::default();
                one.record(candidate);
                let got = one.quantile(0.5).as_nanos() as f64;
                assert!(
                    (got - candidate as f64).abs() <= candidate as f64 * 0.01,
                    "{candidate} became {got}"
                );
            }
            ns = (ns * 3).div_ceil(2) + 1;
        }
    }

    #[test]
    fn quantiles_of_a_merged_ramp() {
        let (mut even, mut odd) = (Latencies::default(), Latencies::default());
        for ns in 1..=1000 {
            if ns % 2 == 0 { even.record(ns * 1000) } else { odd.record(ns * 1000) }
        }
        even.merge(&odd);
        assert_eq!(even.count(), 1000);
        for (quantile, expected_us) in [(0.0, 1.0), (0.5, 500.0), (0.99, 990.0), (1.0, 1000.0)] {
            let got = even.quantile(quantile).as_nanos() as f64 / 1000.0;
            assert!((got - expected_us).abs() <= expected_us * 0.01, "{quantile}: {got}");
        }
        assert_eq!(Latencies::default().quantile(0.5), Duration::ZERO);
    }

    #[test]
    fn absurd_latencies_are_clamped() {
        let mut one = Latencies::default();
        one.record(u64::MAX);
        assert!(one.quantile(1.0) > Duration::from_secs(1000));
    }
}
