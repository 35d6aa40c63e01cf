//! The one table from error codes to the statuses of both protocols.

use http::StatusCode;
use nereid_core::{Error, ErrorCode};

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

/// gRPC status of `error`, with its message.
pub(crate) fn grpc(error: &Error) -> tonic::Status {
    tonic::Status::new(statuses(error.code()).1, error.message())
}
