//! The cap on chunks of a request body, around the router: whoever cuts a body into very many pieces is told to
//! send fewer (`http_server.cc`, `ChunkCountIncrement`). Requests without `Transfer-Encoding` pass by.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use axum::response::Response;
use axum::routing::future::RouteFuture;
use axum::{BoxError, Router};
use bytes::Bytes;
use futures_util::future::Either;
use http::{HeaderValue, Request, StatusCode, header};
use http_body::{Body, Frame};
use nereid_protocol::rest;
use tower::Service;

use super::reply::{JSON, reply};

/// Non-empty chunks of one body (`kMaxChunkedChunks`).
const MAX_CHUNKS: u32 = 1 << 16;
/// hyper gives each chunk as a frame of its own, and a chunk that spans several reads as several frames. A frame of
/// this size may thus be a part of a large chunk that came over a slow network: only smaller ones are counted, which
/// are what the cap is about. Below the payload of a TCP segment.
const COUNTED_BELOW: usize = 512;

/// The router, behind the cap.
#[derive(Debug, Clone)]
pub(super) struct ChunkCap(Router);

impl ChunkCap {
    /// Guards `router`.
    pub(super) fn new(router: Router) -> Self {
        Self(router)
    }
}

impl<B> Service<Request<B>> for ChunkCap
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future =
        Either<RouteFuture<Infallible>, Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // a router always is
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if !request.headers().contains_key(header::TRANSFER_ENCODING) {
            return Either::Left(self.0.call(request));
        }
        let exceeded = Arc::new(AtomicBool::new(false));
        let body = |body| Counted { body, chunks: 0, exceeded: exceeded.clone() };
        let response = self.0.call(request.map(body));
        Either::Right(Box::pin(async move {
            let response = response.await;
            if exceeded.load(Relaxed) { Ok(refused()) } else { response }
        }))
    }
}

fn message() -> String {
    format!(
        "Chunked request body exceeds maximum of {MAX_CHUNKS} non-empty chunks. Send fewer or larger HTTP chunks."
    )
}

fn refused() -> Response {
    let mut response = reply(StatusCode::BAD_REQUEST, JSON, rest::error_body(&message()));
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

struct Counted<B> {
    body: B,
    chunks: u32,
    exceeded: Arc<AtomicBool>,
}

impl<B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin> Body for Counted<B> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(cx));
        let length = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref().map(Bytes::len));
        if length.is_some_and(|length| (1..COUNTED_BELOW).contains(&length)) {
            self.chunks += 1;
            if self.chunks > MAX_CHUNKS {
                self.exceeded.store(true, Relaxed);
                return Poll::Ready(Some(Err(message().into())));
            }
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }
}
