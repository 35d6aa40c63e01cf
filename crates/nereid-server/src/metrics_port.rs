//! The metrics port: `/metrics`, and an empty 200 for every other path, as Triton answers.
//!
//! Scrapes take turns and are written off the event loops, so that they cost requests nothing, however many come.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use nereid_protocol::rest;
use tokio::sync::Mutex;

use crate::http::reply::{Refused, TEXT, reply};
use crate::metrics::{self, GpuReadings, MetricsOptions, Page};
use crate::off_the_loop::off_the_loop;
use crate::service::Service;

/// The routes of the metrics port.
pub(crate) fn router(service: Arc<Service>, options: MetricsOptions, gpus: Option<GpuReadings>) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(Mutex::new(Page::new(service, options, gpus))))
}

async fn answer(State(page): State<Arc<Mutex<Page>>>, request: Request) -> Response {
    if request.method() != Method::GET {
        return reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, rest::error_body("Method Not Allowed"));
    }
    let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
    if !matches!(request.uri().path(), "/metrics" | "/metrics/") {
        return reply(StatusCode::OK, content_type, Bytes::new());
    }
    let mut page = page.lock_owned().await;
    match off_the_loop(move || Ok(page.render())).await {
        Ok(text) => reply(StatusCode::OK, content_type, text),
        Err(error) => Refused::Text(error).into_response(),
    }
}
