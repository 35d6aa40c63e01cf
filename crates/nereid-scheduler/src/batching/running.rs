//! Which requests run on which instance, and who of them still waits for an answer. When nobody does, the
//! instance is told to stop. Pure but for that call.
//!
//! Why a stop meets its own batch and no other: [`Running::leave`] tells the instance only between
//! [`Running::start`] and [`Running::finish`] of the batch, and `finish` takes the word back. All three are
//! called under the scheduler's lock, and the instance starts its next batch only after `finish`. A word that
//! comes before the execution has begun stays in force until it does; one that comes when it is over already
//! is taken back with nothing done.

use std::fmt;
use std::sync::Arc;

use nereid_core::backend::{Instance, Terminate};

use super::queue::Entry;
use crate::ActiveInstance;
use crate::statistics::{Clock, Statistics};

/// An instance, and where [`Running`] keeps its books.
pub(crate) struct Seat {
    pub(crate) instance: Box<dyn Instance>,
    pub(crate) number: usize,
    /// Where its executions count.
    pub(crate) statistics: Arc<Statistics>,
    /// When it ran.
    pub(crate) clock: Arc<Clock>,
}

/// What every instance runs.
pub(crate) struct Running(Vec<Runs>);

/// What one instance runs. The list is kept from one batch to the next, so that it allocates nothing.
struct Runs {
    /// Serial numbers of the requests whose clients are there.
    waited_for: Vec<u64>,
    terminator: Option<Arc<dyn Terminate>>,
    /// It was told to stop.
    terminated: bool,
}

impl Running {
    /// Books for `instances`, none of which runs anything, and a seat for each. Who has no statistics of its own counts
    /// in `statistics`.
    pub(crate) fn new(
        instances: Vec<ActiveInstance>,
        statistics: &Arc<Statistics>,
    ) -> (Self, impl Iterator<Item = Seat>) {
        let terminators = instances.iter().map(|active| active.instance.terminator());
        let runs =
            terminators.map(|terminator| Runs { waited_for: Vec::new(), terminator, terminated: false });
        let running = Self(runs.collect());
        let seats = instances.into_iter().enumerate().map(|(number, active)| {
            let ActiveInstance { instance, statistics: own } = active;
            let statistics = own.unwrap_or_else(|| statistics.clone());
            let clock = statistics.clock();
            Seat { instance, number, statistics, clock }
        });
        (running, seats)
    }

    /// `entries` are about to run on instance `number`, which is idle.
    pub(crate) fn start(&mut self, number: usize, entries: &[Entry]) {
        self.0[number].waited_for.extend(entries.iter().map(|entry| entry.serial));
    }

    /// Nobody waits for the request `serial` any more, if it runs at all.
    pub(crate) fn leave(&mut self, serial: u64) {
        let found = self.0.iter_mut().find_map(|runs| {
            let index = runs.waited_for.iter().position(|other| *other == serial)?;
            Some((runs, index))
        });
        let Some((runs, index)) = found else { return };
        runs.waited_for.swap_remove(index);
        if !runs.waited_for.is_empty() {
            return;
        }
        if let Some(terminator) = &runs.terminator {
            terminator.terminate();
            runs.terminated = true;
        }
    }

    /// Whether what instance `number` runs was told to stop.
    pub(crate) fn was_terminated(&self, number: usize) -> bool {
        self.0[number].terminated
    }

    /// Instance `number` is idle again.
    pub(crate) fn finish(&mut self, number: usize) {
        let runs = &mut self.0[number];
        runs.waited_for.clear();
        if std::mem::take(&mut runs.terminated)
            && let Some(terminator) = &runs.terminator
        {
            terminator.reset();
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seat").field(&self.number).finish()
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|runs| &runs.waited_for)).finish()
    }
}
