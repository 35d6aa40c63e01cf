//! The HTTP frontend: one line per route. What a route does is in the file named for it.
//!
//! Paths, methods and the content types of refusals are Triton's (`http_server.cc`): paths match whole
//! and undecoded, versions are digits, everything else is `Not Found`.

mod body;
mod chunks;
mod decode;
mod encode;
pub(crate) mod encoding;
#[doc(hidden)]
pub mod fuzzing;
mod generate;
mod health;
mod infer;
mod json;
mod logging;
mod models;
mod path;
pub(crate) mod reply;
mod repository;
mod routes;
mod settings;
mod shared_memory;
mod trace_setting;
mod traced;
mod unread;

use std::sync::Arc;

use axum::Router;
use axum::handler::Handler;
use axum::routing::{MethodRouter, get, post};

use self::chunks::ChunkCap;
use self::routes::Routes;
use self::unread::Unread;
use crate::header_forward::HeaderForward;
use crate::restricted::{Category, Restrictions};
use crate::serve::HttpService;
use crate::service::Service;

/// What the handlers share.
#[derive(Debug, Clone)]
pub struct Http {
    service: Arc<Service>,
    limits: Limits,
    header_forward: Option<Arc<HeaderForward>>,
}

/// Bounds on what a client may send.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// `--http-max-input-size`: JSON, tensors decoded from JSON, raw and decompressed bodies, in bytes.
    pub max_input_bytes: usize,
}

/// How the HTTP port is served.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    pub limits: Limits,
    /// `--http-restricted-api`.
    pub restrictions: Restrictions,
    /// `--http-header-forward-pattern`.
    pub header_forward: Option<Arc<HeaderForward>>,
}

/// What answers on the HTTP port: the routes, with the cap on chunks around them, and what deals with unread bodies.
pub fn router(service: Arc<Service>, options: HttpOptions) -> impl HttpService {
    Unread::new(ChunkCap::new(routes(service, options)))
}

fn routes(service: Arc<Service>, options: HttpOptions) -> Router {
    use Category::{
        Health, Inference, Logging, Metadata, ModelConfig, ModelRepository, SharedMemory, Statistics, Trace,
    };
    use Refusal::{Json, Text};

    let HttpOptions { limits, restrictions, header_forward } = options;
    let mut router = Routes::new(restrictions)
        .route(Metadata, "/v2", on_get(models::server, Json))
        .route(Health, "/v2/health/live", on_get(health::live, Text))
        .route(Health, "/v2/health/ready", on_get(health::ready, Text))
        .route(Statistics, "/v2/models/stats", on_get(models::all_statistics, Json))
        .route(Logging, "/v2/logging", on_get_or_post(logging::get, logging::set))
        .route(Trace, "/v2/trace/setting", on_get_or_post(trace_setting::get, trace_setting::set))
        .route(
            Trace,
            "/v2/models/{model}/trace/setting",
            on_get_or_post(trace_setting::get_of_model, trace_setting::set_of_model),
        )
        .route(ModelRepository, "/v2/repository/index", on_post(repository::index, Json))
        .route(ModelRepository, "/v2/repository/{repository}/index", on_post(repository::index, Json))
        .route(ModelRepository, "/v2/repository/models/{model}/load", on_post(repository::load, Json))
        .route(ModelRepository, "/v2/repository/models/{model}/unload", on_post(repository::unload, Json))
        .route(
            ModelRepository,
            "/v2/repository/{repository}/models/{model}/load",
            on_post(repository::named, Json),
        )
        .route(
            ModelRepository,
            "/v2/repository/{repository}/models/{model}/unload",
            on_post(repository::named, Json),
        );
    for model in ["/v2/models/{model}", "/v2/models/{model}/versions/{version}"] {
        router = router
            .route(Metadata, model, on_get(models::metadata, Json))
            .route(ModelConfig, &format!("{model}/config"), on_get(models::config, Json))
            .route(Statistics, &format!("{model}/stats"), on_get(models::statistics, Json))
            .route(Health, &format!("{model}/ready"), on_get(models::ready, Text))
            .route(Inference, &format!("{model}/infer"), on_post(infer::infer, Text))
            .route(Inference, &format!("{model}/generate"), on_post(generate::generate, Json))
            .route(Inference, &format!("{model}/generate_stream"), on_post(generate::generate_stream, Json));
    }
    for kind in ["system", "cuda"] {
        let path = format!("/v2/{kind}sharedmemory");
        for region in [path.clone(), path + "/region/{region}"] {
            router = router
                .route(SharedMemory, &format!("{region}/status"), on_get(shared_memory::status, Json))
                .route(SharedMemory, &format!("{region}/register"), on_post(shared_memory::register, Json))
                .route(
                    SharedMemory,
                    &format!("{region}/unregister"),
                    on_post(shared_memory::unregister, Json),
                );
        }
    }
    router.with_state(Http { service, limits, header_forward })
}

/// How a route refuses other methods: Triton labels some of these bodies as JSON and some as text.
#[derive(Clone, Copy)]
enum Refusal {
    Json,
    Text,
}

impl Refusal {
    fn of(self, routes: MethodRouter<Http>) -> MethodRouter<Http> {
        match self {
            Self::Json => routes.fallback(reply::method_not_allowed_json),
            Self::Text => routes.fallback(reply::method_not_allowed_text),
        }
    }
}

/// A route for GET. HEAD is refused like the rest: axum would answer it with the handler of GET.
fn on_get<T: 'static>(handler: impl Handler<T, Http>, refusal: Refusal) -> MethodRouter<Http> {
    let get = get(handler);
    refusal.of(match refusal {
        Refusal::Json => get.head(reply::method_not_allowed_json),
        Refusal::Text => get.head(reply::method_not_allowed_text),
    })
}

/// A route for both, whose refusals are labelled as JSON.
fn on_get_or_post<T: 'static, U: 'static>(
    read: impl Handler<T, Http>,
    change: impl Handler<U, Http>,
) -> MethodRouter<Http> {
    Refusal::Json.of(get(read).post(change).head(reply::method_not_allowed_json))
}

/// A route for POST.
fn on_post<T: 'static>(handler: impl Handler<T, Http>, refusal: Refusal) -> MethodRouter<Http> {
    refusal.of(post(handler))
}
