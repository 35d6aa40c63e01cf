//! Transport: listeners, event loops, connections, and how they end. Knows hyper, not what is served.

mod connection;
mod drain;
mod listener;
mod shards;

pub use connection::{Protocol, ServeOptions};
pub use drain::{Drain, Draining};
pub use listener::{Bound, Listener, bind};
pub use shards::Shards;

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use tower::Service;

/// Serves `service` on `listener` until `draining` says otherwise: connections are spread over `shards`,
/// the emptiest first.
pub async fn serve<S>(
    listener: Listener,
    service: S,
    options: ServeOptions,
    shards: Shards,
    draining: Draining,
) where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let spawn = |stream| shards.spawn(stream, service.clone(), options, draining.clone());
    let mut told = draining.clone();
    loop {
        tokio::select! {
            stream = listener.accept() => spawn(stream),
            () = told.started() => break,
        }
    }
    // Connections that the system has accepted already were promised an answer.
    listener.close().into_iter().for_each(spawn);
    draining.ended();
}
