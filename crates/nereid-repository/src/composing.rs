//! Ensembles and the models that they are made of: whether they fit, how requests find the models, and whose labels go with
//! the outputs. What an ensemble says by itself is checked in `config::ensemble`, who needs whom is in `dependencies`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use nereid_core::backend::{Instance, Model};
use nereid_core::config::{EnsembleStep, InstanceSpec};
use nereid_core::{Error, ModelConfig, Result, Timestamp};
use nereid_protocol::inference::{self, ModelTransactionPolicy, model_ensembling::Step};
use nereid_scheduler::{ComposingModel, ComposingModels, Scheduler};
use parking_lot::Mutex;

use crate::config::{composing, convert, ensemble, metrics, tensors, unsupported, validate};
use crate::dependencies::Dependencies;
use crate::loader::Loader;
use crate::poll::Polled;
use crate::repository::Repository;
use crate::table::{Models, Table, entry};
use crate::update::{Ends, Failure};
use crate::version::{Description, Running};
use crate::{Labels, ModelId, ModelVersion, lookup};

impl Repository {
    /// Settles which models `model` is made of, if it is an ensemble. `ends` is what has become of them just now.
    ///
    /// # Errors
    /// InvalidArg with Triton's text: it does not fit them, or they do not serve. It stays so until something changes.
    pub(crate) fn compose(&self, model: &mut Polled, ends: &Ends) -> Result<()> {
        let mut dependencies = self.dependencies.lock();
        let composed = compose(model, &dependencies, &self.table.models(), ends);
        if let Some(node) = dependencies.get_mut(&model.id) {
            node.invalid = composed.clone().err();
        }
        composed
    }
}

impl Loader {
    /// Makes `version` of an ensemble, whose models serve.
    ///
    /// # Errors
    /// Its config is wrong, or a label file is missing.
    pub(crate) fn load_ensemble(
        &self,
        model: &Polled,
        version: u64,
        started: Timestamp,
    ) -> Result<Arc<ModelVersion>> {
        let wire_config = model.config.clone();
        unsupported::at_load(&wire_config)?;
        validate::validate(&wire_config)?;
        tensors::validate(&wire_config)?;
        tensors::unique_names(&wire_config)?;
        let config = Arc::new(convert::convert(&wire_config)?);
        let steps = ensemble::of(&wire_config).map(ensemble::convert).unwrap_or_default();
        let mut labels = Labels::read(&model.dir, &model.id.name, &wire_config.output)?;
        for step in ensemble::of(&wire_config).iter().flat_map(|ensemble| &ensemble.step) {
            self.inherit_labels(&mut labels, &wire_config, step);
        }
        let series = metrics::series(&model.id, version, &wire_config);
        let first_response_ms = metrics::first_response_ms(&wire_config);
        let statistics = self.reporters.version(series, first_response_ms, config.response_cache);
        let models = Arc::new(Neighbours { table: Arc::downgrade(&self.table) });
        let scheduler = Scheduler::of_ensemble(config.clone(), steps, models, statistics);
        let running = Running {
            scheduler: self.with_cache(scheduler, model, version, &config)?,
            device_memory: None,
            passive: Mutex::default(),
            model: Arc::new(Mutex::new(Box::new(Composed))),
            dir: model.dir.clone(),
            departure: self.table.arrived(&model.id, version),
        };
        let load_duration = Timestamp::now().since(started);
        let description =
            Description { id: model.id.clone(), version, config, wire_config, labels, load_duration };
        Ok(Arc::new(ModelVersion::new(description, Arc::new(running), self.reaper.clone())))
    }

    /// Gives outputs without labels of their own those of the model that makes them.
    fn inherit_labels(&self, labels: &mut Labels, config: &inference::ModelConfig, step: &Step) {
        let version = u64::try_from(step.model_version).ok();
        let models = self.table.models();
        let Ok(model) = lookup::exact(&models, &step.model_namespace, &step.model_name, version) else {
            return;
        };
        for (output, tensor) in &step.output_map {
            let here = config.output.iter().position(|output| output.name == *tensor);
            if let (Some(here), Some(there)) = (here, model.config.output_index(output)) {
                labels.inherit(here, &model.labels, there);
            }
        }
    }
}

fn compose(model: &mut Polled, dependencies: &Dependencies, models: &Models, ends: &Ends) -> Result<()> {
    let Polled { id, config, .. } = model;
    let Some(ensemble) = ensemble::of_mut(config) else { return Ok(()) };
    dependencies.check(id)?;
    let mut parts = BTreeMap::<&ModelId, BTreeSet<i64>>::new();
    let mut of_steps = Vec::new();
    for step in &mut ensemble.step {
        let part = dependencies.resolve(&id.namespace, &step.model_name);
        let part = part.ok_or_else(|| Error::internal(format!("'{}' is not known", step.model_name)))?;
        step.model_namespace = part.namespace.to_string();
        parts.entry(part).or_default().insert(step.model_version);
        of_steps.push(part);
    }
    for (part, versions) in &parts {
        if let Some(why) = dependencies.get(part).and_then(|node| node.invalid.as_ref()) {
            return Err(Error::invalid_arg(format!(
                "ensemble '{id}' depends on '{part}' which is not valid. Model '{part}' failed with error: {why}"
            )));
        }
        check_serves(id, part, versions, models, ends)?;
    }
    let latest = of_steps.iter().filter_map(|part| entry(models, part)?.latest());
    let configs: Vec<&inference::ModelConfig> = latest.map(|version| &*version.wire_config).collect();
    composing::validate(id, config, &configs)?;
    // Filled in like this by Triton, and shown to clients.
    config.model_transaction_policy = Some(ModelTransactionPolicy { decoupled: false });
    Ok(())
}

/// Refuses `ensemble` if the `versions` of `part` that it needs do not serve (`ModelRepositoryManager::CheckNode`).
fn check_serves(
    ensemble: &ModelId,
    part: &ModelId,
    versions: &BTreeSet<i64>,
    models: &Models,
    ends: &Ends,
) -> Result<()> {
    let refuse =
        |why: &str| Err(Error::invalid_arg(format!("ensemble '{ensemble}' depends on '{part}' {why}")));
    let ready: BTreeSet<u64> =
        entry(models, part).into_iter().flat_map(|entry| entry.ready()).map(|model| model.version).collect();
    if ready.is_empty() {
        return match ends.get(part) {
            Some(Err(Failure::Load(e) | Failure::Poll(e))) => {
                refuse(&format!("which has no loaded version. Model '{part}' loading failed with error: {e}"))
            }
            _ => refuse("which has no loaded version."),
        };
    }
    let is_ready = |version: &i64| u64::try_from(*version).is_ok_and(|version| ready.contains(&version));
    match versions.iter().rfind(|version| **version != -1 && !is_ready(version)) {
        None => Ok(()),
        Some(version) => refuse(&format!("whose required version {version} is not loaded.")),
    }
}

/// Finds the models of an ensemble among all models. Does not keep them.
#[derive(Debug)]
struct Neighbours {
    table: Weak<Table>,
}

impl ComposingModels for Neighbours {
    fn find(&self, step: &EnsembleStep) -> Result<Arc<dyn ComposingModel>> {
        let table = self.table.upgrade().ok_or_else(|| Error::unavailable("Server not ready"))?;
        Ok(lookup::exact(&table.models(), &step.namespace, &step.model, step.version)?)
    }
}

impl ComposingModel for ModelVersion {
    fn config(&self) -> &Arc<ModelConfig> {
        &self.config
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn scheduler(&self) -> &Scheduler {
        Self::scheduler(self)
    }
}

/// The model of an ensemble, of which there are no instances.
struct Composed;

impl Model for Composed {
    fn create_instance(&self, spec: &InstanceSpec) -> Result<Box<dyn Instance>> {
        Err(Error::internal(format!("an ensemble has no instance '{}'", spec.name)))
    }
}
