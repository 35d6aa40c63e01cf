//! The bodies of requests that change settings or describe a region.

use axum::extract::Request;
use nereid_core::{Error, Result};
use nereid_protocol::rest::Json;

use super::{Http, body, decode};

/// Longest such body.
const MAX_BODY_BYTES: usize = 1 << 20;

/// Reads the body of `request`.
///
/// # Errors
/// It is too long, or no JSON.
pub(super) async fn read(http: &Http, request: Request) -> Result<Json> {
    let body = request.into_body();
    let mut held = body::hold(http.service.budget(), &body);
    let body = body::read(body, MAX_BODY_BYTES, &mut held).await?;
    Json::parse(&body).map_err(decode::error)
}

/// The member `name` of `settings`, unless it is not there or null.
///
/// # Errors
/// Triton's words for a value that `read` refuses.
pub(super) fn member<'a, T>(
    settings: &'a Json,
    name: &str,
    read: impl Fn(&'a Json) -> Result<T, &'static str>,
) -> Result<Option<T>> {
    match settings.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(value) => read(value).map(Some).map_err(Error::internal),
    }
}
