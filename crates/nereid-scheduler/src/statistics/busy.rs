//! How much of the time instances run batches. Each has a [`Clock`], which whoever runs the instance writes, one thread at a
//! time, with plain stores: no lock, no clock read of its own. Whoever wants to know adds them up, at any time and however
//! often; nobody's question changes what another one is told.
//!
//! A run counts while it goes on, not when it ends: one that takes minutes keeps its instance busy all the time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nereid_core::Timestamp;
use parking_lot::Mutex;

const SECOND_NS: u64 = 1_000_000_000;
/// The ratio is of the second that has begun and of so many whole ones before it.
const WHOLE_SECONDS: u64 = 5;
/// Seconds that a clock remembers: more than are asked for, so that none is overwritten while it is read.
const SLOTS: usize = 8;

/// What the instances of one series of metrics have done until one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Busy {
    /// Instances that there are, those included of a version that only finishes its last requests.
    pub instances: usize,
    /// Time that they, and those that were there before them, ran batches.
    pub total_ns: u64,
    /// Time that those that there are ran batches, within the window.
    pub recent_ns: u64,
    /// How long the window is, 5 to 6 seconds; an instance that is younger was idle before.
    pub window_ns: u64,
}

/// When one instance ran. Read by anybody; on a cache line that no other instance writes.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct Clock {
    /// The start of what runs, 0 if nothing does.
    since: AtomicU64,
    /// Of runs that have ended.
    total_ns: AtomicU64,
    /// The same by second, in turn: which one in the upper half, nanoseconds of it in the lower half.
    seconds: [AtomicU64; SLOTS],
}

/// A run that has begun.
#[derive(Debug)]
#[must_use = "the instance is busy until the run has ended"]
pub(crate) struct Run<'a> {
    clock: &'a Clock,
    start: Timestamp,
}

/// The clocks of the instances that count together.
#[derive(Debug, Default)]
pub(super) struct Clocks(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// Held by us and, while the instance is there, by its scheduler.
    clocks: Vec<Arc<Clock>>,
    /// Of instances that are gone.
    gone_ns: u64,
}

impl Busy {
    /// Share of the window in which they ran, all together, 0 to 1; `None` where there is no instance.
    pub fn ratio(&self) -> Option<f64> {
        let available = self.window_ns as f64 * self.instances as f64;
        (available > 0.0).then(|| (self.recent_ns as f64 / available).min(1.0))
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.instances += other.instances;
        self.total_ns += other.total_ns;
        self.recent_ns += other.recent_ns;
        self.window_ns = self.window_ns.max(other.window_ns);
    }
}

impl Clock {
    /// The instance begins to run. Nobody else may call this before the run has ended.
    pub(crate) fn begin(&self, start: Timestamp) -> Run<'_> {
        self.since.store(start.as_ns().max(1), Ordering::Relaxed);
        Run { clock: self, start }
    }

    fn total_ns(&self, now: Timestamp) -> u64 {
        // In this order: who sees a run in the total sees that it is over, and does not count it twice.
        let total_ns = self.total_ns.load(Ordering::Acquire);
        total_ns + self.running_ns(now, 0)
    }

    /// Time of runs from the second `first` to `now`.
    fn since_second(&self, first: u64, now: Timestamp) -> u64 {
        let last = now.as_ns() / SECOND_NS;
        let of_slot = |slot: &AtomicU64| {
            let slot = slot.load(Ordering::Acquire); // as in `total_ns`
            if (first..=last).contains(&(slot >> 32)) { slot & u64::from(u32::MAX) } else { 0 }
        };
        let ended: u64 = self.seconds.iter().map(of_slot).sum();
        ended + self.running_ns(now, first * SECOND_NS)
    }

    /// Time of the run that has not ended, from the moment `from_ns` on.
    fn running_ns(&self, now: Timestamp, from_ns: u64) -> u64 {
        match self.since.load(Ordering::Relaxed) {
            0 => 0,
            since => now.as_ns().saturating_sub(since.max(from_ns)),
        }
    }

    fn add(&self, second: u64, ns: u64) {
        let slot = &self.seconds[second as usize % SLOTS];
        let before = slot.load(Ordering::Relaxed);
        let before = if before >> 32 == second { before } else { second << 32 };
        slot.store(before + ns, Ordering::Release);
    }
}

impl Run<'_> {
    /// The instance is idle again.
    pub(crate) fn end(self, end: Timestamp) {
        let Self { clock, start } = self;
        clock.since.store(0, Ordering::Relaxed);
        let (first, last) = (start.as_ns() / SECOND_NS, end.as_ns() / SECOND_NS);
        let ns = end.ns_since(start);
        if first >= last {
            clock.add(last, ns);
        } else {
            // What is older nobody asks for any more.
            for second in first.max(last.saturating_sub(SLOTS as u64 - 1))..=last {
                let from = start.as_ns().max(second * SECOND_NS);
                clock.add(second, end.as_ns().min((second + 1) * SECOND_NS) - from);
            }
        }
        let total_ns = clock.total_ns.load(Ordering::Relaxed) + ns;
        clock.total_ns.store(total_ns, Ordering::Release);
    }
}

impl Clocks {
    /// A clock for a new instance.
    pub(super) fn add(&self) -> Arc<Clock> {
        let clock = Arc::<Clock>::default();
        self.0.lock().clocks.push(clock.clone());
        clock
    }

    /// What all of them say at `now`.
    pub(super) fn busy(&self, now: Timestamp) -> Busy {
        let first = (now.as_ns() / SECOND_NS).saturating_sub(WHOLE_SECONDS);
        let mut kept = self.0.lock();
        let Kept { clocks, gone_ns } = &mut *kept;
        clocks.retain(|clock| {
            let is_there = Arc::strong_count(clock) > 1;
            if !is_there {
                *gone_ns += clock.total_ns.load(Ordering::Acquire);
            }
            is_there
        });
        Busy {
            instances: clocks.len(),
            total_ns: *gone_ns + clocks.iter().map(|clock| clock.total_ns(now)).sum::<u64>(),
            recent_ns: clocks.iter().map(|clock| clock.since_second(first, now)).sum(),
            window_ns: WHOLE_SECONDS * SECOND_NS + now.as_ns() % SECOND_NS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_ns(ms * 1_000_000)
    }

    /// (instances, total in ms, ratio in thousandths) at `ms`.
    fn shown(clocks: &Clocks, ms: u64) -> (usize, u64, Option<u64>) {
        let busy = clocks.busy(at(ms));
        let ratio = busy.ratio().map(|ratio| (ratio * 1000.0).round() as u64);
        (busy.instances, busy.total_ns / 1_000_000, ratio)
    }

    #[test]
    fn the_window_is_the_present_second_and_five_before() {
        let clocks = Clocks::default();
        let clock = clocks.add();
        clock.begin(at(10_400)).end(at(10_900));
        for (ms, ratio) in [
            (10_900, 500.0 / 5900.0),
            (11_000, 500.0 / 5000.0),
            (11_999, 500.0 / 5999.0),
            (15_999, 500.0 / 5999.0),
            (16_000, 0.0),
            (60_000, 0.0),
        ] {
            let ratio = (ratio * 1000.0_f64).round() as u64;
            assert_eq!(shown(&clocks, ms), (1, 500, Some(ratio)), "{ms} ms");
        }
    }

    #[test]
    fn a_run_counts_while_it_goes_on_and_no_more_when_it_ends() {
        let clocks = Clocks::default();
        let clock = clocks.add();
        let run = clock.begin(at(100_250));
        assert_eq!(shown(&clocks, 100_250), (1, 0, Some(0)));
        assert_eq!(shown(&clocks, 102_250), (1, 2_000, Some(381)), "2000 of 5250 ms");
        assert_eq!(shown(&clocks, 105_250), (1, 5_000, Some(952)));
        assert_eq!(shown(&clocks, 106_250), (1, 6_000, Some(1000)));
        assert_eq!(shown(&clocks, 160_500), (1, 60_250, Some(1000)));
        run.end(at(160_500));
        assert_eq!(shown(&clocks, 160_500), (1, 60_250, Some(1000)), "an end changes nothing");
        assert_eq!(shown(&clocks, 163_000), (1, 60_250, Some(500)), "2500 of 5000 ms");
        assert_eq!(shown(&clocks, 165_999), (1, 60_250, Some(83)), "500 of 5999 ms");
        assert_eq!(shown(&clocks, 166_000), (1, 60_250, Some(0)));
    }

    #[test]
    fn short_runs_add_up_within_a_second_and_over_its_end() {
        let clocks = Clocks::default();
        let clock = clocks.add();
        for start in (20_000..25_000).step_by(10) {
            clock.begin(at(start)).end(at(start + 5));
        }
        assert_eq!(shown(&clocks, 25_000), (1, 2_500, Some(500)));
        // From one second to the next, then from the first to the third.
        clock.begin(at(25_900)).end(at(26_100));
        clock.begin(at(26_500)).end(at(28_500));
        assert_eq!(shown(&clocks, 28_999), (1, 4_700, Some(533)), "1000 and 2200 of 5999 ms");
        assert_eq!(shown(&clocks, 31_999), (1, 4_700, Some(350)), "2100 of 5999 ms");
    }

    #[test]
    fn instances_share_the_ratio_and_leave_their_time_behind() {
        let clocks = Clocks::default();
        assert_eq!(shown(&clocks, 1_000), (0, 0, None), "there is nothing that could be busy");
        let (first, second) = (clocks.add(), clocks.add());
        let _run = first.begin(at(50_000));
        assert_eq!(shown(&clocks, 60_000), (2, 10_000, Some(500)));
        second.begin(at(58_000)).end(at(60_000));
        assert_eq!(shown(&clocks, 60_000), (2, 12_000, Some(700)));
        drop(second);
        assert_eq!(shown(&clocks, 60_000), (1, 12_000, Some(1000)));
        assert_eq!(shown(&clocks, 61_000), (1, 13_000, Some(1000)));
    }

    #[test]
    fn how_often_somebody_looks_changes_nothing() {
        let (watched, left_alone) = (Clocks::default(), Clocks::default());
        let both = [watched.add(), left_alone.add()];
        for start in (70_000..90_000).step_by(700) {
            let runs = both.each_ref().map(|clock| clock.begin(at(start)));
            watched.busy(at(start));
            watched.busy(at(start + 250));
            runs.into_iter().for_each(|run| run.end(at(start + 300)));
            watched.busy(at(start + 301));
        }
        assert_eq!(watched.busy(at(90_123)), left_alone.busy(at(90_123)));
        assert!(watched.busy(at(90_123)).ratio().is_some_and(|ratio| 0.4 < ratio && ratio < 0.45));
    }

    #[test]
    fn the_first_seconds_of_the_process() {
        let clocks = Clocks::default();
        let clock = clocks.add();
        let run = clock.begin(at(0));
        assert_eq!(shown(&clocks, 500), (1, 499, Some(91)), "of a window that began before the process did");
        run.end(at(500));
        assert_eq!(shown(&clocks, 500), (1, 500, Some(91)));
    }
}
