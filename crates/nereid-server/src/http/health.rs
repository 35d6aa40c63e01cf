//! `/v2/health/live` and `/v2/health/ready`: 200 or 400 with an empty body.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use nereid_core::Result;

use super::Http;
use super::reply::{Refused, TEXT, reply};

pub(super) async fn live(State(http): State<Http>) -> Result<Response, Refused> {
    answer(http.service.live())
}

pub(super) async fn ready(State(http): State<Http>) -> Result<Response, Refused> {
    answer(http.service.ready())
}

fn answer(healthy: Result<bool>) -> Result<Response, Refused> {
    let status = if healthy.map_err(Refused::Text)? { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    Ok(reply(status, TEXT, Bytes::new()))
}
