//! Changes a version where it is: instance groups and version policy, the parts of a config that the model itself
//! does not depend on (`TritonModel::UpdateInstanceGroup`). The model stays loaded, and its statistics go on.

use std::sync::Arc;

use nereid_core::Result;

use crate::ModelVersion;
use crate::config::instances;
use crate::loader::{Loader, caught, trusted};
use crate::poll::Polled;

impl Loader {
    /// `serving` with the instance groups and the version policy of `model`. New instances get a scheduler of
    /// their own; the old one serves until nobody holds `serving` any more.
    ///
    /// # Errors
    /// Instance groups that this machine cannot have; a device is missing or out of memory.
    pub(crate) fn adapt(&self, serving: &Arc<ModelVersion>, model: &Polled) -> Result<Arc<ModelVersion>> {
        let mut wire_config = (*serving.wire_config).clone();
        wire_config.instance_group.clone_from(&model.config.instance_group);
        wire_config.version_policy.clone_from(&model.config.version_policy);
        let uses_gpus = self.uses_gpus(&**self.backend(&wire_config)?);
        instances::normalize(&mut wire_config, &self.gpus, uses_gpus);
        instances::validate(&wire_config, &self.gpus)?;
        if wire_config == *serving.wire_config {
            return Ok(serving.clone());
        }
        if wire_config.instance_group == serving.wire_config.instance_group {
            let running = serving.running().clone();
            return Ok(Arc::new(serving.adapted(serving.config.clone(), wire_config, running)));
        }
        let config = trusted(&wire_config, &model.dir)?;
        let statistics = serving.scheduler().statistics().clone();
        let loaded = serving.running().model.clone();
        let running = caught(|| self.start(model, serving.version, &config, loaded, statistics))?;
        running.scheduler.release_held(); // only a model that is loaded waits for its first requests
        Ok(Arc::new(serving.adapted(config, wire_config, Arc::new(running))))
    }
}
