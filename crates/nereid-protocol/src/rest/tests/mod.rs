//! Tests of the HTTP bodies, most of them against what a real Triton answered.

mod document;
mod hostile;
mod inputs;
mod members;
mod outputs;
mod parameters;
mod response;
mod syntax;

use bytes::Bytes;

use super::{Error, ErrorKind, Request, parse_request};

const MAX: usize = 1 << 20;

/// Parses `json`, all of the body.
fn parse(json: &str) -> Result<Request, Error> {
    parse_request(&Bytes::copy_from_slice(json.as_bytes()), None, "m", MAX)
}

/// Parses `json` with `binary` behind it.
fn parse_binary(json: &str, binary: &[u8]) -> Result<Request, Error> {
    let body = [json.as_bytes(), binary].concat();
    parse_request(&body.into(), Some(json.len()), "m", MAX)
}

#[track_caller]
fn refused(result: Result<Request, Error>, kind: ErrorKind, message: &str) {
    let error = result.unwrap_err();
    assert_eq!((error.message.as_str(), error.kind), (message, kind));
}

#[track_caller]
fn invalid(json: &str, message: &str) {
    refused(parse(json), ErrorKind::InvalidArg, message);
}

#[track_caller]
fn internal(json: &str, message: &str) {
    refused(parse(json), ErrorKind::Internal, message);
}

/// A request with one input of these members.
fn input(members: &str) -> String {
    format!(r#"{{"inputs":[{{{members}}}]}}"#)
}
