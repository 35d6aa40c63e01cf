//! Questions about loaded models, answered from the present snapshot without a lock. The texts are those of
//! `ModelLifeCycle::GetModel` and of `TRITONSERVER_ServerModelStatistics`.

use std::sync::Arc;

use nereid_core::{Error, Result};

use crate::identity::{Namesake, Namesakes};
use crate::repository::Repository;
use crate::states::ModelEntry;
use crate::table::{Models, entry};
use crate::{ModelId, ModelVersion, ReadyWhen, State};

impl Repository {
    /// The version to serve a request with: `version`, or without one the highest that is ready.
    ///
    /// # Errors
    /// `Request for unknown model: …`, NotFound for a model or version that is not there or that has nothing
    /// ready, Unavailable for a version that is there and not ready. With namespacing, InvalidArg for a model that is
    /// not there and for a name that several models have, and NotFound with another text for one that was unloaded.
    pub fn find(&self, name: &str, version: Option<u64>) -> Result<Arc<ModelVersion>> {
        let models = self.table.models();
        ready(self.known(&models, name)?, name, version)
    }

    /// Whether the models allow the server to call itself ready. By default as in Triton (`InferenceServer::IsReady`):
    /// unless a model that was tried has no version or one in trouble, where models whose config is broken do not
    /// count. Under [`ReadyWhen::Startup`] they do.
    pub fn is_ready(&self) -> bool {
        let models = self.table.models();
        match self.options.ready_when {
            ReadyWhen::All => entries(&models).all(ModelEntry::is_settled),
            ReadyWhen::Startup => {
                let mut awaited = self.awaited.lock();
                awaited.retain(|model| !entry(&models, model).is_some_and(ModelEntry::serves));
                awaited.is_empty()
            }
            ReadyWhen::Any => entries(&models).any(ModelEntry::serves),
            ReadyWhen::Server => true,
        }
    }

    /// Whether `version` of a model is ready, or without one, any.
    ///
    /// # Errors
    /// Those of [`Self::find`]: since Triton 2.73 a model that is not there is an error, not `false`.
    pub fn model_ready(&self, name: &str, version: Option<u64>) -> Result<bool> {
        self.find(name, version).map(|_| true)
    }

    /// The versions of a model that are ready, ascending; empty for a name that is not one known model's.
    pub fn ready_versions(&self, name: &str) -> Vec<u64> {
        let models = self.table.models();
        let known = self.known(&models, name);
        known.map(|known| known.entry.ready().map(|model| model.version).collect()).unwrap_or_default()
    }

    /// State and reason of every version of a model that was ever loaded or tried, ascending.
    pub fn version_states(&self, name: &str) -> Vec<(u64, State, String)> {
        let models = self.table.models();
        let known = self.known(&models, name).into_iter();
        let versions = known.flat_map(|known| &known.entry.versions);
        versions.map(|(version, slot)| (*version, slot.state, slot.reason.clone())).collect()
    }

    /// Every version that is ready, by namespace, name and version.
    pub fn loaded(&self) -> Vec<Arc<ModelVersion>> {
        let models = self.table.models();
        let mut loaded: Vec<_> = entries(&models).flat_map(|entry| entry.ready().cloned()).collect();
        loaded.sort_unstable_by(|a, b| (&a.id, a.version).cmp(&(&b.id, b.version)));
        loaded
    }

    /// The versions whose statistics are asked for; an empty `name` means every model.
    ///
    /// # Errors
    /// InvalidArg, because that is what Triton answers here: the model or the version is not ready, or several models
    /// have this name.
    pub fn statistics_targets(&self, name: &str, version: Option<u64>) -> Result<Vec<Arc<ModelVersion>>> {
        if name.is_empty() {
            return Ok(self.loaded());
        }
        let models = self.table.models();
        let known = self.known(&models, name);
        let ready: Vec<_> = known.map(|known| known.entry.ready().cloned().collect()).unwrap_or_default();
        if ready.is_empty() {
            return Err(Error::invalid_arg(format!("requested model '{name}' is not available")));
        }
        let Some(version) = version else { return Ok(ready) };
        ready.into_iter().find(|model| model.version == version).map(|model| vec![model]).ok_or_else(|| {
            Error::invalid_arg(format!("requested model version is not available for model '{name}'"))
        })
    }

    /// The model that `name` alone stands for.
    fn known<'a>(&self, models: &'a Models, name: &str) -> Result<&'a Namesake> {
        let namespacing = self.options.model_namespacing;
        let Some(namesakes) = models.get(name) else {
            let text = format!("Request for unknown model: '{name}' is not found");
            return Err(if namespacing { Error::invalid_arg(text) } else { Error::not_found(text) });
        };
        match namesakes.all() {
            [only] if !namespacing => Ok(only),
            _ => namesakes.only(name),
        }
    }
}

/// `version` of the model that is called exactly this, or without one the highest that is ready.
///
/// # Errors
/// Those of [`Repository::find`].
pub(crate) fn exact(
    models: &Models,
    namespace: &str,
    name: &str,
    version: Option<u64>,
) -> Result<Arc<ModelVersion>> {
    match models.get(name).and_then(|namesakes| namesakes.get(namespace)) {
        Some(known) => ready(known, name, version),
        None => {
            let id = ModelId { namespace: namespace.into(), name: name.into() };
            Err(Error::not_found(format!("Request for unknown model: '{id}' is not found")))
        }
    }
}

/// `version` of `known`, or without one the highest that is ready. `name` is what it shares with its namesakes.
fn ready(known: &Namesake, name: &str, version: Option<u64>) -> Result<Arc<ModelVersion>> {
    let refused = |what: &str| format!("Request for unknown model: '{}' {what}", known.id(name));
    let Some(version) = version else {
        let latest = known.entry.latest().cloned();
        return latest.ok_or_else(|| Error::not_found(refused("has no available versions")));
    };
    let slot = known.entry.versions.get(&version);
    let slot = slot.ok_or_else(|| Error::not_found(refused(&format!("version {version} is not found"))))?;
    let model = slot.model.clone();
    model.ok_or_else(|| Error::unavailable(refused(&format!("version {version} is not at ready state"))))
}

fn entries(models: &Models) -> impl Iterator<Item = &ModelEntry> {
    models.values().flat_map(Namesakes::all).map(|namesake| &*namesake.entry)
}
