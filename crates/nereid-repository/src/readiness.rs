//! Which models serve and which should and do not, for whoever watches from outside. Answered from memory: what lies on disk
//! and was never to be loaded is no concern of it.

use std::collections::BTreeSet;

use parking_lot::Mutex;

use crate::repository::Repository;
use crate::states::{ModelEntry, State, UNLOADED};
use crate::update::{Ends, Failure};
use crate::{ModelId, table};

/// Whether a version serves, of those that were to be loaded and were not unloaded since.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Readiness {
    pub model: ModelId,
    /// `None` for a model that failed before it was known which version it would be.
    pub version: Option<u64>,
    /// Not, while it loads for the first time and after that failed.
    pub ready: bool,
}

/// Models whose last load failed. Only of those that are on disk, or that the command line names: load requests may ask for
/// any number of others.
#[derive(Debug, Default)]
pub(crate) struct Failed(Mutex<BTreeSet<ModelId>>);

impl Failed {
    pub(crate) fn add(&self, model: ModelId) {
        self.0.lock().insert(model);
    }

    pub(crate) fn remove(&self, model: &ModelId) {
        self.0.lock().remove(model);
    }

    /// Those that go by `name`.
    pub(crate) fn named(&self, name: &str) -> Vec<ModelId> {
        self.0.lock().iter().filter(|model| *model.name == *name).cloned().collect()
    }

    /// Forgets those for which `stays` says no.
    pub(crate) fn retain(&self, stays: impl Fn(&ModelId) -> bool) {
        self.0.lock().retain(stays);
    }
}

impl Repository {
    /// By namespace, name and version. A version that serves while a load that should replace it fails is ready.
    pub fn readiness(&self) -> Vec<Readiness> {
        let models = self.table.models();
        let mut readiness = Vec::new();
        for (name, namesakes) in models.iter() {
            for namesake in namesakes.all() {
                readiness.extend(of_versions(&namesake.id(name), &namesake.entry));
            }
        }
        for model in self.failed.0.lock().iter() {
            if table::entry(&models, model).is_none_or(|entry| of_versions(model, entry).next().is_none()) {
                readiness.push(Readiness { model: model.clone(), version: None, ready: false });
            }
        }
        readiness.sort_unstable();
        readiness
    }

    /// Remembers which loads failed.
    pub(crate) fn note(&self, ends: &Ends) {
        for (model, end) in ends {
            match end {
                Ok(()) if self.is_valid(model) => self.failed.remove(model),
                Ok(()) => {} // an ensemble that still does not fit its models
                Err(Failure::Poll(_)) if !self.is_on_disk(model) => {}
                Err(_) => self.failed.add(model.clone()),
            }
        }
    }

    /// Whether a folder is there for `model`, whatever is in it.
    pub(crate) fn is_on_disk(&self, model: &ModelId) -> bool {
        let mut roots = self.roots.iter().filter(|root| root.namespace == model.namespace);
        roots.any(|root| !matches!(root.model(&model.name), Ok(None)))
    }
}

fn of_versions<'a>(model: &'a ModelId, entry: &'a ModelEntry) -> impl Iterator<Item = Readiness> + 'a {
    entry.versions.iter().filter_map(|(version, slot)| {
        let ready = match slot.state {
            State::Ready => true,
            State::Loading => false,
            // Where the model was unloaded since, nobody misses it.
            State::Unavailable if slot.reason != UNLOADED && !entry.retired => false,
            State::Unavailable | State::Unloading | State::Unknown => return None,
        };
        Some(Readiness { model: model.clone(), version: Some(*version), ready })
    })
}
