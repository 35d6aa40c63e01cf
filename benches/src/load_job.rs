//! `bench load`: the load generator alone, against a server that somebody else started. One line of JSON is its answer.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::args::LoadArgs;
use crate::child::say;
use crate::load::{Client, Endpoint, Load, Transport};
use crate::model::Sample;

/// gRPC connections that the streams share.
const CONNECTIONS: usize = 4;

#[derive(Debug, Serialize)]
struct Answered {
    requests: u64,
    requests_per_s: f64,
    p50_us: f64,
    p99_us: f64,
    /// CPU time of the server per request.
    server_cpu_us: f64,
}

/// Warms the server up for a fifth of the time, then loads it.
///
/// # Errors
/// The server cannot be reached, or a request failed.
pub fn run(args: &LoadArgs) -> Result<()> {
    ensure!(
        args.regions.is_none() || args.transport == Transport::Http,
        "shared memory is measured over HTTP only"
    );
    let sample = Sample {
        facts: args.facts.clone(),
        batch: args.batch,
        regions: args.regions.clone(),
        expected: Vec::new(),
    };
    let endpoint = Endpoint { http: args.http, grpc: args.grpc, pid: args.pid };
    let load = Load {
        transport: args.transport,
        in_flight: args.in_flight,
        grpc_connections: CONNECTIONS,
        distinct: false,
    };
    let mut client = Client::connect(&endpoint, load, &sample)?;
    client.run(Duration::from_secs_f64(args.seconds / 5.0))?;
    let measured = client.run(Duration::from_secs_f64(args.seconds))?;
    let latency_us = |quantile| measured.latencies.quantile(quantile).as_secs_f64() * 1e6;
    say(&Answered {
        requests: measured.requests(),
        requests_per_s: measured.requests_per_s(),
        p50_us: latency_us(0.5),
        p99_us: latency_us(0.99),
        server_cpu_us: measured.cpu_us(),
    })
}
