//! The model repository extension. Bodies are read as Triton reads them (`HandleRepositoryControl`), defects of
//! which nobody can tell apart included: an `unload_dependents` that is no boolean is no error.

use axum::extract::{Request, State};
use axum::response::Response;
use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http_body::Body;
use nereid_core::{Error, Result};
use nereid_protocol::rest::Json;
use nereid_repository::LoadParameters;

use super::path::ModelName;
use super::reply::{self, Refused};
use super::{Http, body, decode, json};
use crate::describe;
use crate::in_flight::Held;

/// As lenient as Triton about padding; wrong characters are refused, where Triton leaves them out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

pub(super) async fn index(State(http): State<Http>, request: Request) -> Result<Response, Refused> {
    let (body, _held) = read(&http, request).await?;
    let index = http.service.off_the_loop(move |service| describe::index(service, ready_only(&body)?));
    json::index(&index.await?)
}

pub(super) async fn load(
    State(http): State<Http>,
    path: ModelName,
    request: Request,
) -> Result<Response, Refused> {
    let (body, mut held) = read(&http, request).await?;
    let loaded = http.service.control(move |repository| {
        held.grow(body.len())?; // what is made of it is about as long
        let parameters = load_parameters(body)?;
        let loaded = repository.load_model(&path.0, &parameters);
        drop((parameters, held));
        loaded
    });
    loaded.await?;
    Ok(reply::json(""))
}

pub(super) async fn unload(
    State(http): State<Http>,
    path: ModelName,
    request: Request,
) -> Result<Response, Refused> {
    let (body, _held) = read(&http, request).await?;
    let unloaded = http.service.control(move |repository| {
        let dependents = unload_dependents(&body)?;
        repository.unload_model(&path.0, dependents)
    });
    unloaded.await?;
    Ok(reply::json(""))
}

/// Control of a named repository, which Triton does not have either.
pub(super) async fn named() -> Result<Response, Refused> {
    Err(Error::unsupported("'repository_name' specification is not supported").into())
}

/// The body, of at most `--http-max-input-size` bytes (`EVBufferToJson`).
async fn read(http: &Http, request: Request) -> Result<(Bytes, Held)> {
    let (body, limit) = (request.into_body(), http.limits.max_input_bytes);
    let announced = body.size_hint().lower();
    if usize::try_from(announced).is_ok_and(|announced| announced <= limit) {
        let mut held = body::hold(http.service.budget(), &body);
        return Ok((body::read(body, limit, &mut held).await?, held));
    }
    Err(Error::invalid_arg(format!(
        "request JSON size of {announced} bytes exceeds the maximum allowed input size of {limit} bytes. Use \
         --http-max-input-size to increase the limit."
    )))
}

/// The document in `body`; `None` if that is empty, which stands for an empty object.
fn parse(body: &[u8]) -> Result<Option<Json>> {
    if body.is_empty() {
        return Ok(None);
    }
    Json::parse(body).map(Some).map_err(decode::error)
}

fn ready_only(body: &[u8]) -> Result<bool> {
    let index = parse(body)?;
    let ready = index.as_ref().and_then(|index| index.get("ready"));
    let invalid = |_| Error::invalid_arg("Invalid value for 'ready': expected a boolean");
    ready.map_or(Ok(false), |ready| ready.as_bool().map_err(invalid))
}

fn unload_dependents(body: &[u8]) -> Result<bool> {
    let unload = parse(body)?;
    let dependents = unload.as_ref().and_then(|unload| unload.get("parameters")?.get("unload_dependents"));
    Ok(dependents.is_some_and(|dependents| dependents.as_bool().unwrap_or(false)))
}

fn load_parameters(body: Bytes) -> Result<LoadParameters> {
    let mut parameters = LoadParameters::default();
    let load = parse(&body)?;
    drop(body); // it may be large, and so may what is made of it
    let Some(Json::Object(members)) = load else { return Ok(parameters) };
    let members = match members.into_iter().find(|(name, _)| name == "parameters") {
        None => return Ok(parameters),
        Some((_, Json::Object(members))) => members,
        Some(_) => return Err(Error::internal("attempt to get members for non-object")),
    };
    for (name, value) in members {
        let Json::String(value) = value else {
            return Err(Error::internal("attempt to access JSON non-string as string"));
        };
        if name == "config" {
            parameters.config.get_or_insert(value);
        } else if let Some(path) = name.strip_prefix("file:") {
            let contents = contents(&name, value)?;
            parameters.files.entry(path.to_owned()).or_insert(contents);
        } else {
            return Err(Error::internal("unexpected error on creating Triton parameter"));
        }
    }
    Ok(parameters)
}

/// Decodes the value of the parameter `name`. Line breaks and blanks in it are skipped.
fn contents(name: &str, mut base64: String) -> Result<Bytes> {
    if i32::try_from(base64.len()).is_err() {
        return Err(Error::invalid_arg(format!(
            "'{name}' exceeds the maximum allowed data size limit INT_MAX"
        )));
    }
    base64.retain(|character| !character.is_ascii_whitespace());
    let contents = BASE64.decode(base64);
    contents.map(Bytes::from).map_err(|e| Error::invalid_arg(format!("'{name:.200}' is not base64: {e}")))
}

#[cfg(test)]
mod tests {
    use nereid_core::ErrorCode::{Internal, InvalidArg};

    use super::*;

    #[test]
    fn index_bodies() {
        assert!(!ready_only(b"").unwrap() && !ready_only(b"{}").unwrap() && !ready_only(b"[]").unwrap());
        assert!(ready_only(br#"{"ready":true}"#).unwrap());
        let deep = "[".repeat(250_000);
        for (body, code, expected) in [
            (r#"{"ready":"x"}"#, InvalidArg, "Invalid value for 'ready': expected a boolean"),
            (r#"{"ready":null}"#, InvalidArg, "Invalid value for 'ready': expected a boolean"),
            (
                "{",
                Internal,
                "failed to parse the request JSON buffer: Missing a name for object member. at 1",
            ),
            (" ", Internal, "failed to parse the request JSON buffer: The document is empty. at 1"),
            (&deep, InvalidArg, "JSON nesting depth exceeds maximum allowed limit (100)"),
        ] {
            let error = ready_only(body.as_bytes()).unwrap_err();
            assert_eq!((error.code(), error.message()), (code, expected));
        }
    }

    #[test]
    fn unload_bodies() {
        for (body, expected) in [
            ("", false),
            ("{}", false),
            ("7", false),
            (r#"{"parameters":7}"#, false),
            (r#"{"parameters":{"unload_dependents":true}}"#, true),
            (r#"{"parameters":{"unload_dependents":false}}"#, false),
            (r#"{"parameters":{"unload_dependents":"x"}}"#, false),
            (r#"{"parameters":{"foo":1}}"#, false),
        ] {
            assert_eq!(unload_dependents(body.as_bytes()), Ok(expected), "{body}");
        }
        assert_eq!(unload_dependents(b"{").unwrap_err().code(), Internal);
    }

    #[test]
    fn load_bodies() {
        let load = |body: &str| load_parameters(Bytes::from(body.to_owned()));
        for body in ["", "{}", "[1]", r#"{"parameters":{}}"#, r#"{"other":1}"#] {
            let parameters = load(body).unwrap();
            assert!(parameters.config.is_none() && parameters.files.is_empty(), "{body}");
        }
        let body = r#"{"parameters":{"config":"{}","file:1/a":"aGk","file:b":"aGk=","file:c":"aG\n k","file:d":""}}"#;
        let parameters = load(body).unwrap();
        assert_eq!(parameters.config.as_deref(), Some("{}"));
        let files: Vec<_> =
            parameters.files.iter().map(|(path, bytes)| (path.as_str(), &bytes[..])).collect();
        assert_eq!(files, [("1/a", &b"hi"[..]), ("b", b"hi"), ("c", b"hi"), ("d", b"")]);
        for (body, code, expected) in [
            (r#"{"parameters":7}"#, Internal, "attempt to get members for non-object"),
            (r#"{"parameters":{"config":{}}}"#, Internal, "attempt to access JSON non-string as string"),
            (r#"{"parameters":{"file:a":7}}"#, Internal, "attempt to access JSON non-string as string"),
            (r#"{"parameters":{"foo":true}}"#, Internal, "attempt to access JSON non-string as string"),
            (r#"{"parameters":{"foo":"x"}}"#, Internal, "unexpected error on creating Triton parameter"),
            (
                r#"{"parameters":{"file:a":"a-b_"}}"#,
                InvalidArg,
                "'file:a' is not base64: Invalid symbol 45, offset 1.",
            ),
        ] {
            let error = load(body).unwrap_err();
            assert_eq!((error.code(), error.message()), (code, expected));
        }
    }
}
