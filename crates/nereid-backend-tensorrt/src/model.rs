//! One loaded version: what it takes to make an instance of it on a GPU.

use std::path::PathBuf;
use std::sync::Arc;

use nereid_core::backend::{Instance, LoadRequest, Model};
use nereid_core::config::{InstanceKind, InstanceSpec};
use nereid_core::{Error, ModelConfig, Result};
use nereid_tensorrt::AllocationStrategy;

use crate::engine_file;
use crate::engines::Engines;
use crate::instance::{Parts, TensorRtInstance};
use crate::platform::Platform;
use crate::settings::{self, ContextMemory};

/// A loaded version. Its engines are made with its instances.
#[derive(Debug)]
pub(crate) struct TensorRtModel {
    platform: Arc<Platform>,
    config: Arc<ModelConfig>,
    model_file: PathBuf,
    version_dir: PathBuf,
    strategy: AllocationStrategy,
    engines: Engines,
}

impl TensorRtModel {
    /// The version of `request`.
    ///
    /// # Errors
    /// Wrong parameters.
    pub(crate) fn new(platform: &Arc<Platform>, request: &LoadRequest<'_>) -> Result<Self> {
        let config = request.config;
        let strategy = match settings::context_memory(&config.parameters, &config.name)? {
            ContextMemory::Static => AllocationStrategy::Static,
            ContextMemory::OnProfileChange => AllocationStrategy::OnProfileChange,
        };
        Ok(Self {
            platform: platform.clone(),
            config: config.clone(),
            model_file: request.model_file.to_owned(),
            version_dir: request.version_dir.to_owned(),
            strategy,
            engines: Engines::new(platform.clone()),
        })
    }
}

impl Model for TensorRtModel {
    fn create_instance(&self, spec: &InstanceSpec) -> Result<Box<dyn Instance>> {
        let InstanceKind::Gpu { device } = spec.kind else {
            return Err(Error::invalid_arg(format!(
                "unable to load model '{}', TensorRT backend supports only GPU device",
                self.config.name
            )));
        };
        let device = self.platform.device(device)?;
        let capability = engine_file::capability(device.info().compute_capability);
        let named = self.config.cc_model_filenames.get(&capability).map(String::as_str);
        let path = engine_file::locate(&self.version_dir, &self.model_file, named);
        let engine = self.engines.get(device, spec.dla_core, &path, &spec.name)?;
        let (config, strategy) = (&*self.config, self.strategy);
        let parts = Parts { config, spec, engine, device, strategy, pool: self.platform.pool() };
        Ok(Box::new(TensorRtInstance::new(&parts)?))
    }
}
