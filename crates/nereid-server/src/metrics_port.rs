//! The metrics port: `/metrics`, and an empty 200 for every other path, as Triton answers.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use nereid_protocol::rest;

use crate::http::reply::{TEXT, reply};
use crate::metrics::{self, MetricsOptions};
use crate::service::Service;

/// The routes of the metrics port.
pub(crate) fn router(service: Arc<Service>, options: MetricsOptions) -> Router {
    Router::new().fallback(answer).with_state(Metrics { service, options: Arc::new(options) })
}

#[derive(Clone)]
struct Metrics {
    service: Arc<Service>,
    options: Arc<MetricsOptions>,
}

async fn answer(State(state): State<Metrics>, request: Request) -> Response {
    if request.method() != Method::GET {
        return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, rest::error_body("Method Not Allowed"));
    }
    if !matches!(request.uri().path(), "/metrics" | "/metrics/") {
        return reply(StatusCode::OK, TEXT, Bytes::new());
    }
    let text = metrics::render(&state.service.repository().loaded(), &state.options);
    reply(StatusCode::OK, HeaderValue::from_static(metrics::CONTENT_TYPE), text)
}
