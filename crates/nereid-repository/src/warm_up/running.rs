//! Runs samples on instances before a scheduler gets them. When the server ends, those that run are told to stop and no
//! other begins.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use nereid_core::backend::{Instance, Terminate};
use nereid_core::{Error, ModelConfig, Result};
use nereid_scheduler::{Statistics, warm_up};
use parking_lot::Mutex;

use super::samples::{Sample, failed};

/// Every warm-up that runs in this process.
#[derive(Default)]
pub(crate) struct WarmUps(Mutex<Books>);

#[derive(Default)]
struct Books {
    stopped: bool,
    next: u64,
    /// Those that can be stopped while they run.
    running: BTreeMap<u64, Arc<dyn Terminate>>,
}

/// Whom a warm-up is for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) config: &'a ModelConfig,
    pub(crate) statistics: &'a Statistics,
    /// Of the instance, for the log.
    pub(crate) name: &'a str,
}

/// An entry in the books, for as long as it runs.
struct Listed<'a> {
    warm_ups: &'a WarmUps,
    number: Option<u64>,
}

impl WarmUps {
    /// Runs every sample on `instance`, as often as it says, up to the first that fails.
    ///
    /// # Errors
    /// `InvalidArg` with Triton's text: the model failed; Unavailable: [`Self::stop`] was called.
    pub(crate) fn run(
        &self,
        instance: &mut dyn Instance,
        samples: &[Sample],
        subject: Subject<'_>,
    ) -> Result<()> {
        let Subject { config, statistics, name } = subject;
        let _listed = self.list(instance.terminator());
        for sample in samples {
            for iteration in 1..=sample.count {
                self.check_open(config)?;
                tracing::debug!(
                    "model '{}' instance {name} is running warmup sample '{}' for iteration {iteration}",
                    config.name,
                    sample.name
                );
                let result = warm_up(instance, config, sample.batch(), statistics);
                if let Err(e) = result {
                    self.check_open(config)?; // told to stop, it has failed for that
                    tracing::debug!(
                        "model '{}' instance {name} failed to run warmup sample '{}'",
                        config.name,
                        sample.name
                    );
                    return Err(failed(&sample.name, e.message()));
                }
            }
        }
        Ok(())
    }

    /// Tells what runs to stop, and lets nothing else begin.
    pub(crate) fn stop(&self) {
        let mut books = self.0.lock();
        books.stopped = true;
        books.running.values().for_each(|terminator| terminator.terminate());
    }

    /// Whoever is listed after [`Self::stop`] does not get to run anything.
    fn list(&self, terminator: Option<Arc<dyn Terminate>>) -> Listed<'_> {
        let number = terminator.map(|terminator| {
            let mut books = self.0.lock();
            let number = books.next;
            books.next += 1;
            books.running.insert(number, terminator);
            number
        });
        Listed { warm_ups: self, number }
    }

    fn check_open(&self, config: &ModelConfig) -> Result<()> {
        if self.0.lock().stopped {
            return Err(Error::unavailable(format!(
                "warm-up of model '{}' was stopped: the server is ending",
                config.name
            )));
        }
        Ok(())
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.warm_ups.0.lock().running.remove(&number);
        }
    }
}

impl fmt::Debug for WarmUps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WarmUps").finish_non_exhaustive()
    }
}
