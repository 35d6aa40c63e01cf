//! Settings in use: of all models or of one. They are never changed but replaced, so that a trace ends under the
//! settings it began under; when the last holder lets go, what was collected under them is written.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering::Relaxed};

use super::settings::{Layer, Mode, TraceOptions, Values};
use super::sink::Sink;

/// Settings in use.
#[derive(Debug)]
pub(super) struct Live {
    /// Different for each that ever was.
    pub(super) id: u64,
    /// As they were when they came into use; the count is that of then.
    pub(super) values: Values,
    pub(super) sink: Option<Sink>,
    pub(super) sampler: Sampler,
    /// Traces that the writer had no room for, and does not know of yet.
    pub(super) dropped: AtomicI32,
    layer: Layer,
    traces: bool,
    /// Requests that belong to a client's trace are traced, whatever the rate and the count.
    follows: bool,
    mode: Mode,
    next_trace: Arc<AtomicU64>,
}

/// What all settings have in common.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    pub(super) sink: Option<Sink>,
    /// Numbers the traced requests.
    pub(super) next_trace: Arc<AtomicU64>,
}

impl Live {
    /// Puts `values`, which come from `layer` and the layers below, to use.
    pub(super) fn new(
        id: u64,
        layer: Layer,
        values: Values,
        options: &TraceOptions,
        shared: &Shared,
    ) -> Self {
        let Shared { sink, next_trace } = shared.clone();
        let mode = options.mode;
        Self {
            id,
            values,
            sampler: Sampler::new(values.rate, values.count),
            dropped: AtomicI32::new(0),
            layer,
            traces: options.refusal(&values).is_none() && sink.is_some(),
            follows: mode == Mode::OpenTelemetry && !values.level.is_off() && sink.is_some(),
            mode,
            sink,
            next_trace,
        }
    }

    /// The values as they are now: the count is what is left of it.
    pub(super) fn now(&self) -> Values {
        Values { count: self.sampler.left(), ..self.values }
    }

    /// What this layer has of its own, as it is now.
    pub(super) fn layer(&self) -> Layer {
        Layer { count: self.layer.count.map(|_| self.sampler.left()), ..self.layer }
    }

    /// Whether any request may still be traced.
    pub(super) fn traces(&self) -> bool {
        self.follows || (self.traces && self.sampler.left() != 0)
    }

    /// Counts a request, which belongs to a client's trace if `in_trace`.
    pub(super) fn sample(&self, in_trace: bool) -> Sample {
        match if self.traces { self.sampler.sample() } else { Sample::No } {
            Sample::No if in_trace && self.follows => Sample::Yes,
            sample => sample,
        }
    }

    /// Whether traces have tensors. Spans have none.
    pub(super) fn writes_tensors(&self) -> bool {
        self.values.level.tensors && self.mode == Mode::Triton
    }

    /// The number of the next request that is traced.
    pub(super) fn next_id(&self) -> u64 {
        self.next_trace.fetch_add(1, Relaxed)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(sink) = &self.sink {
            sink.retire(self.id);
        }
    }
}

/// Counts requests: every `rate`-th is traced, until `count` of them were. Lock-free.
#[derive(Debug)]
pub(super) struct Sampler {
    /// 0 for none.
    rate: u64,
    seen: AtomicU64,
    /// How many more are traced; below 0 for any number.
    left: AtomicI32,
}

/// What becomes of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sample {
    No,
    Yes,
    /// It is traced and no other will be.
    Last,
}

impl Sampler {
    pub(super) fn new(rate: u32, count: i32) -> Self {
        Self { rate: rate.into(), seen: AtomicU64::new(0), left: AtomicI32::new(count) }
    }

    /// Counts a request.
    pub(super) fn sample(&self) -> Sample {
        if self.rate == 0
            || self.left() == 0
            || !(self.seen.fetch_add(1, Relaxed) + 1).is_multiple_of(self.rate)
        {
            return Sample::No;
        }
        let one_less = |left: i32| match left {
            0 => None,
            1.. => Some(left - 1),
            _ => Some(left),
        };
        match self.left.fetch_update(Relaxed, Relaxed, one_less) {
            Err(_) => Sample::No, // another thread took the last one
            Ok(1) => Sample::Last,
            Ok(_) => Sample::Yes,
        }
    }

    /// How many more requests are traced; below 0 for any number.
    pub(super) fn left(&self) -> i32 {
        self.left.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rate: u32, count: i32, expected: &str) {
        let sampler = Sampler::new(rate, count);
        let samples = (0..expected.len()).map(|_| match sampler.sample() {
            Sample::No => '.',
            Sample::Yes => 'x',
            Sample::Last => 'L',
        });
        assert_eq!(samples.collect::<String>(), expected, "rate {rate}, count {count}");
    }

    #[test]
    fn every_so_many_and_so_many_in_all() {
        check(1, -1, "xxxx");
        check(3, -1, "..x..x..");
        check(3, -9, "..x..x..");
        check(u32::MAX, -1, "....");
        check(1, 0, "...");
        check(0, -1, "...");
        check(1, 2, "xL...");
        check(2, 2, ".x.L....");
        check(2, 1, ".L..");
    }

    #[test]
    fn what_is_left() {
        let sampler = Sampler::new(2, 3);
        for (samples, left) in [(1, 3), (1, 2), (2, 1), (9, 0)] {
            for _ in 0..samples {
                sampler.sample();
            }
            assert_eq!(sampler.left(), left);
        }
    }

    #[test]
    fn threads_together_take_no_more_than_the_count() {
        let sampler = Sampler::new(3, 1000);
        let taken = |sampler: &Sampler| (0..3000).filter(|_| sampler.sample() != Sample::No).count();
        let taken: usize = std::thread::scope(|scope| {
            let threads = [(); 4].map(|()| scope.spawn(|| taken(&sampler)));
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!((taken, sampler.left()), (1000, 0));
    }
}
