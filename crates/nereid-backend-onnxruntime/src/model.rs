//! One loaded version: the session that its CPU instances share, and what it takes to make one for a GPU.

use std::path::PathBuf;
use std::sync::Arc;

use nereid_core::backend::{Instance, LoadRequest, Model};
use nereid_core::config::{InstanceKind, InstanceSpec};
use nereid_core::{ModelConfig, Result};
use parking_lot::Mutex;

use crate::accelerators::{self, Device};
use crate::graph::Graph;
use crate::instance::OnnxInstance;
use crate::plan::Plan;
use crate::raw::Session;
use crate::runtime::Runtime;
use crate::terminate::Handle;
use crate::threads::Share;
use crate::{model_file, session};

/// A session and what is known about it.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) session: Session,
    pub(crate) plan: Plan,
    pub(crate) runtime: &'static Runtime,
}

/// A loaded version. The CPU session is made at load unless all instances are on GPUs.
#[derive(Debug)]
pub(crate) struct OnnxModel {
    runtime: &'static Runtime,
    config: Arc<ModelConfig>,
    model_dir: PathBuf,
    file: PathBuf,
    /// Of the CPU session: all CPU instances that the config had at load.
    share: Share,
    cpu: Mutex<Option<Arc<Loaded>>>,
}

impl OnnxModel {
    /// Loads the version of `request` on `cpu_threads` CPUs.
    ///
    /// # Errors
    /// Wrong parameters, no file, a broken file, or a graph that does not fit the config, in that order.
    pub(crate) fn load(
        runtime: &'static Runtime,
        request: &LoadRequest<'_>,
        cpu_threads: usize,
    ) -> Result<Self> {
        let config = request.config;
        let gpu = |instance: &&InstanceSpec| matches!(instance.kind, InstanceKind::Gpu { .. });
        let gpu_count = config.instances.iter().filter(gpu).count();
        let cpu_count = config.instances.len() - gpu_count;
        let share = Share { cpu_threads, instances: cpu_count };
        session::serving_options(runtime, config, share)?; // wrong parameters come before a missing file
        let model = Self {
            runtime,
            config: config.clone(),
            model_dir: request.model_dir.to_owned(),
            file: model_file::locate(request.model_file, &config.name)?,
            share,
            cpu: Mutex::new(None),
        };
        if cpu_count > 0 || gpu_count == 0 {
            model.on_cpu()?;
        }
        Ok(model)
    }

    fn on_cpu(&self) -> Result<Arc<Loaded>> {
        let mut cpu = self.cpu.lock();
        if let Some(loaded) = &*cpu {
            return Ok(loaded.clone());
        }
        let loaded = Arc::new(self.open(Device::Cpu, self.share)?);
        Ok(cpu.insert(loaded).clone())
    }

    fn open(&self, device: Device, share: Share) -> Result<Loaded> {
        let Self { runtime, config, .. } = self;
        let options = session::serving_options(runtime, config, share)?;
        let accelerated = accelerators::append(runtime, &options, config, device)?;
        session::register_op_libraries(runtime, &options, &config.op_libraries, &self.model_dir)?;
        let session = session::open(runtime, &self.file, &options, accelerated)?;
        let plan = Plan::new(config, &Graph::read(runtime, &session)?)?;
        Ok(Loaded { session, plan, runtime })
    }
}

impl Model for OnnxModel {
    fn create_instance(&self, spec: &InstanceSpec) -> Result<Box<dyn Instance>> {
        let loaded = match spec.kind {
            InstanceKind::Cpu | InstanceKind::Model => self.on_cpu()?,
            InstanceKind::Gpu { device } => {
                // What falls back to the CPU runs on the caller's thread unless the config says otherwise.
                let share = Share { cpu_threads: 1, instances: 1 };
                Arc::new(self.open(Device::Gpu(device), share)?)
            }
        };
        let run_options = session::run_options(self.runtime, &self.config)?;
        Ok(Box::new(OnnxInstance::new(loaded, Handle::new(self.runtime, run_options))))
    }
}
