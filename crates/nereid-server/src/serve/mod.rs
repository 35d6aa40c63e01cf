//! Transport: listeners, event loops, connections, and how they end. Knows hyper, not what is served.

mod connection;
mod drain;
mod listener;
mod shards;

pub use connection::{Protocol, ServeOptions};
pub use drain::{Drain, Draining};
pub use listener::{Bound, bind};
pub use shards::Shards;

use std::convert::Infallible;

use axum::body::Body;
use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use tower::Service;

/// Serves `service` on `bound` until `draining` says otherwise: connections are spread over `shards`,
/// the emptiest first.
pub async fn serve<S>(bound: Bound, service: S, options: ServeOptions, shards: Shards, draining: Draining)
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let listener = match bound.listen() {
        Ok(listener) => listener,
        Err(e) => return tracing::error!("failed to listen on {}: {e}", bound.address()),
    };
    let spawn = |stream| shards.spawn(stream, service.clone(), options, draining.clone());
    let mut told = draining.clone();
    loop {
        tokio::select! {
            stream = listener::accept(&listener) => spawn(stream),
            () = told.started() => break,
        }
    }
    // Connections that the system has accepted already were promised an answer.
    while let Some(stream) = listener::accept_waiting(&listener) {
        spawn(stream);
    }
    drop(listener);
    draining.ended();
}
