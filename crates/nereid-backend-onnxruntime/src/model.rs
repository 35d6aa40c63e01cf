//! One loaded version: the session that its CPU instances share, and what it takes to make one for a GPU.

use std::path::PathBuf;
use std::sync::Arc;

use nereid_core::backend::{Instance, LoadRequest, Model};
use nereid_core::config::{InstanceKind, InstanceSpec};
use nereid_core::{ModelConfig, Result};
use nereid_cuda::{PinnedPool, Stream};
use parking_lot::Mutex;

use crate::accelerators::{self, Device};
use crate::bound::BoundInstance;
use crate::gpu::Gpus;
use crate::graph::Graph;
use crate::instance::OnnxInstance;
use crate::placement::Placement;
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
    /// That the session puts its work into. Last, for the session's end may use it.
    #[expect(dead_code, reason = "held, not read")]
    stream: Option<Arc<Stream>>,
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
    gpus: (Gpus, Arc<PinnedPool>),
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
        gpus: (Gpus, Arc<PinnedPool>),
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
            gpus,
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
        let (loaded, _) = self.open(Device::Cpu, self.share, None)?;
        Ok(cpu.insert(Arc::new(loaded)).clone())
    }

    fn on_gpu(&self, ordinal: i32) -> Result<Box<dyn Instance>> {
        // What falls back to the CPU runs on the caller's thread unless the config says otherwise.
        let share = Share { cpu_threads: 1, instances: 1 };
        let (gpus, pool) = &self.gpus;
        let Some(gpu) = gpus.find(self.runtime, ordinal, pool)? else {
            let (loaded, _) = self.open(Device::Gpu(ordinal, None), share, None)?;
            let run_options = session::run_options(self.runtime, &self.config)?;
            return Ok(Box::new(OnnxInstance::new(Arc::new(loaded), Handle::new(self.runtime, run_options))));
        };
        let stream = Arc::new(Stream::new(&gpu.device, self.config.optimization.priority)?);
        let device = if gpu.is_host { Device::Cpu } else { Device::Gpu(ordinal, Some(stream.raw())) };
        let (loaded, graph) = self.open(device, share, Some(stream.clone()))?;
        let placement = match gpu.as_placed {
            true => Placement::of(self.runtime, &loaded.session, &graph, &loaded.plan),
            false => Placement::everywhere(&loaded.plan),
        };
        let run_options = session::run_options(self.runtime, &self.config)?;
        session::leave_under_way(self.runtime, &run_options)?;
        let run_options = Handle::new(self.runtime, run_options);
        let instance =
            BoundInstance::new(&self.config, Arc::new(loaded), placement, run_options, gpu, stream)?;
        Ok(Box::new(instance))
    }

    fn open(&self, device: Device, share: Share, stream: Option<Arc<Stream>>) -> Result<(Loaded, Graph)> {
        let Self { runtime, config, .. } = self;
        let options = session::serving_options(runtime, config, share)?;
        let accelerated = accelerators::append(runtime, &options, config, device)?;
        session::register_op_libraries(runtime, &options, &config.op_libraries, &self.model_dir)?;
        let session = session::open(runtime, &self.file, &options, accelerated)?;
        let graph = Graph::read(runtime, &session)?;
        let plan = Plan::new(config, &graph)?;
        Ok((Loaded { session, plan, runtime, stream }, graph))
    }
}

impl Model for OnnxModel {
    fn create_instance(&self, spec: &InstanceSpec) -> Result<Box<dyn Instance>> {
        let loaded = match spec.kind {
            InstanceKind::Cpu | InstanceKind::Model => self.on_cpu()?,
            InstanceKind::Gpu { device } => return self.on_gpu(device),
        };
        let run_options = session::run_options(self.runtime, &self.config)?;
        Ok(Box::new(OnnxInstance::new(loaded, Handle::new(self.runtime, run_options))))
    }
}
