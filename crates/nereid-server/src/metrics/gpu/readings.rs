//! The last reading of the GPUs, and the thread that makes them: a call of the driver may take long, or never return, and
//! nobody must wait for it but that thread. It reads only when the page is asked for and the last reading is old enough,
//! so that an idle server stays idle.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nereid_core::Timestamp;
use parking_lot::{Condvar, Mutex};

use super::GpuValues;

/// How long a page waits for a reading; after that it shows the one before.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the page takes its values from. The thread ends when these are dropped, or its driver answers for the last time.
#[derive(Debug)]
pub(crate) struct Readings {
    shared: Arc<Shared>,
    interval: Duration,
    pub(super) patience: Duration,
}

/// The side of the thread that reads. Dropping it means that there is nothing to read, now or ever.
#[derive(Debug)]
pub(super) struct Turns(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    /// To the thread: a reading is wanted, or none ever will be.
    wanted: Condvar,
    /// To pages: there is a reading, or there never will be.
    read: Condvar,
}

#[derive(Debug, Default)]
struct State {
    values: Arc<[GpuValues]>,
    taken: Option<Timestamp>,
    is_wanted: bool,
    /// A page has waited for the reading that is wanted, and given up.
    is_late: bool,
    /// The thread has ended.
    ended: bool,
    /// Nobody reads any more.
    closed: bool,
}

impl Readings {
    /// Starts `reader` on a thread of its own. Its first reading is of now, later ones are at least `interval` apart.
    /// `None`, with a line in the log, when the system refuses the thread.
    pub(super) fn start(interval: Duration, reader: impl FnOnce(&Turns) + Send + 'static) -> Option<Self> {
        let shared = Arc::new(Shared::default());
        shared.state.lock().is_wanted = true;
        let turns = Turns(shared.clone());
        let started = thread::Builder::new().name("gpu-metrics".to_owned()).spawn(move || reader(&turns));
        if let Err(error) = started {
            tracing::warn!("GPU metrics will not be available: there is no thread for them: {error}");
            return None;
        }
        Some(Self { shared, interval, patience: PATIENCE })
    }

    /// What is to be shown now: a reading that is not older than the interval or, where the driver does not answer, the
    /// last there was. Waits for no longer than [`PATIENCE`], and only once for one reading.
    pub(in crate::metrics) fn values(&self) -> Arc<[GpuValues]> {
        let mut state = self.shared.state.lock();
        let asked = Timestamp::now();
        let is_fresh = state.taken.is_some_and(|taken| asked.since(taken) < self.interval);
        if !is_fresh && !state.is_wanted && !state.ended {
            state.is_wanted = true;
            self.shared.wanted.notify_one();
        }
        while state.is_wanted && !state.is_late && !state.ended {
            let left = self.patience.saturating_sub(Timestamp::now().since(asked));
            if self.shared.read.wait_for(&mut state, left).timed_out() && state.is_wanted && !state.ended {
                state.is_late = true;
                tracing::warn!(
                    "GPU metrics are not up to date: the driver has not answered for {:?}; the last values are shown",
                    self.patience
                );
            }
        }
        state.values.clone()
    }
}

impl Drop for Readings {
    fn drop(&mut self) {
        self.shared.state.lock().closed = true;
        self.shared.wanted.notify_one();
    }
}

impl Turns {
    /// Waits until a reading is wanted; `false` when none will be any more.
    pub(super) fn wait(&self) -> bool {
        let mut state = self.0.state.lock();
        self.0.wanted.wait_while(&mut state, |state| !state.is_wanted && !state.closed);
        !state.closed
    }

    /// Gives what was read.
    pub(super) fn answer(&self, values: Vec<GpuValues>) {
        let mut state = self.0.state.lock();
        (state.values, state.taken, state.is_wanted) = (values.into(), Some(Timestamp::now()), false);
        if std::mem::take(&mut state.is_late) {
            tracing::info!("GPU metrics are up to date again");
        }
        drop(state);
        self.0.read.notify_all();
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.0.state.lock().ended = true;
        self.0.read.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, TryRecvError, channel};

    use super::*;

    /// Readings of GPUs whose names the test sends, and what tells that the thread has ended. A name that was read serves
    /// until there is another: a reading may come before it is asked for.
    fn told(interval: Duration, patience: Duration) -> (Readings, Sender<&'static str>, Arc<()>) {
        let (sender, names) = channel::<&'static str>();
        let lives = Arc::new(());
        let witness = lives.clone();
        let reader = move |turns: &Turns| {
            let _lives = lives;
            let mut last = None;
            while turns.wait() {
                let name = match (names.try_recv(), last) {
                    (Ok(name), _) => Ok(name),
                    (Err(TryRecvError::Empty), Some(name)) => Ok(name),
                    _ => names.recv(),
                };
                let Ok(name) = name else { return };
                last = Some(name);
                turns.answer(vec![GpuValues { uuid: name.to_owned(), ..Default::default() }]);
            }
        };
        let mut readings = Readings::start(interval, reader).unwrap();
        readings.patience = patience;
        (readings, sender, witness)
    }

    fn shown(readings: &Readings) -> Option<String> {
        readings.values().first().map(|gpu| gpu.uuid.clone())
    }

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn a_reading_serves_for_its_interval() {
        let (readings, names, _) = told(LONG, LONG);
        names.send("first").unwrap();
        assert_eq!(shown(&readings).as_deref(), Some("first"));
        names.send("second").unwrap();
        assert_eq!(shown(&readings).as_deref(), Some("first"));
        let (readings, names, _) = told(Duration::ZERO, LONG);
        for name in ["first", "second", "third"] {
            names.send(name).unwrap();
            assert_eq!(shown(&readings).as_deref(), Some(name));
        }
    }

    #[test]
    fn a_driver_that_does_not_answer_is_not_waited_for() {
        let (mut readings, names, _) = told(Duration::ZERO, Duration::ZERO);
        assert_eq!(shown(&readings), None);
        assert!(readings.shared.state.lock().is_late);
        // It answers after all; from then on pages wait again.
        names.send("first").unwrap();
        readings.shared.read.wait_while(&mut readings.shared.state.lock(), |state| state.is_wanted);
        readings.patience = LONG;
        names.send("second").unwrap();
        assert_eq!(shown(&readings).as_deref(), Some("second"));
        readings.patience = Duration::ZERO;
        for _ in 0..3 {
            assert_eq!(shown(&readings).as_deref(), Some("second"), "the last values are shown");
        }
    }

    #[test]
    fn without_gpus_nobody_waits() {
        let mut readings = Readings::start(Duration::ZERO, |_| {}).unwrap();
        readings.patience = LONG;
        assert_eq!(shown(&readings), None);
        let (readings, names, _) = told(Duration::ZERO, LONG);
        names.send("last").unwrap();
        assert_eq!(shown(&readings).as_deref(), Some("last"));
        drop(names);
        for _ in 0..2 {
            assert_eq!(shown(&readings).as_deref(), Some("last"));
        }
    }

    #[test]
    fn the_thread_ends_with_its_readings() {
        let (readings, names, witness) = told(LONG, LONG);
        names.send("first").unwrap();
        shown(&readings);
        drop(readings);
        while Arc::strong_count(&witness) > 1 {
            thread::yield_now(); // the test runner ends it if that never happens
        }
    }
}
