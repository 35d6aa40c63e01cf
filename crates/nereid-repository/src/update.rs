//! Brings models to what is on disk, or came with a request: several at a time, each after what it is made of, and of each
//! only the versions that have changed. A new version is built beside the old one and takes its place in one step; a load
//! that fails leaves the old one serving (`ModelLifeCycle::AsyncLoad` and `LoadModelByDependency`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nereid_core::{Error, Result};
use nereid_protocol::inference::ModelConfig;

use crate::disk::ModelDir;
use crate::fingerprint::Fingerprint;
use crate::plan::{Found, Plan};
use crate::poll::Polled;
use crate::repository::Repository;
use crate::states::Outcome;
use crate::table::entry;
use crate::{LoadParameters, ModelId, ModelVersion, config, parallel, versions};

/// A model to load.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted<'a> {
    pub(crate) model: &'a ModelId,
    pub(crate) parameters: &'a LoadParameters,
}

/// Why a model is not served.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was not found or its config is broken; nothing was changed.
    Poll(Error),
    /// Versions were tried, or it is an ensemble that does not fit its models.
    Load(Error),
}

/// What has become of models.
pub(crate) type Ends = BTreeMap<ModelId, Result<(), Failure>>;

/// What the ready versions of a model were made from, or what makes an ensemble invalid.
#[derive(Debug)]
pub(crate) struct Source {
    /// `None` if the folder must count as changed the next time.
    pub(crate) fingerprint: Option<Fingerprint>,
    /// As polled, not completed.
    config: ModelConfig,
}

/// A model that is about to be loaded.
struct Pending {
    model: Polled,
    source: Source,
    versions: BTreeSet<u64>,
    /// Those of them that serve and need not be loaded again.
    kept: BTreeMap<u64, Arc<ModelVersion>>,
}

impl Repository {
    /// Loads what `plan` has found, and ensembles that are made of it again, several versions at a time. The caller has
    /// the turn of all of them.
    pub(crate) fn execute(&self, plan: Plan) -> Ends {
        let waves = {
            let mut dependencies = self.dependencies.lock();
            plan.apply(&mut dependencies);
            let affected = plan.affected(&dependencies);
            dependencies.waves(plan.found.keys().cloned().chain(affected).collect())
        };
        let Plan { mut found, mut ends, .. } = plan;
        for wave in waves {
            let mut models = Vec::new();
            for id in wave {
                let Some(found) = found.remove(&id).or_else(|| self.ensembles.lock().get(&id).cloned())
                else {
                    continue;
                };
                match self.prepare(found, &ends) {
                    Ok(model) => models.push(model),
                    Err(e) => drop(ends.insert(id, Err(Failure::Load(e)))),
                }
            }
            self.load_wave(models, &mut ends);
        }
        self.note(&ends);
        ends
    }

    /// Loads models that do not need each other.
    fn load_wave(&self, models: Vec<Pending>, ends: &mut Ends) {
        let tasks: Vec<(usize, u64)> = models
            .iter()
            .enumerate()
            .flat_map(|(index, model)| model.versions.iter().map(move |version| (index, *version)))
            .collect();
        let results = parallel::map(self.options.load_threads, tasks, |(index, version)| {
            (index, self.bring(&models[index], version))
        });
        let mut of_model: Vec<Vec<Outcome>> = models.iter().map(|_| Vec::new()).collect();
        for (index, outcome) in results {
            of_model[index].push(outcome);
        }
        for (model, outcomes) in models.into_iter().zip(of_model) {
            ends.insert(model.model.id.clone(), self.finish(model, outcomes));
        }
    }

    /// Loads `version`, or adapts it where it is.
    fn bring(&self, pending: &Pending, version: u64) -> Outcome {
        let kept = pending.kept.get(&version);
        let result = match kept {
            Some(serving) => self.loader.adapt(serving, &pending.model),
            None => self.loader.load(&pending.model, version),
        };
        Outcome { version, in_place: kept.is_some(), result }
    }

    fn finish(&self, pending: Pending, mut outcomes: Vec<Outcome>) -> Result<(), Failure> {
        let Pending { model, source, kept, .. } = pending;
        outcomes.sort_unstable_by_key(|outcome| outcome.version);
        let end = self.table.finish_load(&model.id, outcomes);
        drop(kept); // an old version that was replaced is gone from here on
        match &end {
            Ok(()) => {
                tracing::info!("successfully loaded '{}'", model.id);
                self.sources.lock().insert(model.id, source);
            }
            Err(_) => tracing::info!("failed to load '{}'", model.id),
        }
        end.map_err(Failure::Load)
    }

    /// Chooses the versions of a model and marks them as loading. An ensemble that does not fit its models is taken out
    /// of service instead.
    fn prepare(&self, found: Found, ends: &Ends) -> Result<Pending> {
        if config::is_ensemble(&found.model.config) {
            self.ensembles.lock().insert(found.model.id.clone(), found.clone());
        }
        let Found { mut model, fingerprint } = found;
        let source = Source { fingerprint, config: model.config.clone() };
        if let Err(e) = self.compose(&mut model, ends) {
            tracing::error!("{}", e.with_code());
            self.sources.lock().insert(model.id.clone(), source);
            self.table.unload(&model.id);
            return Err(e);
        }
        let id = &model.id;
        let versions = versions::on_disk(&model.dir)
            .map(|present| versions::select(model.config.version_policy.as_ref(), &present, id));
        let versions = versions.and_then(|versions| {
            if versions.is_empty() {
                return Err(Error::invalid_arg(format!(
                    "at least one version must be available under the version policy of model '{id}'"
                )));
            }
            Ok(versions)
        });
        // Even without a version the model is known from now on: lookups say so, and the server is not ready.
        match versions {
            Ok(versions) => {
                let kept = self.kept(&model, &source, &versions);
                self.table.update(&model.id, |entry| entry.begin_load(&versions));
                Ok(Pending { model, source, versions, kept })
            }
            Err(e) => {
                self.table.update(&model.id, |entry| entry.begin_load(&BTreeSet::new()));
                tracing::error!("failed to load model '{id}': {e}");
                Err(e)
            }
        }
    }

    /// Which of `versions` serve and stay, because neither their files nor more of the config has changed than
    /// can be changed in place.
    fn kept(
        &self,
        model: &Polled,
        now: &Source,
        versions: &BTreeSet<u64>,
    ) -> BTreeMap<u64, Arc<ModelVersion>> {
        let sources = self.sources.lock();
        // An ensemble is made anew: what it is made of may have changed.
        let adaptable = |before: &&Source| {
            !config::is_ensemble(&now.config) && !needs_reload(&before.config, &now.config)
        };
        let before = sources.get(&model.id).filter(adaptable);
        let (Some(before), Some(after)) = (before.and_then(|b| b.fingerprint.as_ref()), &now.fingerprint)
        else {
            return BTreeMap::new();
        };
        let models = self.table.models();
        let ready = entry(&models, &model.id).into_iter().flat_map(|entry| entry.ready());
        let same = |version| before.same_version(after, version, &model.config_entry);
        let kept = ready.filter(|ready| versions.contains(&ready.version) && same(ready.version));
        kept.map(|ready| (ready.version, ready.clone())).collect()
    }

    /// The folder of `model`, which must be in exactly one repository of its namespace.
    pub(crate) fn locate(&self, model: &ModelId) -> Result<ModelDir> {
        let mut found = None;
        for root in self.roots.iter().filter(|root| root.namespace == model.namespace) {
            if let Some(dir) = root.model(&model.name)?
                && found.replace(dir).is_some()
            {
                return Err(Error::invalid_arg("not unique across all model repositories"));
            }
        }
        found.ok_or_else(|| Error::not_found("model not found in any model repository."))
    }
}

/// Whether more has changed than instance groups and version policy (`ConfigChangeRequiresReload`).
fn needs_reload(before: &ModelConfig, after: &ModelConfig) -> bool {
    let rest = |config: &ModelConfig| ModelConfig {
        instance_group: Vec::new(),
        version_policy: None,
        ..config.clone()
    };
    rest(before) != rest(after)
}
