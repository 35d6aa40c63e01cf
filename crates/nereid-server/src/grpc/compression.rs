//! Compression of calls, around the router: which encoding a request has and which one its response gets. The work
//! itself is done in `messages`, which also guards against messages that claim more than they hold.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use futures_util::future::Either;
use http::{HeaderMap, HeaderValue, Request};
use tokio::sync::Semaphore;
use tonic::Status;
use tower::Service;

use super::messages::{Bounds, Job, Messages};
use super::refusals::Refusals;
use crate::cli::CompressionLevel;
use crate::http::encoding::Encoding;
use crate::in_flight::Budget;

const ENCODING: &str = "grpc-encoding";
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const STATUS: &str = "grpc-status";
const OURS: HeaderValue = HeaderValue::from_static("identity, deflate, gzip");
/// Messages that are (de)compressed at once.
const JOBS: usize = 4;
/// Calls whose responses are compressed: those that Triton sets the level for.
const INFERENCE: [&str; 2] =
    ["/inference.GRPCInferenceService/ModelInfer", "/inference.GRPCInferenceService/ModelStreamInfer"];

/// The router, behind (de)compression.
#[derive(Debug, Clone)]
pub(super) struct Compression {
    router: Router,
    level: CompressionLevel,
    bounds: Bounds,
}

impl Compression {
    /// Compresses the inference responses of `router` as `level` says; messages may be `message_bytes` long, and are taken
    /// from `budget` together.
    pub(super) fn new(router: Router, level: CompressionLevel, message_bytes: usize, budget: Budget) -> Self {
        let bounds = Bounds { message: message_bytes, jobs: Arc::new(Semaphore::new(JOBS)), budget };
        Self { router, level, bounds }
    }

    /// The encoding of a response.
    fn of_response(&self, request: &Request<impl Sized>) -> Option<Encoding> {
        match self.level {
            CompressionLevel::None => None,
            level if INFERENCE.contains(&request.uri().path()) => choose(level, request.headers()),
            _ => None,
        }
    }
}

impl<B> Service<Request<B>> for Compression
where
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future =
        Either<RouteFuture<Infallible>, Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // a router always is
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let job = match of_request(request.headers()) {
            Ok(Some(encoding)) => {
                request.headers_mut().remove(ENCODING); // tonic knows none
                Job::Unpack(encoding)
            }
            Ok(None) => Job::Keep,
            Err(status) => return Either::Right(Box::pin(std::future::ready(Ok(status.into_http())))),
        };
        let encoding = self.of_response(&request);
        let refusals = (request.uri().path() == INFERENCE[1]).then(Refusals::default);
        if let Some(refusals) = &refusals {
            request.extensions_mut().insert(refusals.clone());
        }
        let messages = |body| Messages::new(body, job, self.bounds.clone()).of_stream(refusals);
        let response = self.router.call(request.map(messages));
        let Some(encoding) = encoding else { return Either::Left(response) };
        let bounds = self.bounds.clone();
        Either::Right(Box::pin(
            async move { response.await.map(|response| pack(response, encoding, bounds)) },
        ))
    }
}

fn pack(mut response: Response, encoding: Encoding, bounds: Bounds) -> Response {
    // A response that is nothing but a status has it in its head.
    let Some(value) = encoding.header().filter(|_| !response.headers().contains_key(STATUS)) else {
        return response;
    };
    response.headers_mut().insert(ENCODING, value);
    response.map(|body| Body::new(Messages::new(body, Job::Pack(encoding), bounds)))
}

/// The encoding of a request, `None` for none.
///
/// # Errors
/// UNIMPLEMENTED for one that is not known, as gRPC's specification of compression has it.
fn of_request(headers: &HeaderMap) -> Result<Option<Encoding>, Status> {
    let Some(value) = headers.get(ENCODING) else { return Ok(None) };
    match value.as_bytes() {
        b"identity" => Ok(None),
        b"gzip" => Ok(Some(Encoding::Gzip)),
        b"deflate" => Ok(Some(Encoding::Deflate)),
        other => {
            let other = String::from_utf8_lossy(other);
            let mut status =
                Status::unimplemented(format!("Content is compressed with `{other}` which isn't supported"));
            status.metadata_mut().as_mut().insert(ACCEPT_ENCODING, OURS);
            Err(status)
        }
    }
}

/// The encoding for `level` among those that the client takes. gRPC ranks gzip below deflate: low takes the first of
/// what is there, high the last, medium the one in the middle (`CompressionAlgorithmSet::CompressionAlgorithmForLevel`).
fn choose(level: CompressionLevel, headers: &HeaderMap) -> Option<Encoding> {
    let accepted = headers.get(ACCEPT_ENCODING)?.to_str().ok()?;
    let takes = |name| accepted.split(',').any(|part| part.trim() == name);
    let ranked = match (takes("gzip"), takes("deflate")) {
        (true, true) => [Encoding::Gzip, Encoding::Deflate],
        (true, false) => [Encoding::Gzip; 2],
        (false, true) => [Encoding::Deflate; 2],
        (false, false) => return None,
    };
    match level {
        CompressionLevel::None => None,
        CompressionLevel::Low => Some(ranked[0]),
        CompressionLevel::Medium | CompressionLevel::High => Some(ranked[1]),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;
    use crate::in_flight::Limit;

    const MESSAGE: usize = 10_000;

    /// Answers with the body that came and the encoding that is left in the head.
    fn echo() -> Router {
        Router::new().fallback(|request: Request<Body>| async move {
            assert!(!request.headers().contains_key(ENCODING), "tonic would refuse it");
            Response::new(request.into_body())
        })
    }

    async fn call(
        level: CompressionLevel,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> (HeaderMap, Bytes) {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = http_body_util::Full::new(body);
        let mut service = Compression::new(echo(), level, 2 * MESSAGE, Budget::new(Limit::None));
        let response = service.call(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        (parts.headers, body.collect().await.unwrap().to_bytes())
    }

    fn plain() -> Bytes {
        let length = u32::try_from(MESSAGE).unwrap().to_be_bytes();
        [&[0][..], &length, &[7; MESSAGE]].concat().into()
    }

    #[tokio::test]
    async fn responses_are_encoded_as_level_and_client_say() {
        use CompressionLevel::{High, Low, Medium, None as Nothing};
        for (level, path, accepted, expected) in [
            (Nothing, INFERENCE[0], "identity, deflate, gzip", None),
            (Low, INFERENCE[0], "identity, deflate, gzip", Some("gzip")),
            (Medium, INFERENCE[1], "identity,deflate,gzip", Some("deflate")),
            (High, INFERENCE[1], "gzip, deflate", Some("deflate")),
            (Low, INFERENCE[0], "deflate", Some("deflate")),
            (High, INFERENCE[0], "br, gzip", Some("gzip")),
            (High, INFERENCE[0], "identity", None),
            (High, "/inference.GRPCInferenceService/ServerLive", "gzip", None),
        ] {
            let (headers, body) = call(level, path, &[(ACCEPT_ENCODING, accepted)], plain()).await;
            let encoding = headers.get(ENCODING).map(|value| value.to_str().unwrap());
            assert_eq!(encoding, expected, "{level:?} {path} {accepted}");
            assert_eq!(body.len() < MESSAGE / 10, expected.is_some());
            assert_eq!(body[0], u8::from(expected.is_some()));
        }
    }

    #[tokio::test]
    async fn requests_reach_the_router_unpacked() {
        for encoding in [Encoding::Gzip, Encoding::Deflate] {
            let packed = encoding.encode(&[plain().slice(5..)]).unwrap();
            let length = u32::try_from(packed.len()).unwrap().to_be_bytes();
            let body = [&[1][..], &length, &packed].concat();
            let name = encoding.header().unwrap();
            let headers = [(ENCODING, name.to_str().unwrap())];
            let (_, body) = call(CompressionLevel::None, INFERENCE[0], &headers, body.into()).await;
            assert!(body == plain(), "{encoding:?}");
        }
    }

    #[tokio::test]
    async fn an_unknown_encoding_is_unimplemented() {
        let (headers, body) = call(CompressionLevel::Low, INFERENCE[0], &[(ENCODING, "br")], plain()).await;
        let field = |name| headers.get(name).unwrap().to_str().unwrap();
        assert_eq!(field(STATUS), "12");
        assert_eq!(
            field("grpc-message"),
            "Content%20is%20compressed%20with%20%60br%60%20which%20isn't%20supported"
        );
        assert_eq!(field(ACCEPT_ENCODING), "identity, deflate, gzip");
        assert!(body.is_empty());
    }
}
