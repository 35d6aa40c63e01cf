//! Responses that several routes share.
//!
//! Triton's handlers of `infer`, `ready` and health set no content type, and its HTTP library then says text. For
//! `infer` there are two exceptions: from the parsing of the body to the acceptance of the request, errors are labelled
//! as JSON; and a response is, once it is written. [`Refused`] keeps the two apart, since clients look at it.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use nereid_core::Error;
use nereid_protocol::rest;

use crate::in_flight::RETRY_AFTER_SECONDS;
use crate::status;

pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json");
pub(crate) const TEXT: HeaderValue = HeaderValue::from_static("text/plain");

/// A response with one content type.
pub(crate) fn reply(status: StatusCode, content_type: HeaderValue, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response
}

/// 200 with a JSON body.
pub(crate) fn json(body: impl Into<Bytes>) -> Response {
    reply(StatusCode::OK, JSON, body)
}

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) enum Refused {
    Json(Error),
    Text(Error),
}

/// For errors that are labelled as JSON, unless they are the response to a request that was accepted.
impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        if error.was_accepted() { Self::Text(error) } else { Self::Json(error) }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (error, content_type) = match &self {
            Self::Json(error) => (error, JSON),
            Self::Text(error) => (error, TEXT),
        };
        let mut response = reply(status::http(error), content_type, rest::error_body(error.message()));
        if error.is_overload() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECONDS));
        }
        response
    }
}

/// A content encoding that the server does not know, with those it does.
pub(crate) fn unknown_encoding() -> Response {
    let mut response = Refused::Text(Error::unsupported("Unsupported compression type")).into_response();
    response.headers_mut().insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
    response
}

/// Any path that is no route.
pub(crate) async fn not_found() -> Response {
    reply(StatusCode::NOT_FOUND, TEXT, rest::error_body("Not Found"))
}

/// A method that the route does not have, where Triton labels the body as JSON.
pub(crate) async fn method_not_allowed_json() -> Response {
    reply(StatusCode::METHOD_NOT_ALLOWED, JSON, rest::error_body("Method Not Allowed"))
}

/// A method that the route does not have, where Triton labels the body as text.
pub(crate) async fn method_not_allowed_text() -> Response {
    reply(StatusCode::METHOD_NOT_ALLOWED, TEXT, rest::error_body("Method Not Allowed"))
}
