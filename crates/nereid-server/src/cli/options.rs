//! What a command line means, typed and with every default filled in. No parsing here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use nereid_repository::{HostPolicies, ReadyWhen};
use nereid_scheduler::ResourceLimits;

use crate::container::Container;
use crate::header_forward::HeaderForward;
use crate::logging::LogOptions;
use crate::metrics::MetricsOptions;
use crate::restricted::Restrictions;
use crate::trace::TraceOptions;

/// Options of the whole server.
#[derive(Debug, Clone)]
pub struct Options {
    /// `--id`: the name in the server metadata.
    pub server_id: String,
    /// How long in-flight inferences may take to finish after a signal and the delay, in seconds.
    pub exit_timeout_secs: u32,
    /// `--shutdown-delay-secs`: how long the server serves on after a signal, not ready any more.
    pub shutdown_delay_secs: u32,
    /// `--allow-client-shm`: clients may register shared memory regions.
    pub allow_client_shm: bool,
    pub log: LogOptions,
    /// `--access-log`: a line per request, which Triton does not have.
    pub access_log: bool,
    pub trace: TraceOptions,
    pub repository: RepositoryOptions,
    pub http: HttpEndpoint,
    pub grpc: GrpcEndpoint,
    pub metrics: MetricsEndpoint,
    pub backends: BackendSettings,
    /// What `--cache-config` says: settings by the cache's name. A server has one cache at most.
    pub caches: CacheSettings,
    pub rate_limit: RateLimitOptions,
    /// `--host-policy`.
    pub host_policies: HostPolicies,
    pub gpus: GpuOptions,
    /// `--max-inflight-bytes`: most bytes of requests in flight, 0 for no limit; by default as the memory allows.
    pub max_inflight_bytes: Option<u64>,
}

/// Which GPUs models use, and how far.
#[derive(Debug, Clone, PartialEq)]
pub struct GpuOptions {
    /// `--min-supported-compute-capability`: GPUs below are not used.
    pub min_compute_capability: f64,
    /// `--pinned-memory-pool-byte-size`: most bytes of page-locked memory for copies to and from them.
    pub pinned_pool_bytes: usize,
    /// `--model-load-gpu-limit`: by GPU, the part of its memory, 0 to 1, that may be in use when a model is loaded.
    pub load_limits: BTreeMap<i32, f64>,
}

/// `--rate-limit` and `--rate-limit-resource`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateLimitOptions {
    /// `execution_count`: instances run as their resources allow, those first that ran least.
    pub enabled: bool,
    pub resources: ResourceLimits,
}

/// Settings of response caches by the cache's name, such as `local`.
pub type CacheSettings = BTreeMap<String, BTreeMap<String, String>>;

/// Where models are and how they are loaded.
#[derive(Debug, Clone)]
pub struct RepositoryOptions {
    /// Paths or URLs, in the order given, each once; at least one.
    pub paths: Vec<String>,
    /// End the process when a model fails to load at start-up.
    pub exit_on_error: bool,
    /// Complete missing parts of model configs; off with `--disable-auto-complete-config`.
    pub auto_complete: bool,
    /// `--ready-when` and `--strict-readiness`.
    pub ready_when: ReadyWhen,
    pub control_mode: ModelControlMode,
    /// Seconds between two looks at the repositories in [`ModelControlMode::Poll`]; 0 means no looks.
    pub poll_secs: u32,
    /// Models to load at start-up in [`ModelControlMode::Explicit`].
    pub load_models: BTreeSet<String>,
    /// Every model of the repositories is loaded at start-up: any mode but explicit, or `--load-model=*`.
    pub load_all: bool,
    /// `--model-config-name`: read `configs/<name>.pbtxt` of a model where it exists.
    pub config_name: Option<String>,
    /// `--bare-model-name`: what a model is called that is a path of [`Self::paths`] itself.
    pub bare_model_name: Option<String>,
    /// Models loaded at the same time; at least 1.
    pub load_threads: usize,
    /// How often a failed load is tried again.
    pub load_retries: u32,
    /// `--model-namespacing`: repositories may have models of the same name.
    pub namespacing: bool,
}

/// `--model-control-mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelControlMode {
    /// Load all at start-up, change nothing after.
    None,
    /// Watch the repositories.
    Poll,
    /// Load and unload on request.
    Explicit,
}

/// The HTTP endpoint.
#[derive(Debug, Clone)]
pub struct HttpEndpoint {
    pub enabled: bool,
    pub address: String,
    /// 0 takes any free port.
    pub port: u16,
    /// Several processes may listen on the port (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// Event loops; at least 1. By default as many as the process has CPUs: its affinity mask and its cgroup's
    /// quota count.
    pub threads: usize,
    /// Most bytes of a request body, also after decompression; at least 1.
    pub max_input_size: usize,
    /// `--http-restricted-api`.
    pub restrictions: Restrictions,
    /// `--http-header-forward-pattern`.
    pub header_forward: Option<Arc<HeaderForward>>,
    /// `--http-use-ssl` and its kin, which Triton does not have.
    pub tls: TlsOptions,
    /// `--http-max-connection-age`, in milliseconds.
    pub max_age_ms: Option<u32>,
}

/// The gRPC endpoint.
#[derive(Debug, Clone)]
pub struct GrpcEndpoint {
    pub enabled: bool,
    pub address: String,
    /// 0 takes any free port.
    pub port: u16,
    /// Several processes may listen on the port (`SO_REUSEPORT`).
    pub reuse_port: bool,
    /// `--grpc-restricted-protocol`.
    pub restrictions: Restrictions,
    /// `--grpc-header-forward-pattern`.
    pub header_forward: Option<Arc<HeaderForward>>,
    pub tls: TlsOptions,
    pub connections: ConnectionOptions,
    /// Compression of inference responses.
    pub compression: CompressionLevel,
}

/// TLS of an endpoint. The files are PEM; a path that was not given is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    pub enabled: bool,
    /// Clients must show a certificate; implies `enabled`.
    pub mutual: bool,
    pub certificate: String,
    pub key: String,
    /// What the certificates of clients are checked against.
    pub roots: String,
}

impl TlsOptions {
    /// Whether the endpoint speaks TLS.
    pub fn wanted(&self) -> bool {
        self.enabled || self.mutual
    }
}

/// How long gRPC connections live and how they are found to be dead, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionOptions {
    pub keepalive_time_ms: u32,
    pub keepalive_timeout_ms: u32,
    pub max_age_ms: Option<u32>,
    pub max_age_grace_ms: Option<u32>,
}

/// `--grpc-infer-response-compression-level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionLevel {
    None,
    Low,
    Medium,
    High,
}

/// The metrics endpoint.
#[derive(Debug, Clone)]
pub struct MetricsEndpoint {
    pub enabled: bool,
    /// The HTTP endpoint's address unless `--metrics-address` says otherwise.
    pub address: String,
    /// 0 takes any free port.
    pub port: u16,
    /// What is shown.
    pub families: MetricsOptions,
}

/// What `--backend-config` says: settings of all backends and settings of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackendSettings {
    global: BTreeMap<String, String>,
    specific: BTreeMap<String, BTreeMap<String, String>>,
}

impl BackendSettings {
    /// The `max_batch_size` that auto-complete gives a model that can batch: the setting
    /// `default-max-batch-size`, 4 when it is not given (`backend_model.cc`, `backend_config_defaults`).
    pub const DEFAULT_MAX_BATCH_SIZE: u32 = 4;

    /// The setting `key` of `backend`; a setting of that backend precedes one of all.
    pub fn get(&self, backend: &str, key: &str) -> Option<&str> {
        self.specific
            .get(backend)
            .and_then(|s| s.get(key))
            .or_else(|| self.global.get(key))
            .map(String::as_str)
    }

    /// Every setting that concerns `backend`.
    pub fn of(&self, backend: &str) -> BTreeMap<String, String> {
        let mut settings = self.global.clone();
        settings.extend(self.specific.get(backend).cloned().unwrap_or_default());
        settings
    }

    /// See [`BackendSettings::DEFAULT_MAX_BATCH_SIZE`].
    pub fn default_max_batch_size(&self, backend: &str) -> u32 {
        // The value was checked when the flag was parsed.
        self.get(backend, "default-max-batch-size")
            .and_then(|v| v.parse().ok())
            .unwrap_or(Self::DEFAULT_MAX_BATCH_SIZE)
    }

    /// Sets `key` of `backend`, or of all backends when its name is empty. The last one counts.
    pub fn set(&mut self, backend: &str, key: &str, value: &str) {
        let settings = match backend {
            "" => &mut self.global,
            _ => self.specific.entry(backend.to_owned()).or_default(),
        };
        settings.insert(key.to_owned(), value.to_owned());
    }
}

/// Triton's defaults, except that the number of HTTP threads follows the CPUs and that `paths` is empty.
impl Default for Options {
    fn default() -> Self {
        Self {
            server_id: "triton".to_owned(),
            exit_timeout_secs: 30,
            shutdown_delay_secs: 0,
            allow_client_shm: false,
            log: LogOptions::default(),
            access_log: false,
            trace: TraceOptions::default(),
            repository: RepositoryOptions {
                paths: Vec::new(),
                exit_on_error: true,
                auto_complete: true,
                ready_when: ReadyWhen::All,
                control_mode: ModelControlMode::None,
                poll_secs: 15,
                load_models: BTreeSet::new(),
                load_all: true,
                config_name: None,
                bare_model_name: None,
                load_threads: 4,
                load_retries: 0,
                namespacing: false,
            },
            http: HttpEndpoint {
                enabled: true,
                address: ANY_ADDRESS.to_owned(),
                port: 8000,
                reuse_port: false,
                threads: Container::read().cpus.threads(),
                max_input_size: 1 << 26,
                restrictions: Restrictions::default(),
                header_forward: None,
                tls: TlsOptions::default(),
                max_age_ms: None,
            },
            grpc: GrpcEndpoint {
                enabled: true,
                address: ANY_ADDRESS.to_owned(),
                port: 8001,
                reuse_port: false,
                restrictions: Restrictions::default(),
                header_forward: None,
                tls: TlsOptions::default(),
                connections: ConnectionOptions {
                    keepalive_time_ms: 7_200_000,
                    keepalive_timeout_ms: 20_000,
                    max_age_ms: None,
                    max_age_grace_ms: None,
                },
                compression: CompressionLevel::None,
            },
            metrics: MetricsEndpoint {
                enabled: true,
                address: ANY_ADDRESS.to_owned(),
                port: 8002,
                families: MetricsOptions::default(),
            },
            backends: BackendSettings::default(),
            rate_limit: RateLimitOptions::default(),
            host_policies: HostPolicies::default(),
            gpus: GpuOptions {
                min_compute_capability: 7.5,
                pinned_pool_bytes: 1 << 28,
                load_limits: BTreeMap::new(),
            },
            caches: CacheSettings::new(),
            max_inflight_bytes: None,
        }
    }
}

const ANY_ADDRESS: &str = "0.0.0.0";
