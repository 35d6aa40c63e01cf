//! What a server is told about its model repositories, as parsed from its command line.

use std::path::PathBuf;
use std::sync::Arc;

use nereid_scheduler::{RateLimiter, Reporters, ResponseCache};

use crate::{GpuLimits, HostPolicies};

/// When models are loaded and unloaded (`--model-control-mode`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ControlMode {
    /// Every model is loaded at start; later changes on disk are ignored.
    #[default]
    None,
    /// Every model is loaded at start; changes on disk are followed.
    Poll,
    /// Only [`Options::startup_models`] are loaded at start; the load and unload APIs do the rest.
    Explicit,
}

/// What makes a server call itself ready (`--ready-when`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ReadyWhen {
    /// Every model that was tried is: Triton's strict readiness. A load makes the server unready until it has ended.
    #[default]
    All,
    /// What was to be loaded at start has been. From then on nothing that happens to models counts.
    Startup,
    /// At least one model is.
    Any,
    /// It runs: Triton's `--strict-readiness=false`.
    Server,
}

/// Everything [`crate::Repository::open`] needs to know.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folders of models (`--model-repository`, repeatable).
    pub paths: Vec<PathBuf>,
    pub control: ControlMode,
    /// Models to load at start in explicit mode (`--load-model`); a single `*` means all.
    pub startup_models: Vec<String>,
    /// Let backends fill in what a config lacks; off, every model needs a full config.
    pub auto_complete: bool,
    /// What [`crate::Repository::is_ready`] asks for.
    pub ready_when: ReadyWhen,
    /// Model versions loaded at the same time; at least 1 is used.
    pub load_threads: usize,
    /// Further attempts after a version failed to load.
    pub load_retries: u32,
    /// `max_batch_size` for a model that can batch and whose config gives none.
    pub default_max_batch_size: u32,
    /// `--model-config-name`: read `configs/<name>.pbtxt` where it exists; empty means off.
    pub config_name: String,
    /// `--bare-model-name`: what a model is called that a path of [`Self::paths`] is itself; `None` leaves it to its config and files.
    pub bare_model_name: Option<String>,
    /// Numbers of the GPUs that may be used, ascending.
    pub gpus: Vec<i32>,
    /// Names in metrics of the machine's GPUs, by their number (`gpu_uuid`). What runs on one that has no name here counts as if
    /// it ran on none.
    pub gpu_uuids: Vec<Arc<str>>,
    /// How full those may be when models are loaded.
    pub gpu_limits: GpuLimits,
    /// Least CUDA compute capability of those GPUs, for messages.
    pub min_compute_capability: f64,
    /// A model is told apart by the repository that it is from as well as by its name (`--model-namespacing`).
    pub model_namespacing: bool,
    /// Where the metrics of loaded models are kept.
    pub reporters: Arc<Reporters>,
    /// Decides which instances run at the same time (`--rate-limit=execution_count`).
    pub rate_limiter: Option<Arc<RateLimiter>>,
    /// On which CPUs instances run (`--host-policy`).
    pub host_policies: HostPolicies,
    /// Where responses are cached of the models whose configs ask for it.
    pub cache: Option<Arc<ResponseCache>>,
}

impl Default for Options {
    /// The defaults of Triton's command line.
    fn default() -> Self {
        Self {
            paths: Vec::new(),
            control: ControlMode::None,
            startup_models: Vec::new(),
            auto_complete: true,
            ready_when: ReadyWhen::All,
            load_threads: 4,
            load_retries: 0,
            default_max_batch_size: 4,
            config_name: String::new(),
            bare_model_name: None,
            gpus: Vec::new(),
            gpu_uuids: Vec::new(),
            gpu_limits: GpuLimits::default(),
            min_compute_capability: 7.5,
            model_namespacing: false,
            reporters: Arc::default(),
            rate_limiter: None,
            host_policies: HostPolicies::default(),
            cache: None,
        }
    }
}
