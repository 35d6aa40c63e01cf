//! One connection: HTTP/1.1 or HTTP/2, from its first byte until it closes or the server drains.

use std::convert::Infallible;
use std::future::Future;
use std::net::TcpStream;
use std::pin::pin;
use std::time::Duration;

use http::{HeaderValue, header};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};

use super::{Draining, HttpService};

/// How long an idle HTTP/1.1 connection may still bring a request after draining has begun: a client
/// that was just about to send one is answered, with `Connection: close`.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How long a client may take until the head of its next request is there; an idle connection is closed after
/// this. Long, because Triton has no such limit and clients pool their connections.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes that a client may send ahead of the server's reading, per stream and per connection.
const WINDOW: u32 = 4 << 20;
const FRAME: u32 = 1 << 20;

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// How connections are served.
#[derive(Debug, Clone, Copy)]
pub struct ServeOptions {
    pub protocol: Protocol,
}

/// Serves one connection to its end. Errors are the client's business and end the connection.
pub(super) async fn serve(
    stream: TcpStream,
    service: impl HttpService,
    options: ServeOptions,
    draining: Draining,
) {
    let stream = stream.set_nodelay(true).and_then(|()| tokio::net::TcpStream::from_std(stream));
    let io = match stream {
        Ok(stream) => TokioIo::new(stream),
        Err(e) => return tracing::debug!("failed to take over a connection: {e}"),
    };
    let result = match options.protocol {
        Protocol::Http1 => http1(io, service, draining).await,
        Protocol::Http2 => http2(io, service, draining).await,
    };
    if let Err(e) = result {
        tracing::debug!("connection ended: {e}");
    }
}

async fn http1(
    io: TokioIo<tokio::net::TcpStream>,
    service: impl HttpService,
    mut draining: Draining,
) -> hyper::Result<()> {
    let told = draining.clone();
    let service = service_fn(move |request| {
        let mut service = service.clone();
        let told = told.clone();
        async move {
            let mut response = service.call(request).await?;
            if told.has_started() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    let last_call = async {
        draining.started().await;
        tokio::time::sleep(LAST_CALL).await;
    };
    match first(connection.as_mut(), last_call).await {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    }
}

async fn http2(
    io: TokioIo<tokio::net::TcpStream>,
    service: impl HttpService,
    mut draining: Draining,
) -> hyper::Result<()> {
    let service = service_fn(move |request| service.clone().call(request));
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_frame_size(FRAME)
        .serve_connection(io, service);
    let mut connection = pin!(connection);
    match first(connection.as_mut(), draining.started()).await {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown(); // GOAWAY; streams that are open end normally
            connection.await
        }
    }
}

/// The output of `main`, or `None` once `limit` ended first.
async fn first<T>(main: impl Future<Output = T>, limit: impl Future<Output = ()>) -> Option<T> {
    tokio::select! {
        biased;
        result = main => Some(result),
        () = limit => None,
    }
}
