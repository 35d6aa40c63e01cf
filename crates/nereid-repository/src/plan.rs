//! What a change is about, before anything is changed: the models that were asked for, those that they are made of, and
//! what has changed of each on disk. Reads files only.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nereid_core::Result;

use crate::config::ensemble;
use crate::dependencies::{Dependencies, Need};
use crate::fingerprint::Fingerprint;
use crate::poll::{self, Polled};
use crate::repository::Repository;
use crate::update::{Ends, Failure, Wanted};
use crate::{LoadParameters, ModelId, disk, table};

/// A model and what its folder looked like before anything in it was read.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) model: Polled,
    /// `None` if the folder must count as changed the next time.
    pub(crate) fingerprint: Option<Fingerprint>,
}

/// See above.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Models that are new or have changed.
    pub(crate) found: BTreeMap<ModelId, Found>,
    /// Models for which this is the end already: nothing has changed, or they could not be read.
    pub(crate) ends: Ends,
    /// Models that somebody asked for by name.
    asked_for: BTreeSet<ModelId>,
    /// Names of models that are gone.
    gone: BTreeSet<Arc<str>>,
}

impl Plan {
    /// The same, after models of these names were forgotten.
    pub(crate) fn and_without(mut self, gone: impl IntoIterator<Item = Arc<str>>) -> Self {
        self.gone.extend(gone);
        self
    }

    /// Tells `dependencies` what was found.
    pub(crate) fn apply(&self, dependencies: &mut Dependencies) {
        for (id, found) in &self.found {
            dependencies.set(id, needs(&found.model), self.asked_for.contains(id));
        }
        for id in &self.asked_for {
            if let Some(node) = dependencies.get_mut(id) {
                node.explicit = true;
            }
        }
    }

    /// Ensembles that this concerns besides what was found. `dependencies` know of it.
    pub(crate) fn affected(&self, dependencies: &Dependencies) -> BTreeSet<ModelId> {
        let found = self.found.keys().map(|id| id.name.clone());
        dependencies.affected(found.chain(self.gone.iter().cloned()))
    }

    /// Names of all models that this may change.
    pub(crate) fn names(&self, dependencies: &Dependencies) -> BTreeSet<Arc<str>> {
        let mut dependencies = dependencies.clone();
        self.apply(&mut dependencies);
        let affected = self.affected(&dependencies).into_iter().map(|id| id.name);
        let known = self.found.keys().chain(self.ends.keys()).chain(&self.asked_for);
        known.map(|id| id.name.clone()).chain(affected).collect()
    }
}

impl Repository {
    /// Looks at `wanted`, and at what ensembles among them are made of.
    pub(crate) fn plan(&self, wanted: &[Wanted<'_>]) -> Plan {
        let mut plan = Plan::default();
        let mut parts = Vec::new();
        for wanted in wanted {
            plan.asked_for.insert(wanted.model.clone());
            parts.extend(self.look_at(*wanted, &mut plan));
        }
        let parameters = &LoadParameters::default();
        let mut names = BTreeSet::new();
        while let Some(name) = parts.pop() {
            if !names.insert(name.clone()) {
                continue;
            }
            for model in &disk::named(&self.roots, &name) {
                let known = plan.found.contains_key(model) || plan.ends.contains_key(model);
                if !known && !self.has_its_own_files(model) {
                    parts.extend(self.look_at(Wanted { model, parameters }, &mut plan));
                }
            }
        }
        plan
    }

    /// Reads one model. Gives back the names of the models that it is made of.
    fn look_at(&self, wanted: Wanted<'_>, plan: &mut Plan) -> Vec<Arc<str>> {
        let id = wanted.model;
        match self.read(wanted) {
            Ok(Some(found)) => {
                let parts = needs(&found.model).into_iter().map(|need| need.name).collect();
                plan.found.insert(id.clone(), found);
                parts
            }
            Ok(None) => {
                plan.ends.insert(id.clone(), Ok(()));
                let dependencies = self.dependencies.lock();
                let needs = dependencies.get(id).map_or(&[][..], |node| &node.needs);
                needs.iter().map(|need| need.name.clone()).collect()
            }
            Err(e) => {
                let text = id.to_string();
                tracing::error!("Poll failed for model directory '{text:.400}': {e}");
                plan.ends.insert(id.clone(), Err(Failure::Poll(e)));
                Vec::new()
            }
        }
    }

    /// The model and what its folder looks like before anything in it is read; `None` if nothing has changed.
    fn read(&self, wanted: Wanted<'_>) -> Result<Option<Found>> {
        let Wanted { model, parameters } = wanted;
        let poll = |dir| poll::poll(model, dir, parameters.model_config()?, &self.options);
        if !parameters.files.is_empty() {
            // Without a fingerprint: the next load goes back to the disk, whatever is there.
            let model = poll(parameters.directory(&model.name, &self.scratch)?)?;
            return Ok(Some(Found { model, fingerprint: None }));
        }
        let dir = self.locate(model)?;
        let fingerprint = Fingerprint::take(&dir).ok();
        if parameters.config.is_none() && fingerprint.is_some() && self.made_from(model, &fingerprint) {
            return Ok(None);
        }
        let fingerprint = fingerprint.and_then(|fingerprint| fingerprint.settle(&dir));
        Ok(Some(Found { model: poll(dir)?, fingerprint }))
    }

    fn made_from(&self, model: &ModelId, fingerprint: &Option<Fingerprint>) -> bool {
        self.sources.lock().get(model).is_some_and(|source| source.fingerprint == *fingerprint)
    }

    /// Whether `model` serves with files that came with a request: these are not to be replaced for the sake of an
    /// ensemble, and nothing needs to be on disk.
    fn has_its_own_files(&self, model: &ModelId) -> bool {
        let serves = table::entry(&self.table.models(), model).is_some_and(|entry| entry.latest().is_some());
        serves && self.sources.lock().get(model).is_some_and(|source| source.fingerprint.is_none())
    }
}

fn needs(model: &Polled) -> Vec<Need> {
    let steps = ensemble::of(&model.config).map_or(&[][..], |ensemble| &ensemble.step);
    let need = |step: &nereid_protocol::inference::model_ensembling::Step| Need {
        name: step.model_name.as_str().into(),
        version: step.model_version,
    };
    steps.iter().map(need).collect()
}
