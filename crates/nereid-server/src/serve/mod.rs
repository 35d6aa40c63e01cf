//! Transport: listeners, event loops, TLS, connections, and how they end. Knows hyper, not what is served.

mod age;
mod connection;
mod drain;
mod linger;
mod listener;
mod listening;
mod shards;
mod tls;
mod watched;

pub use connection::{Lifetime, Ping, Protocol, ServeOptions};
pub use drain::{Drain, Draining};
pub use listener::{Bound, Listener, TCP_KEEPALIVE, bind};
pub use shards::Shards;
pub use tls::{PemFile, Tls, TlsError, TlsFiles};

use std::convert::Infallible;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use tower::Service;

/// How long TCP handshakes that have begun may take when the server ends.
const HANDSHAKES: Duration = Duration::from_millis(100);

/// What answers the requests of a connection: an axum router, for one.
pub trait HttpService:
    Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + 'static
{
}

impl<S> HttpService for S where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// Serves `listener` until `draining` says otherwise: connections are spread over `shards`, the emptiest first.
/// `service` makes what answers one connection, whose client has this address if the system knows it.
pub async fn serve<S: HttpService>(
    listener: Listener,
    service: impl Fn(Option<SocketAddr>) -> S,
    options: ServeOptions,
    shards: Shards,
    draining: Draining,
) {
    let spawn = |stream: TcpStream| {
        let service = service(stream.peer_addr().ok());
        shards.spawn(stream, service, options.clone(), draining.clone());
    };
    let mut told = draining.clone();
    loop {
        tokio::select! {
            stream = listener.accept() => spawn(stream),
            () = told.started() => break,
        }
    }
    // Connections that the system has accepted already were promised an answer, and those that it is accepting soon are.
    listener.refuse();
    let last = tokio::time::sleep(draining.patience(HANDSHAKES));
    tokio::pin!(last);
    loop {
        tokio::select! {
            stream = listener.accept() => spawn(stream),
            () = &mut last => break,
        }
    }
    listener.close().into_iter().for_each(spawn);
    draining.ended();
}
