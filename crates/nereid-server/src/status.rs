//! The one table from error codes to the statuses of both protocols.

use std::borrow::Cow;

use http::StatusCode;
use nereid_core::{Error, ErrorCode};
use tonic::metadata::MetadataValue;

use crate::in_flight::RETRY_AFTER_SECONDS;

/// HTTP and gRPC status of `code`, side by side (Triton's `http_server.cc` and `grpc_utils.cc`).
const fn statuses(code: ErrorCode) -> (StatusCode, tonic::Code) {
    match code {
        ErrorCode::Unknown => (StatusCode::BAD_REQUEST, tonic::Code::Unknown),
        ErrorCode::Internal => (StatusCode::INTERNAL_SERVER_ERROR, tonic::Code::Internal),
        ErrorCode::NotFound => (StatusCode::NOT_FOUND, tonic::Code::NotFound),
        ErrorCode::InvalidArg => (StatusCode::BAD_REQUEST, tonic::Code::InvalidArgument),
        ErrorCode::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, tonic::Code::Unavailable),
        ErrorCode::Unsupported => (StatusCode::NOT_IMPLEMENTED, tonic::Code::Unimplemented),
        ErrorCode::AlreadyExists => (StatusCode::BAD_REQUEST, tonic::Code::AlreadyExists),
        ErrorCode::Cancelled => (StatusCode::BAD_REQUEST, tonic::Code::Cancelled),
    }
}

/// HTTP status of `error`.
pub(crate) fn http(error: &Error) -> StatusCode {
    statuses(error.code()).0
}

/// gRPC status code of `error`.
pub(crate) fn grpc_code(error: &Error) -> tonic::Code {
    statuses(error.code()).1
}

/// gRPC status of `error`, with its message, cut where a client would refuse the whole status.
pub(crate) fn grpc(error: &Error) -> tonic::Status {
    let mut status = tonic::Status::new(statuses(error.code()).1, brief(error.message()));
    if error.is_overload() {
        status.metadata_mut().insert(PUSHBACK, MetadataValue::from(1000 * RETRY_AFTER_SECONDS));
    }
    status
}

/// After how many milliseconds clients that retry by themselves are to do so (gRPC's A6).
const PUSHBACK: &str = "grpc-retry-pushback-ms";

/// As much of `message` as fits into a trailer: clients take 8 KiB of them by default.
fn brief(message: &str) -> Cow<'_, str> {
    const MOST_BYTES: usize = 4096;
    const CUT: &str = "...";
    // On the wire, what does not stand for itself takes three bytes each: blanks and some signs too.
    let plain = |c: char| c.is_ascii_alphanumeric() || "'()*,-./:[]_".contains(c);
    let size = |c| if plain(c) { 1 } else { 3 * c.len_utf8() };
    let ends = message.char_indices().scan(0, |bytes, (at, c)| {
        let before = *bytes;
        *bytes += size(c);
        Some((at, before, *bytes))
    });
    let mut end = 0;
    for (at, before, after) in ends {
        if before + CUT.len() <= MOST_BYTES {
            end = at;
        }
        if after > MOST_BYTES {
            return Cow::Owned(format!("{}{CUT}", &message[..end]));
        }
    }
    Cow::Borrowed(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_without_room_are_told_when_to_come_again() {
        for (error, expected) in [(Error::overloaded("x"), Some("1000")), (Error::unavailable("x"), None)] {
            let status = grpc(&error.prefixed("y"));
            assert_eq!(status.code(), tonic::Code::Unavailable);
            let pushback = status.metadata().get(PUSHBACK).map(|value| value.to_str().unwrap());
            assert_eq!(pushback, expected);
        }
    }

    #[test]
    fn long_messages_are_cut() {
        for (message, expected) in [
            ("short".to_owned(), "short".to_owned()),
            ("x".repeat(4096), "x".repeat(4096)),
            ("x".repeat(4097), "x".repeat(4093) + "..."),
            ("x".repeat(100_000), "x".repeat(4093) + "..."),
            (" ".repeat(1365), " ".repeat(1365)),
            (" ".repeat(1366), " ".repeat(1364) + "..."),
            ("\u{e9}".repeat(682), "\u{e9}".repeat(682)),
            ("\u{e9}".repeat(683), "\u{e9}".repeat(682) + "..."),
        ] {
            assert_eq!(brief(&message), expected);
        }
    }
}
