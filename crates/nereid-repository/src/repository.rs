//! The repository as a whole: what it is made of and how it starts. Loading is in `lifecycle`, `update`
//! and `watch`, questions are in `lookup` and `index`.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use nereid_core::backend::Backend;
use nereid_core::{Error, Result};
use nereid_scheduler::{Reporters, ResponseCache};
use parking_lot::Mutex;

use crate::dependencies::Dependencies;
use crate::disk::{self, Root};
use crate::loader::Loader;
use crate::plan::Found;
use crate::readiness::Failed;
use crate::reaper::Reaper;
use crate::scratch::Scratch;
use crate::table::Table;
use crate::turns::Turns;
use crate::update::{Failure, Source, Wanted};
use crate::watch::Stop;
use crate::{ControlMode, LoadParameters, ModelId, Options, poll, survey};

/// All models of a server, from disk to loaded versions.
#[derive(Debug)]
pub struct Repository {
    pub(crate) options: Options,
    pub(crate) roots: Vec<Root>,
    pub(crate) table: Arc<Table>,
    pub(crate) loader: Loader,
    pub(crate) turns: Turns,
    /// Of every model that serves, and of every ensemble that does not fit its models.
    pub(crate) sources: Mutex<HashMap<ModelId, Source>>,
    pub(crate) dependencies: Mutex<Dependencies>,
    /// Every ensemble that is known: it is made anew when something that it is made of changes.
    pub(crate) ensembles: Mutex<HashMap<ModelId, Found>>,
    pub(crate) failed: Failed,
    pub(crate) stop_polling: Arc<Stop>,
    pub(crate) scratch: Scratch,
    startup_failures: Vec<StartupFailure>,
    /// Models among those failures that have not served since, and that somebody still wants.
    pub(crate) awaited: Mutex<BTreeSet<ModelId>>,
}

/// A model that was to be loaded at start and is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupFailure {
    pub model: ModelId,
    pub error: Error,
    /// What may be wrong with its folder, if that can be seen.
    pub hint: Option<String>,
}

impl Repository {
    /// Opens the repositories and loads what the control mode says. Blocks until every load has ended. A
    /// model that fails is recorded in [`Self::startup_failures`] and in the index; it fails nothing else.
    ///
    /// # Errors
    /// A repository is not a readable directory, the startup models contradict each other, or the system refuses
    /// a thread.
    pub fn open(options: Options, backends: Vec<Arc<dyn Backend>>) -> Result<Self> {
        let roots =
            options.paths.iter().map(|path| Root::open(path, &options)).collect::<Result<Vec<_>>>()?;
        roots.iter().for_each(survey::survey);
        let models = startup_models(&options, &roots)?;
        let table = Arc::<Table>::default();
        let loader = Loader::new(&options, backends, table.clone(), Reaper::start()?);
        let mut repository = Self {
            options,
            roots,
            table,
            loader,
            turns: Turns::default(),
            sources: Mutex::default(),
            dependencies: Mutex::default(),
            ensembles: Mutex::default(),
            failed: Failed::default(),
            stop_polling: Arc::default(),
            scratch: Scratch::default(),
            startup_failures: Vec::new(),
            awaited: Mutex::default(),
        };
        repository.startup_failures = repository.load_at_start(&models);
        let failed = repository.startup_failures.iter().map(|failure| failure.model.clone());
        repository.awaited = Mutex::new(failed.collect());
        Ok(repository)
    }

    /// The models that failed to load at start. With `--exit-on-error` the server ends if there is one
    /// (`failed to load all models`).
    pub fn startup_failures(&self) -> &[StartupFailure] {
        &self.startup_failures
    }

    /// What runs the models.
    pub fn backends(&self) -> &[Arc<dyn Backend>] {
        &self.loader.backends
    }

    /// The metrics of every model that was ever loaded.
    pub fn reporters(&self) -> &Reporters {
        &self.options.reporters
    }

    /// Where responses are cached.
    pub fn cache(&self) -> Option<&ResponseCache> {
        self.options.cache.as_deref()
    }

    fn load_at_start(&self, models: &[ModelId]) -> Vec<StartupFailure> {
        let mut failures = Vec::new();
        let mut good = Vec::new();
        let parameters = &LoadParameters::default();
        for model in models {
            match poll::check_name(&model.name) {
                Ok(()) => good.push(Wanted { model, parameters }),
                Err(error) => failures.push(StartupFailure { model: model.clone(), error, hint: None }),
            }
        }
        let outcomes = self.execute(self.plan(&good)).into_iter();
        failures.extend(outcomes.filter_map(|(model, outcome)| match outcome {
            Ok(()) => None,
            Err(Failure::Poll(error) | Failure::Load(error)) => {
                let hint = self.hint(&model, &error);
                Some(StartupFailure { model, error, hint })
            }
        }));
        // Those that are not there included, for they were asked for.
        let asked_for = failures.iter().filter(|failure| models.contains(&failure.model));
        asked_for.for_each(|failure| self.failed.add(failure.model.clone()));
        failures.sort_unstable_by(|a, b| a.model.cmp(&b.model));
        failures
    }

    /// What may be done about a model that did not load.
    fn hint(&self, model: &ModelId, error: &Error) -> Option<String> {
        match self.locate(model) {
            _ if self.options.gpus.is_empty() && error.message().contains("GPU") => {
                Some(survey::NO_GPU.to_owned())
            }
            Ok(dir) => survey::hint(&dir),
            Err(_) => survey::others(&self.roots),
        }
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        self.stop_polling.stop();
    }
}

/// The models to load at start, each once.
fn startup_models(options: &Options, roots: &[Root]) -> Result<Vec<ModelId>> {
    let named = &options.startup_models;
    if options.control == ControlMode::Explicit {
        let all = named.iter().any(|name| name == "*");
        if !all {
            let models = named.iter().flat_map(|name| disk::named(roots, name));
            return Ok(models.collect::<BTreeSet<_>>().into_iter().collect());
        }
        if named.len() > 1 {
            return Err(Error::invalid_arg(
                "Wildcard model name '*' must be the ONLY startup model if specified at all.",
            ));
        }
    }
    Ok(disk::scan(roots)?.into_keys().collect())
}
