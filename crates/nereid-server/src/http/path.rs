//! The model and version in a path, undecoded: `/v2/models/{model}[/versions/{version}]/…`.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use nereid_core::Result;

use super::reply;
use crate::version;

/// Model and version that a path names.
#[derive(Debug)]
pub(super) struct ModelPath {
    pub name: String,
    /// Digits, if given.
    version: Option<String>,
}

impl ModelPath {
    /// The version asked for; `None` means the highest.
    ///
    /// # Errors
    /// `InvalidArg` for 0 and numbers beyond 63 bits.
    pub(super) fn version(&self) -> Result<Option<u64>> {
        self.version.as_deref().map_or(Ok(None), version::parse)
    }
}

impl<S: Sync> FromRequestParts<S> for ModelPath {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Response> {
        match parse(parts.uri.path()) {
            Some(path) => Ok(path),
            None => Err(reply::not_found().await.into_response()),
        }
    }
}

/// The model in `/v2/repository/models/{model}/load` and `…/unload`, undecoded.
#[derive(Debug)]
pub(super) struct ModelName(pub String);

impl<S: Sync> FromRequestParts<S> for ModelName {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> std::result::Result<Self, Response> {
        let path = parts.uri.path().strip_prefix("/v2/repository/models/");
        match path.and_then(|path| path.split_once('/')) {
            Some((name, _)) => Ok(Self(name.to_owned())),
            None => Err(reply::not_found().await.into_response()),
        }
    }
}

fn parse(path: &str) -> Option<ModelPath> {
    let mut segments = path.strip_prefix("/v2/models/")?.split('/');
    let name = segments.next()?.to_owned();
    let version = match segments.next() {
        Some("versions") => Some(segments.next()?.to_owned()),
        _ => None,
    };
    let digits = |v: &String| !v.is_empty() && v.bytes().all(|b| b.is_ascii_digit());
    (!name.is_empty() && version.as_ref().is_none_or(digits)).then_some(ModelPath { name, version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_not_decoded_and_versions_are_digits() {
        for (path, expected) in [
            ("/v2/models/m", Some(("m", None))),
            ("/v2/models/a%20b/infer", Some(("a%20b", None))),
            ("/v2/models/m/versions/12/stats", Some(("m", Some("12")))),
            ("/v2/models/m/versions/-1", None),
            ("/v2/models/m/versions/latest/ready", None),
            ("/v2/models/m/versions/", None),
        ] {
            let path_parsed = parse(path);
            let found = path_parsed.as_ref().map(|p| (p.name.as_str(), p.version.as_deref()));
            assert_eq!(found, expected, "{path}");
        }
    }
}
