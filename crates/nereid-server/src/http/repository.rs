//! The model repository extension.

use std::collections::BTreeMap;

use axum::extract::{Request, State};
use axum::response::Response;
use nereid_core::{Error, Result};
use serde::Deserialize;

use super::path::ModelName;
use super::reply::{self, Refused};
use super::{Http, body, json};
use crate::describe;

/// Bytes of a body that carries a few settings.
const MAX_BODY_BYTES: usize = 1 << 20;

pub(super) async fn index(State(http): State<Http>, request: Request) -> Result<Response, Refused> {
    let body = body::read(request.into_body(), MAX_BODY_BYTES).await?;
    let ready_only = ready_only(&body)?;
    json::index(&http.service.off_the_loop(move |service| describe::index(service, ready_only)).await?)
}

pub(super) async fn load(
    State(http): State<Http>,
    path: ModelName,
    request: Request,
) -> Result<Response, Refused> {
    let body = body::read(request.into_body(), MAX_BODY_BYTES).await?;
    let parameters = control_parameters(&body)?;
    if let Some(name) = parameters.keys().next() {
        let known = name == "config" || name.starts_with("file:");
        return Err(Refused::Json(if known {
            Error::unsupported(format!("load parameter '{name}' is not supported yet"))
        } else {
            Error::internal("unexpected error on creating Triton parameter")
        }));
    }
    http.service.off_the_loop(move |service| service.repository().load_model(&path.0)).await?;
    Ok(reply::json(""))
}

pub(super) async fn unload(State(http): State<Http>, path: ModelName) -> Result<Response, Refused> {
    http.service.off_the_loop(move |service| service.repository().unload_model(&path.0)).await?;
    Ok(reply::json(""))
}

/// Control of a named repository, which Triton does not have either.
pub(super) async fn named() -> Result<Response, Refused> {
    Err(Error::unsupported("'repository_name' specification is not supported").into())
}

/// `parameters` of a load request.
fn control_parameters(body: &[u8]) -> Result<BTreeMap<String, serde_json::Value>> {
    #[derive(Deserialize)]
    struct Control {
        #[serde(default)]
        parameters: BTreeMap<String, serde_json::Value>,
    }
    if body.is_empty() {
        return Ok(BTreeMap::new());
    }
    let control: Control = serde_json::from_slice(body).map_err(broken)?;
    Ok(control.parameters)
}

fn broken(error: serde_json::Error) -> Error {
    Error::internal(format!("failed to parse the request JSON buffer: {error}"))
}

fn ready_only(body: &[u8]) -> Result<bool> {
    #[derive(Deserialize)]
    struct Index {
        ready: Option<serde_json::Value>,
    }
    if body.is_empty() {
        return Ok(false);
    }
    let index: Index = serde_json::from_slice(body).map_err(broken)?;
    match index.ready {
        None => Ok(false),
        Some(serde_json::Value::Bool(ready)) => Ok(ready),
        Some(_) => Err(Error::invalid_arg("Invalid value for 'ready': expected a boolean")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn index_bodies() {
        assert!(!ready_only(b"").unwrap() && !ready_only(b"{}").unwrap());
        assert!(ready_only(br#"{"ready":true}"#).unwrap());
        assert_eq!(
            ready_only(br#"{"ready":"x"}"#).unwrap_err().message(),
            "Invalid value for 'ready': expected a boolean"
        );
        let deep = format!("{}1{}", "[".repeat(250_000), "]".repeat(250_000));
        for broken in ["{", "[1", deep.as_str()] {
            assert!(ready_only(broken.as_bytes()).unwrap_err().message().starts_with("failed to parse"));
        }
    }
}
