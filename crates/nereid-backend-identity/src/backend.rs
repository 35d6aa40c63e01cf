//! The backend's face to the rest of Nereid: loading a model is checking its config, and waiting if it says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use nereid_core::backend::{
    AutoComplete, AutoCompleteRequest, Backend, Counter, Instance, LoadRequest, Model,
};
use nereid_core::config::InstanceSpec;
use nereid_core::{ModelConfig, Result};

use crate::counters::{Counters, InputBytes};
use crate::instance::IdentityInstance;
use crate::pairs::{self, Pair};
use crate::settings::Settings;

/// The `identity` backend.
#[derive(Debug, Default)]
pub struct Identity {
    counters: Counters,
}

/// A loaded version.
#[derive(Debug)]
struct IdentityModel {
    config: Arc<ModelConfig>,
    pairs: Arc<[Pair]>,
    settings: Settings,
    input_bytes: Arc<InputBytes>,
    /// Instances made so far, also by later changes of the instance groups.
    instances: AtomicU64,
}

impl Backend for Identity {
    fn name(&self) -> &'static str {
        "identity"
    }

    /// Nothing: no model file says what the config leaves out, and Triton's backend does not complete either.
    fn auto_complete(&self, _: &AutoCompleteRequest<'_>) -> Result<AutoComplete> {
        Ok(AutoComplete::default())
    }

    fn load(&self, request: &LoadRequest<'_>) -> Result<Box<dyn Model>> {
        let config = request.config.clone();
        let pairs = pairs::of(&config)?.into();
        let settings = Settings::read(&config)?;
        if settings.creation_delay_sec > 0 {
            tracing::info!("Creation delay is set to: {}", settings.creation_delay_sec);
            // Nobody waits for a load when the server ends.
            thread::sleep(Duration::from_secs(settings.creation_delay_sec));
        }
        let input_bytes = self.counters.add(&config.name, request.version);
        Ok(Box::new(IdentityModel { config, pairs, settings, input_bytes, instances: AtomicU64::new(0) }))
    }

    fn counters(&self) -> Vec<Counter> {
        self.counters.read()
    }
}

impl Model for IdentityModel {
    fn create_instance(&self, _: &InstanceSpec) -> Result<Box<dyn Instance>> {
        let delay = self.settings.delay_of(self.instances.fetch_add(1, Ordering::Relaxed));
        Ok(Box::new(IdentityInstance::new(&self.config, self.pairs.clone(), self.input_bytes.clone(), delay)))
    }
}
