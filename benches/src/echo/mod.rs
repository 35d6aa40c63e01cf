//! The floor of the transport: a server of the same stack as Nereid's frontends that answers every
//! inference request with one constant. Listeners, event loops and connections are Nereid's own
//! ([`nereid_server::serve`]); what is absent is everything behind them: no model, no validation, no
//! queue. The gRPC message is decoded and encoded by prost as the real one is, the HTTP body is only
//! collected.

mod grpc;
mod http;
mod process;

pub use process::EchoServer;

use std::io::ErrorKind;
use std::net::TcpStream;

use anyhow::{Context, Result};
use nereid_server::serve::{Drain, Protocol, ServeOptions, Shards, bind, serve};

use crate::load::Endpoint;
use crate::model::Sample;

/// Listens on two free loopback ports, with `shards` event loops, and answers as long as the process
/// lives.
///
/// # Errors
/// No port or thread can be had.
pub fn start(sample: &Sample, shards: usize) -> Result<Endpoint> {
    let bound = || bind("127.0.0.1", 0, false).context("cannot take a port");
    let (http, grpc) = (bound()?, bound()?);
    let endpoint = Endpoint { http: http.address(), grpc: grpc.address(), pid: std::process::id() };
    let (http_router, grpc_router) = (http::router(sample), grpc::router(sample));
    let shards = Shards::start(shards).context("cannot start the event loops")?;
    let acceptor = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let accept = async move {
        // Nobody else can have the ports: they are taken.
        let (Ok(http), Ok(grpc)) = (http.listen(), grpc.listen()) else { return };
        let drain = Drain::new(); // never asked to drain: it ends with the process
        tokio::join!(
            serve(
                http,
                |_| http_router.clone(),
                ServeOptions::plain(Protocol::Http1),
                shards.clone(),
                drain.draining()
            ),
            serve(
                grpc,
                |_| grpc_router.clone(),
                ServeOptions::plain(Protocol::Http2),
                shards.clone(),
                drain.draining()
            ),
        );
    };
    std::thread::Builder::new().name("acceptor".into()).spawn(move || acceptor.block_on(accept))?;
    for address in [endpoint.http, endpoint.grpc] {
        // The ports are ours, so nobody else can answer; the thread above opens them in a moment.
        while TcpStream::connect(address).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused) {
            std::thread::yield_now();
        }
    }
    Ok(endpoint)
}
