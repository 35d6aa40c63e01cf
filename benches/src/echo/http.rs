//! The HTTP half of the echo server: an axum router.

use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::Response;
use axum::routing::{get, post};
use bytes::Bytes;

use crate::model::Sample;

/// The constant.
#[derive(Debug, Clone)]
struct Answer {
    json_length: usize,
    body: Bytes,
}

/// Routes with which Nereid's have a name in common.
pub(super) fn router(sample: &Sample) -> Router {
    let mut body = sample.http_answer_json().into_bytes();
    let json_length = body.len();
    body.resize(json_length + sample.output_bytes(), 0);
    Router::new()
        .route("/v2/health/ready", get(async || ()))
        .route("/v2/models/{model}/infer", post(infer))
        .layer(DefaultBodyLimit::disable())
        .with_state(Answer { json_length, body: body.into() })
}

async fn infer(State(answer): State<Answer>, _request: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(answer.body));
    let headers = response.headers_mut();
    headers.insert("content-type", axum::http::HeaderValue::from_static("application/octet-stream"));
    headers.insert("inference-header-content-length", answer.json_length.into());
    response
}
