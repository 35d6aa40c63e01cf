//! One connection: TLS or none, HTTP/1.1 or HTTP/2, from its first byte until it closes, is too old, or the
//! server ends. A client is told before: HTTP/1.1 by `Connection: close` on an answer, HTTP/2 by GOAWAY.
//!
//! What hyper and h2 guard by themselves is left to them: see [`http1`] and [`http2`].

use std::convert::Infallible;
use std::future::Future;
use std::net::TcpStream;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderValue, header};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;

use super::age;
use super::linger::Lingering;
use super::listening::{Flag, Listening};
use super::watched::Watched;
use super::{Draining, HttpService, Tls};

/// How long an idle HTTP/1.1 connection may still bring a request after draining has begun: a client
/// that was just about to send one is answered, with `Connection: close`. Nothing in HTTP/1.1 tells an idle client before.
const LAST_CALL: Duration = Duration::from_secs(1);
/// A client that is to open another HTTP/2 connection is told while it waits for an answer, if it calls within this time.
/// gRPC's own clients may lose a call that they begin in the moment when they are told, and try it again only if it is small
/// (`grpc.per_rpc_retry_buffer_size`, 256 KiB).
const NEXT_CALL: Duration = Duration::from_secs(1);
/// How long a client may be silent once it was told that its HTTP/2 connection ends. The telling includes a ping, which
/// a client that is still there answers at once, whatever its calls do; without this one that has gone without a word
/// would keep the server from ending. gRPC's own servers wait for 20 seconds.
const SILENCE: Duration = Duration::from_secs(10);
/// How long a client may take until the head of its next request is there; an idle connection is closed after
/// this. Long, because Triton has no such limit and clients pool their connections.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(600);
/// Bytes that a client may send ahead of the server's reading, per stream.
const WINDOW: u32 = 4 << 20;
/// The same for all streams of a connection. A stream that has enough requests in flight is not read for a while; were
/// this no more than the window of one, no other call of that client could send anything meanwhile.
const CONNECTION_WINDOW: u32 = 8 * WINDOW;
const FRAME: u32 = 1 << 20;
/// Calls that one connection may have open. gRPC's own servers have no limit, and clients share one connection
/// for all their calls: more than may wait in a model's queue usefully, and few enough to bound memory.
const MAX_STREAMS: u32 = 1024;
/// Bytes of a call's metadata, with 32 for each entry: gRPC's hard limit (`GRPC_ARG_ABSOLUTE_MAX_METADATA_SIZE`).
const MAX_HEADER_LIST: u32 = 16 << 10;
/// Bytes of the table that header compression may fill; HTTP/2's default.
const HEADER_TABLE: u32 = 4096;
/// Streams that a client may open and reset before they are looked at (rapid reset, CVE-2023-44487).
const MAX_UNSEEN_RESETS: usize = 20;
/// Streams that may be reset because of the client's own errors (RUSTSEC-2024-0003).
const MAX_ERROR_RESETS: usize = 1024;

/// How connections of a port are served.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    pub protocol: Protocol,
    /// `None` for plain text.
    pub tls: Option<Arc<Tls>>,
    pub lifetime: Lifetime,
}

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

/// How long a connection lives, and how it is found to be dead.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lifetime {
    /// HTTP/2: after this long without a frame from the client a ping is sent, which must be answered in time.
    pub ping: Option<Ping>,
    /// After this long, ten percent more or less, the client is told to open another connection: over HTTP/1.1 with the
    /// next answer, so that an idle connection is not cut under a client that is just sending.
    pub max_age: Option<Duration>,
    /// HTTP/2: how long calls may then go on; `None` for as long as they take.
    pub grace: Option<Duration>,
}

/// Keepalive pings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ping {
    pub interval: Duration,
    pub timeout: Duration,
}

impl ServeOptions {
    /// Plain text, without a limit on the age of connections.
    pub fn plain(protocol: Protocol) -> Self {
        Self { protocol, tls: None, lifetime: Lifetime::default() }
    }
}

impl Protocol {
    /// Its name in TLS.
    pub(super) fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// Serves one connection to its end. Errors are the client's business and end the connection.
pub(super) async fn serve(
    stream: TcpStream,
    service: impl HttpService,
    options: ServeOptions,
    draining: Draining,
) {
    let stream = stream.set_nodelay(true).and_then(|()| tokio::net::TcpStream::from_std(stream));
    let stream = match stream {
        // Over HTTP/2 h2 reads all the time.
        Ok(stream) => Watched::new(stream, options.protocol == Protocol::Http1),
        Err(e) => return tracing::debug!("failed to take over a connection: {e}"),
    };
    let Some(tls) = &options.tls else { return speak(stream, service, &options, draining).await };
    let mut told = draining.clone();
    match first(tls.accept(stream), last_call(&mut told)).await {
        Some(Ok(stream)) => speak(stream, service, &options, draining).await,
        Some(Err(e)) => tracing::debug!("TLS handshake failed: {e}"),
        None => {} // the server is ending
    }
}

async fn speak(
    io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    service: impl HttpService,
    options: &ServeOptions,
    draining: Draining,
) {
    let io = TokioIo::new(Lingering::new(io, draining.clone()));
    let result = match options.protocol {
        Protocol::Http1 => http1(io, service, options.lifetime, draining).await,
        Protocol::Http2 => http2(io, service, options.lifetime, draining).await,
    };
    if let Err(e) = result {
        tracing::debug!("connection ended: {e}");
    }
}

/// hyper by itself answers 431 to a head of more than 100 headers or about 400 KiB, 414 to a target of more than
/// 64 KiB, and 400 to lengths that are no numbers or contradict each other. It reads no further than it can hand
/// on, so that what is sent ahead waits in the socket.
async fn http1(
    io: TokioIo<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    service: impl HttpService,
    lifetime: Lifetime,
    mut draining: Draining,
) -> hyper::Result<()> {
    let last = Arc::new(Last { draining: draining.clone(), is_old: AtomicBool::new(false) });
    let used = Flag::default(); // while it has not brought a request, hyper does not end it gracefully
    let (user, told) = (used.clone(), last.clone());
    let service = service_fn(move |request| {
        user.set(true);
        let mut service = service.clone();
        let told = told.clone();
        async move {
            let mut response = service.call(request).await?;
            if told.is_now() {
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
    let ageing = async {
        age::reached(lifetime.max_age).await;
        last.is_old.store(true, Relaxed);
        std::future::pending::<()>().await;
    };
    let over = async {
        tokio::select! {
            biased;
            () = last_call(&mut draining) => {}
            () = ageing => {}
        }
    };
    match first(connection.as_mut(), over).await {
        Some(result) => result,
        None => {
            connection.as_mut().graceful_shutdown();
            if used.get() { connection.await } else { Ok(()) } // half a head would be waited for
        }
    }
}

/// Whether an answer is the last one of its HTTP/1.1 connection.
struct Last {
    draining: Draining,
    is_old: AtomicBool,
}

impl Last {
    fn is_now(&self) -> bool {
        self.is_old.load(Relaxed) || self.draining.is_parting()
    }
}

/// h2 by itself holds at most one answer to SETTINGS and to PING and reads no further until it is written; it ends
/// a connection (`ENHANCE_YOUR_CALM`) after a handful of CONTINUATION frames, 100 empty DATA frames, more small
/// DATA frames than `Builder::data_frame_budget`, or too many resets, and stops decoding a header list at its limit.
async fn http2(
    io: TokioIo<impl AsyncRead + AsyncWrite + Unpin + Send + 'static>,
    service: impl HttpService,
    lifetime: Lifetime,
    mut draining: Draining,
) -> hyper::Result<()> {
    let used = Flag::default(); // while it has not brought a request, hyper does not end it gracefully
    let (is_due, next_call) = (Flag::default(), Arc::new(Notify::new()));
    let (user, due, called) = (used.clone(), is_due.clone(), next_call.clone());
    let service = service_fn(move |request| {
        user.set(true);
        if due.get() {
            called.notify_one();
        }
        service.clone().call(request)
    });
    let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADER_LIST)
        .header_table_size(HEADER_TABLE)
        .max_pending_accept_reset_streams(MAX_UNSEEN_RESETS)
        .max_local_error_reset_streams(MAX_ERROR_RESETS);
    if let Some(Ping { interval, timeout }) = lifetime.ping {
        builder.keep_alive_interval(interval).keep_alive_timeout(timeout);
    }
    let heard = Flag::default();
    let mut connection = pin!(builder.serve_connection(Listening::new(io, heard.clone()), service));
    let told = async {
        let too_old = tokio::select! {
            biased;
            () = draining.parted() => false,
            () = age::reached(lifetime.max_age) => true,
        };
        is_due.set(true);
        tokio::select! {
            () = next_call.notified() => {}
            () = tokio::time::sleep(NEXT_CALL) => {}
            () = draining.started() => {}
        }
        too_old
    };
    let too_old = tokio::select! {
        biased;
        result = connection.as_mut() => return result,
        too_old = told => too_old,
    };
    connection.as_mut().graceful_shutdown(); // GOAWAY and a ping; streams that are open end normally
    heard.set(false);
    let last_call = draining.patience(LAST_CALL);
    let silent = async {
        tokio::time::sleep(last_call).await;
        if used.get() {
            tokio::time::sleep(SILENCE - last_call).await;
            if heard.get() {
                std::future::pending().await
            }
        } // else half a preface would be waited for
    };
    let over = async {
        match lifetime.grace.filter(|_| too_old) {
            Some(grace) => tokio::time::sleep(grace).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        result = connection => return result,
        () = silent => tracing::debug!("connection ended: nothing came from the client"),
        () = over => tracing::debug!("connection ended: its age and its grace are over"),
    }
    Ok(())
}

async fn last_call(draining: &mut Draining) {
    draining.started().await;
    tokio::time::sleep(draining.patience(LAST_CALL)).await;
    tokio::task::yield_now().await; // so that what has come meanwhile is seen
}

/// The output of `main`, or `None` once `limit` ended first.
async fn first<T>(main: impl Future<Output = T>, limit: impl Future<Output = ()>) -> Option<T> {
    tokio::select! {
        biased;
        result = main => Some(result),
        () = limit => None,
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
