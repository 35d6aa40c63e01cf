//! Loading and unloading on request, and the end. What a load does is in `update`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use nereid_core::{Error, Result};

use crate::repository::Repository;
use crate::update::{Failure, Wanted};
use crate::{ControlMode, LoadParameters, ModelId, disk, poll};

impl Repository {
    /// Loads a model, or loads it again; blocks until it serves. Does nothing if it serves already, comes without
    /// parameters, and nothing in its folder has changed since it was loaded: a config that was given then stays
    /// in force. With namespacing, this goes for the model of that name in every repository.
    ///
    /// # Errors
    /// Unavailable outside of explicit mode and after [`Self::shutdown`]; InvalidArg for a bad name or a failed
    /// load, with every version's reason; Internal if the model is not there, its config or a parameter is broken
    /// (the log says which).
    pub fn load_model(&self, name: &str, parameters: &LoadParameters) -> Result<()> {
        self.check_explicit()?;
        poll::check_name(name)?;
        let _turn = self.turns.take(&[name]);
        self.table.check_open()?;
        let models = match parameters.files.is_empty() {
            true => disk::named(&self.roots, name),
            false => [ModelId::bare(name)].into(), // what comes along belongs to no repository
        };
        let wanted: Vec<_> = models.iter().map(|model| Wanted { model, parameters }).collect();
        let (mut polled, mut failures) = (true, String::new());
        for (model, end) in self.load_all(&wanted) {
            match end {
                Ok(()) => {}
                Err(Failure::Poll(_)) => polled = false,
                Err(Failure::Load(e)) => {
                    writeln!(failures, "load failed for model '{model}': {}", e.message())
                        .expect("a String takes all")
                }
            }
        }
        if !failures.is_empty() {
            return Err(Error::invalid_arg(failures));
        }
        if !polled {
            let text = format!("failed to load '{name}', failed to poll from model repository");
            return Err(Error::internal(text));
        }
        Ok(())
    }

    /// Takes a model out of service, or with namespacing all of that name, and with `dependents` those that were
    /// loaded for its sake. Returns before its requests in flight are finished. Unloading a model that is not there
    /// succeeds.
    ///
    /// # Errors
    /// Unavailable outside of explicit mode and after [`Self::shutdown`].
    pub fn unload_model(&self, name: &str, dependents: bool) -> Result<()> {
        let _ = dependents; // only ensembles have some, and there are none yet
        self.check_explicit()?;
        self.table.check_open()?;
        let _turn = self.turns.take(&[name]);
        self.retire(name);
        Ok(())
    }

    /// The server is about to end: no request waits for others any more.
    pub fn stop_waiting(&self) {
        for model in self.loaded() {
            model.scheduler().stop_waiting();
        }
    }

    /// Takes every model out of service and waits, at most `timeout`, until their requests in flight are
    /// finished and they are gone. Nothing begins to serve any more, loads in flight
    /// included, and warm-ups are stopped. Deletes the files that
    /// came with load requests. Returns how many versions are left.
    pub fn shutdown(&self, timeout: Duration) -> usize {
        self.table.close();
        self.stop_polling.stop();
        self.stop_warm_ups();
        let names: Vec<Arc<str>> = self.table.models().keys().cloned().collect();
        // Not in turn: a load that hangs must not keep the server from ending.
        for model in self.loaded() {
            model.scheduler().stop();
        }
        for name in &names {
            self.retire(name);
        }
        let left = self.table.wait_until_empty(timeout);
        self.scratch.close();
        left
    }

    /// Tells instances that are being warmed up to stop, and lets no warm-up begin; [`Self::shutdown`] does so itself.
    pub fn stop_warm_ups(&self) {
        self.loader.warm_ups.stop();
    }

    pub(crate) fn retire(&self, name: &str) {
        let known: Vec<ModelId> = match self.table.models().get(name) {
            Some(namesakes) => namesakes.all().iter().map(|namesake| namesake.id(name)).collect(),
            None => return,
        };
        for model in &known {
            self.sources.lock().remove(model);
            self.table.update(model, |entry| entry.unload());
        }
    }

    fn check_explicit(&self) -> Result<()> {
        match self.options.control {
            ControlMode::Explicit => Ok(()),
            // Triton speaks of polling in mode `none` as well.
            ControlMode::None | ControlMode::Poll => {
                Err(Error::unavailable("explicit model load / unload is not allowed if polling is enabled"))
            }
        }
    }
}
