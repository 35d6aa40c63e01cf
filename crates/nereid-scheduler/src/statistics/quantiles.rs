//! Quantiles of a stream in little memory: the biased quantiles of Cormode, Korn, Muthukrishnan and Srivastava
//! ("CKMS", 2005), which prometheus-cpp's summaries use as well. Pure: knows no time and no locks.
//!
//! A sketch keeps some of the values that it saw, in order. Between what it kept it knows a value's rank only
//! within bounds, and those bounds are narrow where a wanted quantile needs it. Unlike the paper, which looks at the
//! lower bound alone, both are held against the wanted error, so that it is kept for quantiles near 1, too; and
//! equal values are one sample, however many they are.

use std::mem;

/// A quantile that is wanted, and by how much its rank may be wrong.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quantile {
    /// 0 to 1.
    pub quantile: f64,
    /// Of the number of values: 0.01 at the quantile 0.9 means anything between the quantiles 0.89 and 0.91.
    pub error: f64,
}

/// Values that a sketch keeps at most. Quantiles whose error asks for more are as good as this allows; Triton's
/// defaults need some hundreds.
pub const MAX_SAMPLES: usize = 2048;

/// First error to be given up when [`MAX_SAMPLES`] do not suffice.
const LEAST_ERROR: f64 = 0.000_5;

/// How much wider than the narrowest the bounds may be elsewhere. They stop growing there when the stream moves away,
/// and values that arrive later inherit their neighbour's bounds and could never be let go.
const WIDEST: f64 = 4.0;

/// What is known of the values of a stream.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sketch {
    /// Ascending.
    samples: Vec<Sample>,
    count: u64,
    /// Smaller errors are not kept, because that took more than [`MAX_SAMPLES`].
    least_error: f64,
}

/// A value that was kept.
#[derive(Debug, Clone, Copy)]
struct Sample {
    value: u64,
    /// Values after the previous sample's, up to and with this one.
    gap: u32,
    /// How many of them are known to be equal to this one. Latencies in whole microseconds repeat a lot.
    equal: u32,
    /// Values that may precede this one besides those that do.
    spread: u32,
}

impl Sketch {
    /// Takes in values, which must be in ascending order.
    pub(crate) fn insert(&mut self, sorted: &[u64], wanted: &[Quantile]) {
        let mut merged: Vec<Sample> = Vec::with_capacity(self.samples.len() + sorted.len());
        let mut old = self.samples.iter().copied().peekable();
        for &value in sorted {
            while let Some(sample) = old.next_if(|sample| sample.value <= value) {
                merged.push(sample);
            }
            match merged.last_mut() {
                Some(same) if same.value == value => {
                    same.gap += 1;
                    same.equal += 1;
                }
                last => {
                    // Its rank is bounded by those of its neighbours; the ends are known exactly.
                    let next = old.peek().filter(|_| last.is_some());
                    let spread = next.map_or(0, |next| next.gap - next.equal + next.spread);
                    merged.push(Sample { value, gap: 1, equal: 1, spread });
                }
            }
        }
        merged.extend(old);
        self.samples = merged;
        self.count += sorted.len() as u64;
        self.compress(wanted);
        while self.samples.len() > MAX_SAMPLES {
            self.least_error = (self.least_error * 2.0).max(LEAST_ERROR);
            self.compress(wanted);
        }
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        *self = Self { samples: mem::take(&mut self.samples), ..Self::default() };
        self.samples.clear();
    }

    /// The value at `quantile`, NaN when there is none.
    pub(crate) fn get(&self, quantile: f64) -> f64 {
        let rank = (quantile * self.count as f64).ceil();
        let mut best = (f64::INFINITY, f64::NAN);
        let mut before = 0;
        for sample in &self.samples {
            let (first, last) = (before + sample.width(), before + u64::from(sample.gap));
            let error = (first as f64 - rank).max(rank - last as f64).max(0.0);
            if error < best.0 {
                best = (error, sample.value as f64);
            }
            before = last;
        }
        best.1
    }

    /// Lets go of values whose neighbours say enough. The smallest and the largest stay.
    fn compress(&mut self, wanted: &[Quantile]) {
        let mut before = 0; // the gaps of all samples before `last`
        let mut kept: Vec<Sample> = Vec::with_capacity(self.samples.len());
        for &sample in &self.samples {
            if kept.len() > 1
                && let Some(last) = kept.last_mut()
            {
                let joined = last.joined(sample);
                let width = joined.width();
                if width as f64 <= self.allowed(before, before + width, wanted) {
                    *last = joined;
                    continue;
                }
            }
            before += kept.last().map_or(0, |last| u64::from(last.gap));
            kept.push(sample);
        }
        self.samples = kept;
    }

    /// How far apart the ranks of neighbours may be, when they are `lower` and `upper` at worst.
    fn allowed(&self, lower: u64, upper: u64, wanted: &[Quantile]) -> f64 {
        let (count, lower, upper) = (self.count as f64, lower as f64, upper as f64);
        let (mut allowed, mut narrowest) = (f64::INFINITY, f64::INFINITY);
        for &Quantile { quantile, error } in wanted {
            let (rank, error) = (quantile * count, error.max(self.least_error));
            narrowest = narrowest.min(2.0 * error * count);
            allowed = allowed.min(if upper < rank {
                2.0 * error * (count - upper) / (1.0 - quantile)
            } else if lower > rank {
                2.0 * error * lower / quantile
            } else {
                2.0 * error * count
            });
        }
        allowed.min(WIDEST * narrowest)
    }
}

impl Sample {
    /// From the rank that the previous sample has at least to the one that the first value equal to this one has
    /// at most.
    fn width(self) -> u64 {
        u64::from(self.gap - self.equal) + u64::from(self.spread) + 1
    }

    /// `next` standing for this one as well.
    fn joined(self, next: Self) -> Self {
        let equal = if self.value == next.value { self.equal + next.gap } else { next.equal };
        Self { gap: self.gap + next.gap, equal, ..next }
    }
}

#[cfg(test)]
#[path = "quantiles_tests.rs"]
mod tests;
