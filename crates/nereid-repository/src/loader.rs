//! Loads one version of a model that was found on disk: complete, check, convert, hand to the backend, make
//! instances, start the scheduler (`TritonModel::Create`). Errors are what the index shows as reason.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use nereid_core::backend::{Backend, LoadRequest, Model};
use nereid_core::config::{InstanceKind, InstanceSpec};
use nereid_core::{Error, ModelConfig, Result, Timestamp};
use nereid_protocol::inference;
use nereid_scheduler::{
    ActiveInstance, RateLimiter, Reporters, ResponseCache, Scheduler, SchedulerOptions, Statistics,
};
use parking_lot::Mutex;

use crate::config::instances::{self, Gpus};
use crate::config::{self, complete, convert, metrics, normalize, sequence, tensors, unsupported, validate};
use crate::disk::{self, ModelDir};
use crate::host_policy::Cores;
use crate::poll::Polled;
use crate::reaper::Reaper;
use crate::table::Table;
use crate::version::{Description, Running};
use crate::warm_up::{self, Sample, Subject, WarmUps};
use crate::{GpuLimits, HostPolicies, Labels, ModelVersion, Options, cache_identity, data_files, parallel};

/// Test hook of Triton's: hold the first batch until this many requests wait.
const DELAY_VARIABLE: &str = "TRITONSERVER_DELAY_SCHEDULER";
/// As above, counting requests of sequences that have no slot yet.
const BACKLOG_DELAY_VARIABLE: &str = "TRITONSERVER_BACKLOG_DELAY_SCHEDULER";

/// Everything that loading needs besides the model.
#[derive(Debug)]
pub(crate) struct Loader {
    pub(crate) backends: Vec<Arc<dyn Backend>>,
    pub(crate) table: Arc<Table>,
    pub(crate) reaper: Reaper,
    auto_complete: bool,
    default_max_batch_size: u32,
    retries: u32,
    pub(crate) gpus: Gpus,
    gpu_limits: GpuLimits,
    pub(crate) warm_ups: WarmUps,
    threads: usize,
    delay_until_queued: usize,
    delay_until_backlogged: usize,
    pub(crate) reporters: Arc<Reporters>,
    gpu_uuids: Vec<Arc<str>>,
    rate_limiter: Option<Arc<RateLimiter>>,
    host_policies: HostPolicies,
    cache: Option<Arc<ResponseCache>>,
}

impl Loader {
    pub(crate) fn new(
        options: &Options,
        backends: Vec<Arc<dyn Backend>>,
        table: Arc<Table>,
        reaper: Reaper,
    ) -> Self {
        let delay =
            |variable| std::env::var(variable).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
        Self {
            backends,
            table,
            reaper,
            auto_complete: options.auto_complete,
            default_max_batch_size: options.default_max_batch_size,
            retries: options.load_retries,
            gpus: Gpus { ids: options.gpus.clone(), min_compute_capability: options.min_compute_capability },
            gpu_limits: options.gpu_limits.clone(),
            warm_ups: WarmUps::default(),
            threads: options.load_threads,
            delay_until_queued: delay(DELAY_VARIABLE),
            delay_until_backlogged: delay(BACKLOG_DELAY_VARIABLE),
            reporters: options.reporters.clone(),
            gpu_uuids: options.gpu_uuids.clone(),
            rate_limiter: options.rate_limiter.clone(),
            host_policies: options.host_policies.clone(),
            cache: options.cache.clone(),
        }
    }

    /// Loads `version`, with further attempts as configured.
    pub(crate) fn load(&self, model: &Polled, version: u64) -> Result<Arc<ModelVersion>> {
        tracing::info!("loading: {}:{version}", model.id);
        let started = Timestamp::now();
        let mut attempts = 0;
        loop {
            match caught(|| self.attempt(model, version, started)) {
                Err(e) if attempts == self.retries => {
                    tracing::error!("failed to load '{}' version {version}: {}", model.id, e.with_code());
                    return Err(e);
                }
                Err(e) => tracing::warn!(
                    "failed to load '{}' version {version}, trying again: {}",
                    model.id,
                    e.with_code()
                ),
                Ok(loaded) => return Ok(loaded),
            }
            attempts += 1;
        }
    }

    fn attempt(&self, model: &Polled, version: u64, started: Timestamp) -> Result<Arc<ModelVersion>> {
        if config::is_ensemble(&model.config) {
            return self.load_ensemble(model, version, started);
        }
        let mut wire_config = model.config.clone();
        data_files::confine(&wire_config, &model.dir)?;
        unsupported::at_load(&wire_config)?;
        let backend = self.backend(&wire_config)?;
        instances::normalize(&mut wire_config, &self.gpus, self.uses_gpus(&**backend));
        instances::validate(&wire_config, &self.gpus)?;
        let version_dir = model.dir.version(version);
        let model_file = model_file(model, &version_dir)?;
        if self.auto_complete {
            let default = self.default_max_batch_size;
            let dir = &model.dir.path;
            let request = complete::request(&wire_config, dir, &version_dir, &model_file, default);
            let answer = backend.auto_complete(&request)?;
            complete::apply(&mut wire_config, answer);
            normalize::defaults(&mut wire_config);
        }
        validate::validate(&wire_config)?;
        tensors::validate(&wire_config)?;
        let config = trusted(&wire_config, &model.dir)?;
        let request = LoadRequest {
            config: &config,
            version,
            model_dir: &model.dir.path,
            version_dir: &version_dir,
            model_file: &model_file,
        };
        let loaded = self.load_cores(&config)?.run(|| backend.load(&request))?;
        tensors::unique_names(&wire_config)?;
        // Not before the backend has agreed to the outputs: a config may list any number of them.
        let labels = Labels::read(&model.dir, &model.id.name, &wire_config.output)?;
        let series = metrics::series(&model.id, version, &wire_config);
        let first_response_ms = metrics::first_response_ms(&wire_config);
        let statistics = self.reporters.version(series, first_response_ms, config.response_cache);
        let loaded = Arc::new(Mutex::new(loaded));
        let running = self.start(model, version, &config, loaded, statistics)?;
        let load_duration = Timestamp::now().since(started);
        let id = model.id.clone();
        let description = Description { id, version, config, wire_config, labels, load_duration };
        Ok(Arc::new(ModelVersion::new(description, Arc::new(running), self.reaper.clone())))
    }

    /// Where the model itself is loaded: what its instances share, such as a pool of threads, is where the first of
    /// them runs that is not on a GPU.
    fn load_cores(&self, config: &ModelConfig) -> Result<Cores> {
        let on_host = |spec: &&InstanceSpec| !matches!(spec.kind, InstanceKind::Gpu { .. });
        let first = config.instances.iter().find(on_host).or(config.instances.first());
        first.map_or(Ok(Cores::All), |spec| self.host_policies.cores(&spec.host_policy))
    }

    /// Whether models of `backend` may be on a GPU unless they say where they are.
    pub(crate) fn uses_gpus(&self, backend: &dyn Backend) -> bool {
        !self.gpus.ids.is_empty() && backend.uses_gpus()
    }

    pub(crate) fn backend(&self, config: &inference::ModelConfig) -> Result<&Arc<dyn Backend>> {
        self.backends.iter().find(|backend| backend.name() == config.backend).ok_or_else(|| {
            Error::invalid_arg(if config.runtime.is_empty() {
                format!(
                    "unable to find backend library for backend '{}', try specifying runtime on the model configuration.",
                    config.backend
                )
            } else {
                format!("unable to find backend library '{}' for model '{}'", config.runtime, config.name)
            })
        })
    }

    /// Makes the instances of `loaded`, warms them up, and makes a scheduler for them.
    pub(crate) fn start(
        &self,
        model: &Polled,
        version: u64,
        config: &Arc<ModelConfig>,
        loaded: Arc<Mutex<Box<dyn Model>>>,
        statistics: Arc<Statistics>,
    ) -> Result<Running> {
        let samples = warm_up::prepare(config, &model.dir)?;
        let (mut active, mut passive) = (Vec::new(), Vec::new());
        for spec in &config.instances {
            let cores = self.host_policies.cores(&spec.host_policy)?;
            self.gpu_limits.check(spec)?;
            let instance = cores.run(|| loaded.lock().create_instance(spec))?;
            self.gpu_limits.check(spec)?; // as Triton: it may have taken more than there was to take
            let instance = cores.keep(instance);
            let statistics = self.of_gpu(&statistics, spec);
            match spec.passive {
                true => passive.push(instance),
                false => active.push(ActiveInstance { instance, statistics }),
            }
        }
        let device_memory = device_memory(&active);
        self.warm_up(&samples, &mut active, config, &statistics)?;
        let options = SchedulerOptions {
            config: config.clone(),
            instances: active,
            delay_until_queued: self.delay_until_queued,
            delay_until_backlogged: self.delay_until_backlogged,
            statistics,
            rate_limiter: self.rate_limiter.clone(),
        };
        let scheduler = self.with_cache(Scheduler::start(options)?, model, version, config)?;
        let departure = self.table.arrived(&model.id, version);
        let dir = model.dir.clone();
        let passive = Mutex::new(passive);
        Ok(Running { scheduler, device_memory, passive, model: loaded, dir, departure })
    }

    /// Where an instance counts that is on a GPU which metrics tell apart.
    fn of_gpu(&self, statistics: &Statistics, spec: &InstanceSpec) -> Option<Arc<Statistics>> {
        let InstanceKind::Gpu { device } = spec.kind else { return None };
        let gpu_uuid = self.gpu_uuids.get(usize::try_from(device).ok()?)?;
        Some(self.reporters.of_gpu(statistics, gpu_uuid))
    }

    /// Passive instances stay cold, as in Triton.
    fn warm_up(
        &self,
        samples: &[Sample],
        instances: &mut [ActiveInstance],
        config: &ModelConfig,
        statistics: &Statistics,
    ) -> Result<()> {
        if samples.is_empty() {
            return Ok(());
        }
        let specs = config.instances.iter().filter(|spec| !spec.passive);
        let run = |(active, spec): (&mut ActiveInstance, &InstanceSpec)| {
            let statistics = active.statistics.as_deref().unwrap_or(statistics);
            let subject = Subject { config, statistics, name: &spec.name };
            // This thread must not stay on the CPUs of the instance.
            let cores = self.host_policies.cores(&spec.host_policy)?;
            cores.run(|| self.warm_ups.run(&mut *active.instance, samples, subject))
        };
        let ends = parallel::map(self.threads, instances.iter_mut().zip(specs).collect(), run);
        ends.into_iter().collect()
    }

    /// `scheduler`, the scheduler of `version` of `model`, with the server's response cache, if there is one.
    pub(crate) fn with_cache(
        &self,
        scheduler: Scheduler,
        model: &Polled,
        version: u64,
        config: &ModelConfig,
    ) -> Result<Scheduler> {
        let Some(cache) = &self.cache else { return Ok(scheduler) };
        let identity = match cache.is_shared() {
            true => cache_identity::of(&model.dir, version, config)?,
            false => cache.identity(),
        };
        Ok(scheduler.with_cache(cache.clone(), identity))
    }
}

/// The GPU in whose memory every one of `instances` takes tensors: which of them a request will get is not known when it
/// comes.
fn device_memory(instances: &[ActiveInstance]) -> Option<i32> {
    let mut devices = instances.iter().map(|active| active.instance.device_memory());
    let first = devices.next()??;
    devices.all(|device| device == Some(first)).then_some(first)
}

/// The config that the program works with.
///
/// # Errors
/// A file of an initial state cannot be used.
pub(crate) fn trusted(wire_config: &inference::ModelConfig, dir: &ModelDir) -> Result<Arc<ModelConfig>> {
    let mut config = convert::convert(wire_config)?;
    sequence::apply(&mut config, wire_config, dir)?;
    Ok(Arc::new(config))
}

/// The file that the config names, in the folder of the version, where those for other GPUs must be, too. Whether they exist
/// is the backend's question.
fn model_file(model: &Polled, version_dir: &Path) -> Result<PathBuf> {
    let config = &model.config;
    let file = |field: &str, name: &str| {
        let name = Path::new(name);
        let file = version_dir.join(name);
        if !name.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)) {
            return Err(Error::invalid_arg(format!(
                "{field} '{}' of model '{}' is outside the version directory",
                name.display(),
                model.id.name
            )));
        }
        model.dir.confine(&file)?;
        Ok(file)
    };
    config.cc_model_filenames.values().try_for_each(|name| file("cc_model_filenames", name).map(drop))?;
    let file = file("default_model_filename", &config.default_model_filename)?;
    disk::check_permission(&file)?;
    Ok(file)
}

/// Runs `work`; a panic of the backend is an error like others.
pub(crate) fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(Error::internal(format!("panic while loading: {}", text.unwrap_or("no message"))))
    })
}
