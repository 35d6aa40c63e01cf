//! Questions about loaded models, answered from the present snapshot without a lock. The texts are those of
//! `ModelLifeCycle::GetModel` and of `TRITONSERVER_ServerModelStatistics`.

use std::sync::Arc;

use nereid_core::{Error, Result};

use crate::repository::Repository;
use crate::{ModelVersion, State};

impl Repository {
    /// The version to serve a request with: `version`, or without one the highest that is ready.
    ///
    /// # Errors
    /// `Request for unknown model: …`, NotFound for a model or version that is not there or that has nothing
    /// ready, Unavailable for a version that is there and not ready.
    pub fn find(&self, name: &str, version: Option<u64>) -> Result<Arc<ModelVersion>> {
        let models = self.table.models();
        let Some(entry) = models.get(name) else {
            return Err(Error::not_found(format!("Request for unknown model: '{name}' is not found")));
        };
        let Some(version) = version else {
            return entry.latest().cloned().ok_or_else(|| {
                Error::not_found(format!("Request for unknown model: '{name}' has no available versions"))
            });
        };
        let slot = entry.versions.get(&version).ok_or_else(|| {
            Error::not_found(format!("Request for unknown model: '{name}' version {version} is not found"))
        })?;
        slot.model.clone().ok_or_else(|| {
            Error::unavailable(format!(
                "Request for unknown model: '{name}' version {version} is not at ready state"
            ))
        })
    }

    /// Whether the models allow the server to call itself ready: always, unless readiness is strict and a
    /// model that was tried has no version or one in trouble. Models whose config is broken do not count
    /// (`InferenceServer::IsReady`).
    pub fn is_ready(&self) -> bool {
        !self.options.strict_readiness || self.table.models().values().all(|entry| entry.is_settled())
    }

    /// Whether `version` of a model is ready, or without one, any.
    ///
    /// # Errors
    /// Those of [`Self::find`]: since Triton 2.73 a model that is not there is an error, not `false`.
    pub fn model_ready(&self, name: &str, version: Option<u64>) -> Result<bool> {
        self.find(name, version).map(|_| true)
    }

    /// The versions of a model that are ready, ascending; empty for an unknown model.
    pub fn ready_versions(&self, name: &str) -> Vec<u64> {
        let models = self.table.models();
        models.get(name).map(|entry| entry.ready().map(|model| model.version).collect()).unwrap_or_default()
    }

    /// State and reason of every version of a model that was ever loaded or tried, ascending.
    pub fn version_states(&self, name: &str) -> Vec<(u64, State, String)> {
        let models = self.table.models();
        let versions = models.get(name).into_iter().flat_map(|entry| &entry.versions);
        versions.map(|(version, slot)| (*version, slot.state, slot.reason.clone())).collect()
    }

    /// Every version that is ready, by name and version.
    pub fn loaded(&self) -> Vec<Arc<ModelVersion>> {
        let models = self.table.models();
        let mut loaded: Vec<_> = models.values().flat_map(|entry| entry.ready().cloned()).collect();
        loaded.sort_unstable_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        loaded
    }

    /// The versions whose statistics are asked for; an empty `name` means every model.
    ///
    /// # Errors
    /// InvalidArg, because that is what Triton answers here: the model or the version is not ready.
    pub fn statistics_targets(&self, name: &str, version: Option<u64>) -> Result<Vec<Arc<ModelVersion>>> {
        if name.is_empty() {
            return Ok(self.loaded());
        }
        let models = self.table.models();
        let ready: Vec<_> =
            models.get(name).map(|entry| entry.ready().cloned().collect()).unwrap_or_default();
        if ready.is_empty() {
            return Err(Error::invalid_arg(format!("requested model '{name}' is not available")));
        }
        let Some(version) = version else { return Ok(ready) };
        ready.into_iter().find(|model| model.version == version).map(|model| vec![model]).ok_or_else(|| {
            Error::invalid_arg(format!("requested model version is not available for model '{name}'"))
        })
    }
}
