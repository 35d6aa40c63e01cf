//! The shared memory extensions: `/v2/{system,cuda}sharedmemory[/region/{region}]/{status,register,unregister}`.

use axum::extract::{FromRequestParts, Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::request::Parts;
use nereid_core::{Error, Result};
use nereid_protocol::rest::Json;

use super::reply::{self, Refused};
use super::{Http, json, settings};
use crate::shared_memory::{HANDLE_BYTES, Kind};

pub(super) async fn status(State(http): State<Http>, path: RegionPath) -> Result<Response, Refused> {
    json::regions(&http.service.shared_memory().status(path.kind, &path.region)?)
}

pub(super) async fn register(
    State(http): State<Http>,
    path: RegionPath,
    request: Request,
) -> Result<Response, Refused> {
    let RegionPath { kind, region } = path;
    http.service.shared_memory().check_allowed()?;
    if region.is_empty() {
        return Err(nameless(kind).into());
    }
    let body = settings::read(&http, request).await?;
    http.service
        .off_the_loop(move |service| match kind {
            Kind::System => {
                let System { key, offset, byte_size } = System::read(&body)?;
                service.shared_memory().register_system(&region, &key, offset, byte_size)
            }
            Kind::Cuda => {
                let Cuda { handle, device_id, byte_size } = Cuda::read(&body)?;
                service.shared_memory().register_cuda(&region, handle, device_id, byte_size)
            }
        })
        .await?;
    Ok(reply::json(""))
}

pub(super) async fn unregister(State(http): State<Http>, path: RegionPath) -> Result<Response, Refused> {
    let RegionPath { kind, region } = path;
    http.service.off_the_loop(move |service| service.shared_memory().unregister(kind, &region)).await?;
    Ok(reply::json(""))
}

fn nameless(kind: Kind) -> Error {
    let kind = match kind {
        Kind::System => "system",
        Kind::Cuda => "cuda",
    };
    Error::invalid_arg(format!("'region name' is necessary to register {kind} shared memory region"))
}

/// The region that a path names, undecoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RegionPath {
    kind: Kind,
    /// Empty when there is none.
    region: String,
}

impl RegionPath {
    fn parse(path: &str) -> Option<Self> {
        let (kind, rest) = match path.strip_prefix("/v2/systemsharedmemory/") {
            Some(rest) => (Kind::System, rest),
            None => (Kind::Cuda, path.strip_prefix("/v2/cudasharedmemory/")?),
        };
        let region = rest.strip_prefix("region/").and_then(|rest| rest.split_once('/'));
        Some(Self { kind, region: region.map_or_else(String::new, |(region, _)| region.to_owned()) })
    }
}

impl<S: Sync> FromRequestParts<S> for RegionPath {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        match Self::parse(parts.uri.path()) {
            Some(path) => Ok(path),
            None => Err(reply::not_found().await.into_response()),
        }
    }
}

/// The body that registers a region of the system. Fields are looked at in Triton's order.
#[derive(Debug, PartialEq, Eq)]
struct System {
    key: String,
    offset: u64,
    byte_size: u64,
}

impl System {
    fn read(body: &Json) -> Result<Self> {
        let key = required(body, "key")?.as_str().map_err(Error::internal)?.to_owned();
        let offset = body.get("offset").map_or(Ok(0), Json::as_u64).map_err(Error::internal)?;
        let byte_size = required(body, "byte_size")?.as_u64().map_err(Error::internal)?;
        Ok(Self { key, offset, byte_size })
    }
}

/// The body that registers a region of a GPU.
#[derive(Debug, PartialEq, Eq)]
struct Cuda {
    handle: [u8; HANDLE_BYTES],
    device_id: u64,
    byte_size: u64,
}

impl Cuda {
    fn read(body: &Json) -> Result<Self> {
        let text = member(required(body, "raw_handle")?, "b64")?.as_str().map_err(Error::internal)?;
        let byte_size = member(body, "byte_size")?.as_u64().map_err(Error::internal)?;
        let device_id = member(body, "device_id")?.as_u64().map_err(Error::internal)?;
        let handle = handle(text).ok_or_else(|| {
            Error::invalid_arg("'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t")
        })?;
        Ok(Self { handle, device_id, byte_size })
    }
}

/// The handle in base64, read as leniently as by Triton's libb64, whose encoder breaks lines.
fn handle(text: &str) -> Option<[u8; HANDLE_BYTES]> {
    const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone);
    let digits: Vec<u8> = text.bytes().filter(|b| STANDARD.as_str().as_bytes().contains(b)).collect();
    GeneralPurpose::new(&STANDARD, LENIENT).decode(digits).ok()?.try_into().ok()
}

fn required<'j>(body: &'j Json, name: &str) -> Result<&'j Json> {
    body.get(name)
        .ok_or_else(|| Error::invalid_arg(format!("Shared memory register request has no '{name}' field")))
}

fn member<'j>(object: &'j Json, name: &str) -> Result<&'j Json> {
    object
        .get(name)
        .ok_or_else(|| Error::internal(format!("attempt to access non-existing object member '{name}'")))
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;

    use super::*;

    #[test]
    fn regions_in_paths() {
        for (path, kind, region) in [
            ("/v2/systemsharedmemory/status", Kind::System, ""),
            ("/v2/systemsharedmemory/region/a%2Fb/register", Kind::System, "a%2Fb"),
            ("/v2/cudasharedmemory/region/region/unregister", Kind::Cuda, "region"),
            ("/v2/cudasharedmemory/unregister", Kind::Cuda, ""),
        ] {
            assert_eq!(
                RegionPath::parse(path),
                Some(RegionPath { kind, region: region.to_owned() }),
                "{path}"
            );
        }
    }

    fn check<T: std::fmt::Debug + PartialEq>(
        read: fn(&Json) -> Result<T>,
        body: &str,
        expected: Result<T, &str>,
    ) {
        let found = read(&Json::parse(body.as_bytes()).unwrap());
        assert_eq!(found.as_ref().map_err(Error::message), expected.as_ref().map_err(|e| *e), "{body}");
    }

    #[test]
    fn bodies_of_system_regions() {
        let region = |offset, byte_size| Ok(System { key: "/k".to_owned(), offset, byte_size });
        check(System::read, r#"{"key":"/k","byte_size":8}"#, region(0, 8));
        check(
            System::read,
            r#"{"key":"/k","offset":18446744073709551615,"byte_size":0}"#,
            region(u64::MAX, 0),
        );
        for (body, expected) in [
            ("[]", "Shared memory register request has no 'key' field"),
            (r#"{"key":null}"#, "attempt to access JSON non-string as string"),
            (
                r#"{"key":"/k","offset":1.0}"#,
                "attempt to access JSON non-unsigned-integer as unsigned-integer",
            ),
            (
                r#"{"key":"/k","byte_size":18446744073709551616}"#,
                "attempt to access JSON non-unsigned-integer as unsigned-integer",
            ),
            (r#"{"key":"/k"}"#, "Shared memory register request has no 'byte_size' field"),
        ] {
            check(System::read, body, Err(expected));
        }
    }

    #[test]
    fn bodies_of_cuda_regions() {
        let b64 = BASE64_STANDARD.encode([7; HANDLE_BYTES]);
        let (first, rest) = b64.split_at(72);
        for b64 in [&b64, b64.trim_end_matches('='), &format!("{first}\\n{rest}\\n")] {
            let body = format!(r#"{{"raw_handle":{{"b64":"{b64}"}},"device_id":1,"byte_size":8}}"#);
            check(Cuda::read, &body, Ok(Cuda { handle: [7; HANDLE_BYTES], device_id: 1, byte_size: 8 }));
        }
        let no_handle = "'raw_handle' must be a valid base64 encoded cudaIpcMemHandle_t";
        for (body, expected) in [
            ("{}", "Shared memory register request has no 'raw_handle' field"),
            (r#"{"raw_handle":"AAAA"}"#, "attempt to access non-existing object member 'b64'"),
            (r#"{"raw_handle":{"b64":1}}"#, "attempt to access JSON non-string as string"),
            (r#"{"raw_handle":{"b64":""}}"#, "attempt to access non-existing object member 'byte_size'"),
            (r#"{"raw_handle":{"b64":""},"byte_size":1,"device_id":0}"#, no_handle),
            (r#"{"raw_handle":{"b64":"AAAA"},"byte_size":1,"device_id":0}"#, no_handle),
            (r#"{"raw_handle":{"b64":"?"},"byte_size":1,"device_id":0}"#, no_handle),
        ] {
            check(Cuda::read, body, Err(expected));
        }
    }
}
