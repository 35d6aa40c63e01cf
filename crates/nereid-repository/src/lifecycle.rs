//! Loading and unloading: several models at start, one at a time afterwards. The new version of a model is
//! built beside the old one and takes its place in one step; a load that fails leaves the old one serving.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use nereid_core::{Error, Result};
use parking_lot::Mutex;

use crate::disk::ModelDir;
use crate::poll::{self, Polled};
use crate::repository::Repository;
use crate::{ControlMode, LoadParameters, ModelVersion, versions};

/// Why a model is not served.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was not found or its config is broken; nothing was changed.
    Poll(Error),
    /// Versions were tried.
    Load(Error),
}

/// A model to load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) name: &'a str,
    pub(crate) parameters: &'a LoadParameters,
}

type Outcome = Result<Arc<ModelVersion>>;

impl Repository {
    /// Loads a model, or loads it again; blocks until it serves. It is read from disk each time, also when
    /// nothing has changed there.
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
        match self.load_all(&[Wanted { name, parameters }]).pop() {
            None | Some((_, Ok(()))) => Ok(()),
            Some((_, Err(Failure::Poll(_)))) => {
                Err(Error::internal(format!("failed to load '{name}', failed to poll from model repository")))
            }
            Some((_, Err(Failure::Load(e)))) => {
                Err(Error::invalid_arg(format!("load failed for model '{name}': {}\n", e.message())))
            }
        }
    }

    /// Takes a model out of service, and with `dependents` those that were loaded for its sake. Returns before
    /// its requests in flight are finished. Unloading a model that is not there succeeds.
    ///
    /// # Errors
    /// Unavailable outside of explicit mode.
    pub fn unload_model(&self, name: &str, dependents: bool) -> Result<()> {
        let _ = dependents; // only ensembles have some, and there are none yet
        self.check_explicit()?;
        let _turn = self.turns.take(&[name]);
        self.retire(name);
        Ok(())
    }

    /// Takes every model out of service and waits, at most `timeout`, until their requests in flight are
    /// finished and they are gone. Nothing begins to serve any more, loads in flight included. Returns how
    /// many versions are left.
    pub fn shutdown(&self, timeout: Duration) -> usize {
        self.table.close();
        let names: Vec<Arc<str>> = self.table.models().keys().cloned().collect();
        let names: Vec<&str> = names.iter().map(|name| &**name).collect();
        // Not in turn: a load that hangs must not keep the server from ending.
        for model in self.loaded() {
            model.scheduler().stop();
        }
        for name in names {
            self.retire(name);
        }
        self.table.wait_until_empty(timeout)
    }

    /// Loads models, which the caller has the turn of, several versions at a time.
    pub(crate) fn load_all(&self, wanted: &[Wanted<'_>]) -> Vec<(String, Result<(), Failure>)> {
        let mut outcomes = Vec::new();
        let mut models: Vec<(Polled, BTreeSet<u64>)> = Vec::new();
        for wanted in wanted {
            match self.prepare(*wanted) {
                Ok(model) => models.push(model),
                Err(failure) => outcomes.push((wanted.name.to_owned(), Err(failure))),
            }
        }
        let tasks: Vec<(usize, u64)> = models
            .iter()
            .enumerate()
            .flat_map(|(index, (_, versions))| versions.iter().map(move |version| (index, *version)))
            .collect();
        let results = self.in_parallel(&tasks, |(index, version)| {
            (index, version, self.loader.load(&models[index].0, version))
        });
        let mut of_model: Vec<Vec<(u64, Outcome)>> = models.iter().map(|_| Vec::new()).collect();
        for (index, version, result) in results {
            of_model[index].push((version, result));
        }
        for ((model, _), mut results) in models.into_iter().zip(of_model) {
            results.sort_unstable_by_key(|(version, _)| *version);
            let outcome = self.table.finish_load(&model.name, results);
            match &outcome {
                Ok(()) => tracing::info!("successfully loaded '{}'", model.name),
                Err(_) => tracing::info!("failed to load '{}'", model.name),
            }
            outcomes.push((model.name.as_ref().to_owned(), outcome.map_err(Failure::Load)));
        }
        outcomes
    }

    /// Finds a model, reads its config, chooses its versions and marks them as loading.
    fn prepare(&self, wanted: Wanted<'_>) -> Result<(Polled, BTreeSet<u64>), Failure> {
        let Wanted { name, .. } = wanted;
        let model = self.poll(wanted).map_err(|e| {
            tracing::error!("Poll failed for model directory '{name:.200}': {e}");
            Failure::Poll(e)
        })?;
        let versions = versions::on_disk(&model.dir.path)
            .map(|present| versions::select(model.config.version_policy.as_ref(), &present, name));
        let versions = versions.and_then(|versions| {
            if versions.is_empty() {
                return Err(Error::invalid_arg(format!(
                    "at least one version must be available under the version policy of model '{name}'"
                )));
            }
            Ok(versions)
        });
        // Even without a version the model is known from now on: lookups say so, and the server is not ready.
        match versions {
            Ok(versions) => {
                self.table.update(&model.name, |entry| entry.begin_load(&versions));
                Ok((model, versions))
            }
            Err(e) => {
                self.table.update(&model.name, |_| ());
                tracing::error!("failed to load model '{name}': {e}");
                Err(Failure::Load(e))
            }
        }
    }

    fn poll(&self, Wanted { name, parameters }: Wanted<'_>) -> Result<Polled> {
        let dir =
            if parameters.files.is_empty() { self.locate(name)? } else { parameters.directory(name)? };
        poll::poll(name, dir, parameters.model_config()?, &self.options)
    }

    /// The folder of a model, which must be in exactly one repository.
    fn locate(&self, name: &str) -> Result<ModelDir> {
        let mut found = None;
        for root in &self.roots {
            if let Some(dir) = root.model(name)?
                && found.replace(dir).is_some()
            {
                return Err(Error::invalid_arg("not unique across all model repositories"));
            }
        }
        found.ok_or_else(|| Error::not_found("model not found in any model repository."))
    }

    fn retire(&self, name: &str) {
        let known = self.table.models().get_key_value(name).map(|(name, _)| name.clone());
        if let Some(name) = known {
            self.table.update(&name, |entry| entry.unload());
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

    fn in_parallel<R: Send>(&self, tasks: &[(usize, u64)], run: impl Fn((usize, u64)) -> R + Sync) -> Vec<R> {
        let threads = self.options.load_threads.clamp(1, tasks.len().max(1));
        let (next, results) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        let work = || {
            while let Some(task) = tasks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let result = run(*task);
                results.lock().push(result);
            }
        };
        thread::scope(|scope| {
            for _ in 1..threads {
                // Without further threads this one does all the work.
                let _ = thread::Builder::new().name("model-load".into()).spawn_scoped(scope, work);
            }
            work();
        });
        results.into_inner()
    }
}
