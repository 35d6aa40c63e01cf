//! From options to a running server: take ports, load models, listen, wait for a signal. The end is in `shutdown`.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use nereid_repository::{ControlMode, GpuLimits, Repository};
use nereid_scheduler::{LatencyOptions, RateLimiter, Reporters};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::{MetricsEndpoint, ModelControlMode, Options, RepositoryOptions};
use crate::container::Container;
use crate::gpus::{self, Gpus};
use crate::in_flight::{Budget, Limit};
use crate::logging::LogControl;
use crate::metrics::{self, GpuReadings};
use crate::serve::{Bound, Listener, Protocol, ServeOptions, Shards, bind, serve};
use crate::service::{Service, ServiceOptions};
use crate::shutdown::{self, Drains};
use crate::trace::Tracer;
use crate::transport::{self, Transport};
use crate::{backends, caches, grpc, http, metrics_port, start_errors};

/// How a server ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Everything accepted was answered.
    Clean,
    /// The exit timeout passed first.
    TimedOut,
}

/// Runs a server until SIGINT or SIGTERM. Clients see and change `log`.
///
/// # Errors
/// A port cannot be taken, the repository cannot be read, or a model fails to load and
/// `--exit-on-error` says that this ends the server.
pub async fn run(options: Options, log: LogControl) -> anyhow::Result<Ended> {
    let container = Container::read();
    container.memory.save();
    let transport = transport::of(&options)?;
    let ports = Ports::take(&options)?;
    let mut signals = Signals::listen()?;
    let tracer = Tracer::start(options.trace.clone()).context("cannot start to write traces")?;
    let MetricsEndpoint { enabled, families, .. } = &options.metrics;
    let gpus = (*enabled && families.gpu).then(|| metrics::start_gpus(families.interval)).flatten();
    let Some(service) = load(&options, &mut signals).await? else { return Ok(Ended::Clean) };
    let service = limited(service.with_log_and_traces(log, tracer), container, &options);
    let service = Arc::new(service);
    service.access().switch(options.access_log)?;
    let drains = Drains::new();
    ports.serve(&options, transport, &service, gpus, &drains)?;
    signals.any().await;
    let secs = |secs: u32| Duration::from_secs(secs.into());
    shutdown::leave(&service, &drains, secs(options.shutdown_delay_secs), signals.any()).await;
    Ok(shutdown::end(service, drains, secs(options.exit_timeout_secs)).await)
}

/// Bounds the memory of requests, now that the models have theirs, and says what there is.
fn limited(service: Service, container: Container, options: &Options) -> Service {
    let budget = Budget::new(Limit::of(options.max_inflight_bytes, container.memory));
    container.log(options.http.threads);
    budget.log(container.memory);
    service.with_budget(budget).with_container(container)
}

/// Looks for GPUs and opens the repository on a thread of its own; `None` when a signal came first.
async fn load(options: &Options, signals: &mut Signals) -> anyhow::Result<Option<Service>> {
    let gpu_options = options.gpus.clone();
    let gpus = tokio::select! {
        gpus = tokio::task::spawn_blocking(move || Gpus::find(&gpu_options)) => gpus.context("looking for GPUs failed")?,
        () = signals.any() => return Ok(None),
    };
    let (settings, backends) = (repository_options(options, &gpus), backends::all(options, &gpus)?);
    let exit_on_error = options.repository.exit_on_error;
    let caches = options.caches.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let cache = caches::open(&caches)?.map(Arc::new);
        Repository::open(nereid_repository::Options { cache, ..settings }, backends)
    });
    let repository = tokio::select! {
        opened = opening => opened.context("loading models failed")?.map_err(|e| anyhow!("Internal - {e}"))?,
        () = signals.any() => return Ok(None),
    };
    let failures = repository.startup_failures();
    for failure in failures {
        tracing::error!("failed to load {}", start_errors::model(failure));
    }
    if exit_on_error && !failures.is_empty() {
        return Err(anyhow!("Internal - failed to load all models: {}", start_errors::models(failures)));
    }
    let repository = Arc::new(repository);
    let RepositoryOptions { control_mode, poll_secs, .. } = options.repository;
    if control_mode == ModelControlMode::Poll && poll_secs > 0 {
        let every = Duration::from_secs(u64::from(poll_secs));
        repository.follow(every).map_err(|e| anyhow!("Internal - {e}"))?;
    }
    let options =
        ServiceOptions { id: options.server_id.clone(), allow_client_shm: options.allow_client_shm };
    Ok(Some(Service::new(repository, options).with_gpus(gpus)))
}

fn repository_options(options: &Options, gpus: &Gpus) -> nereid_repository::Options {
    let Options { repository, rate_limit, .. } = options;
    nereid_repository::Options {
        paths: repository.paths.iter().map(PathBuf::from).collect(),
        control: match repository.control_mode {
            ModelControlMode::None => ControlMode::None,
            ModelControlMode::Poll => ControlMode::Poll,
            ModelControlMode::Explicit => ControlMode::Explicit,
        },
        startup_models: match repository.load_all {
            true => vec!["*".to_owned()],
            false => repository.load_models.iter().cloned().collect(),
        },
        auto_complete: repository.auto_complete,
        ready_when: repository.ready_when,
        load_threads: repository.load_threads,
        load_retries: repository.load_retries,
        default_max_batch_size: options.backends.default_max_batch_size("onnxruntime"),
        config_name: repository.config_name.clone().unwrap_or_default(),
        bare_model_name: repository.bare_model_name.clone(),
        gpus: gpus.usable().to_vec(),
        gpu_limits: GpuLimits::new(options.gpus.load_limits.clone(), gpus::memory),
        min_compute_capability: options.gpus.min_compute_capability,
        gpu_uuids: match options.metrics.enabled && options.metrics.families.gpu {
            true => metrics::gpu_uuids(),
            false => Vec::new(),
        },
        model_namespacing: repository.namespacing,
        reporters: Arc::new(Reporters::new(match options.metrics.enabled {
            true => options.metrics.families.latencies(),
            false => LatencyOptions::default(),
        })),
        rate_limiter: rate_limit.enabled.then(|| Arc::new(RateLimiter::new(rate_limit.resources.clone()))),
        host_policies: options.host_policies.clone(),
        ..Default::default()
    }
}

/// The ports, taken before models load so that one in use is told at once.
struct Ports {
    http: Option<Bound>,
    grpc: Option<Bound>,
    metrics: Option<Bound>,
}

impl Ports {
    fn take(options: &Options) -> anyhow::Result<Self> {
        let take = |enabled: bool, what: &str, host: &str, port: u16, reuse: bool| {
            let bound = || bind(host, port, reuse).map_err(|e| start_errors::port(what, host, port, &e));
            enabled.then(bound).transpose()
        };
        let (http, grpc, metrics) = (&options.http, &options.grpc, &options.metrics);
        Ok(Self {
            http: take(http.enabled, "HTTP service", &http.address, http.port, http.reuse_port)?,
            grpc: take(grpc.enabled, "gRPC service", &grpc.address, grpc.port, grpc.reuse_port)?,
            metrics: take(metrics.enabled, "metrics service", &metrics.address, metrics.port, false)?,
        })
    }

    fn serve(
        self,
        options: &Options,
        transport: Transport,
        service: &Arc<Service>,
        gpus: Option<GpuReadings>,
        drains: &Drains,
    ) -> anyhow::Result<()> {
        let shards = Shards::start(options.http.threads).context("cannot start the event loops")?;
        if let Some(bound) = self.grpc {
            let served = grpc::GrpcOptions {
                restrictions: options.grpc.restrictions.clone(),
                header_forward: options.grpc.header_forward.clone(),
                compression: options.grpc.compression,
            };
            let router = grpc::router(service.clone(), served, drains.inference.draining())?;
            let listener = listen(bound, "GRPCInferenceService")?;
            tokio::spawn(serve(
                listener,
                service.access().around(router, Protocol::Http2),
                transport.grpc,
                shards.clone(),
                drains.inference.draining(),
            ));
        }
        if let Some(bound) = self.http {
            let limits = http::Limits { max_input_bytes: options.http.max_input_size };
            let served = http::HttpOptions {
                limits,
                restrictions: options.http.restrictions.clone(),
                header_forward: options.http.header_forward.clone(),
            };
            let router = http::router(service.clone(), served);
            let listener = listen(bound, "HTTPService")?;
            tokio::spawn(serve(
                listener,
                service.access().around(router, Protocol::Http1),
                transport.http,
                shards.clone(),
                drains.inference.draining(),
            ));
        }
        if let Some(bound) = self.metrics {
            let router = metrics_port::router(service.clone(), options.metrics.families.clone(), gpus);
            let listener = listen(bound, "Metrics Service")?;
            tokio::spawn(serve(
                listener,
                move |_| router.clone(),
                ServeOptions::plain(Protocol::Http1),
                shards,
                drains.metrics.draining(),
            ));
        }
        Ok(())
    }
}

fn listen(bound: Bound, what: &str) -> anyhow::Result<Listener> {
    let address = bound.address();
    let listener = bound.listen().with_context(|| format!("{what}: cannot listen on {address}"))?;
    tracing::info!("Started {what} at {address}");
    Ok(listener)
}

/// The signals that end the server.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
