//! What the server says about itself and its models.

use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use nereid_core::{Error, Result};
use nereid_protocol::config_json;

use super::Http;
use super::json;
use super::path::ModelPath;
use super::reply::{self, Refused, TEXT};
use crate::describe;

pub(super) async fn server(State(http): State<Http>) -> Result<Response, Refused> {
    json::server(&describe::server(&http.service))
}

pub(super) async fn metadata(State(http): State<Http>, path: ModelPath) -> Result<Response, Refused> {
    json::model(&describe::model(&http.service, &path.name, path.version()?)?)
}

pub(super) async fn config(State(http): State<Http>, path: ModelPath) -> Result<Response, Refused> {
    let model = http.service.model(&path.name, path.version()?)?;
    Ok(reply::json(config_json::to_json(&model.wire_config)))
}

pub(super) async fn statistics(State(http): State<Http>, path: ModelPath) -> Result<Response, Refused> {
    json::statistics(&describe::statistics(&http.service, &path.name, path.version()?)?)
}

pub(super) async fn all_statistics(State(http): State<Http>) -> Result<Response, Refused> {
    json::statistics(&describe::statistics(&http.service, "", None)?)
}

pub(super) async fn ready(State(http): State<Http>, path: ModelPath) -> Result<Response, Refused> {
    let ready = path.version().and_then(|version| http.service.repository().model_ready(&path.name, version));
    if ready.map_err(Refused::Text)? {
        Ok(reply::reply(StatusCode::OK, TEXT, Bytes::new()))
    } else {
        Err(Refused::Text(Error::invalid_arg("Model version not ready")))
    }
}
