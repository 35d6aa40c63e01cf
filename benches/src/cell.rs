//! One cell of the table: floor, server and bare `Run`, measured in turn, round after round, so that a
//! drift of the machine meets all of them alike. Ratios are taken within a round.

use std::time::Duration;

use anyhow::{Context, Result};

use crate::bare::{BareRun, Loop};
use crate::cpu;
use crate::load::{Client, Endpoint, Load, Measured};
use crate::model::Sample;

/// What is compared.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The request, and the answer that the server must give.
    pub sample: &'a Sample,
    pub server: Endpoint,
    /// An echo server for the same sample.
    pub floor: Endpoint,
}

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub rounds: usize,
    /// Load on server and floor per round.
    pub load: Duration,
    /// Time of each bare loop per round.
    pub bare_run: Duration,
    /// Keep the load generator on the last core.
    pub pin: bool,
}

/// One round.
#[derive(Debug, Clone)]
pub struct Round {
    pub floor: Measured,
    pub server: Measured,
    /// In the order of the loops given.
    pub runs: Vec<Loop>,
}

/// Measures one cell. Each stretch of load comes after a warm-up of a fifth of its time.
///
/// # Errors
/// A request failed, an answer was wrong, or one of the processes is gone.
pub fn measure(subject: Subject<'_>, load: Load, plan: Plan, runs: &mut [BareRun]) -> Result<Vec<Round>> {
    on_its_own_thread(plan.pin, || {
        let anything = Sample { expected: Vec::new(), ..subject.sample.clone() };
        let mut floor = Client::connect(&subject.floor, load, &anything).context("the echo server failed")?;
        let mut server =
            Client::connect(&subject.server, load, subject.sample).context("the server failed")?;
        let stretch = |client: &mut Client| {
            client.run(plan.load / 5)?;
            client.run(plan.load)
        };
        let mut round = || {
            Ok(Round {
                floor: stretch(&mut floor).context("the echo server failed")?,
                server: stretch(&mut server).context("the server failed")?,
                runs: runs.iter_mut().map(|run| run.run(plan.bare_run)).collect::<Result<_>>()?,
            })
        };
        (0..plan.rounds).map(|_| round()).collect()
    })
}

/// Loads from a thread that with `pin` is kept on the last core: of its own, because pinning is for life and children
/// would inherit it.
///
/// # Errors
/// Those of `load`, or it cannot be pinned.
pub(crate) fn on_its_own_thread<T: Send>(pin: bool, load: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let work = move || {
        if pin {
            cpu::pin_thread_to_last_core()?;
        }
        load()
    };
    std::thread::scope(|scope| scope.spawn(work).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
