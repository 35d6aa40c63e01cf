//! What an ensemble needs of the models that it is made of, and of whoever knows them.

use std::sync::Arc;

use nereid_core::config::EnsembleStep;
use nereid_core::{ModelConfig, Result};

use crate::Scheduler;

/// Looks up the models of an ensemble, anew for each request: so a model that was loaded again is used from the next
/// request on.
pub trait ComposingModels: Send + Sync {
    /// The model that serves `step` now.
    ///
    /// # Errors
    /// `Request for unknown model: …`: it is not ready.
    fn find(&self, step: &EnsembleStep) -> Result<Arc<dyn ComposingModel>>;
}

/// A model that an ensemble uses. Whoever holds it may use it, also after it was unloaded.
pub trait ComposingModel: Send + Sync {
    fn config(&self) -> &Arc<ModelConfig>;

    fn version(&self) -> u64;

    /// Takes its requests.
    fn scheduler(&self) -> &Scheduler;
}
