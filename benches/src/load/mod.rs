//! The closed-loop load generator: so many requests in flight, each answered before the next is sent,
//! from one thread that costs as little as we could make it. Requests are prebuilt and all the same, unless
//! each is to be [`distinct`](Load::distinct).
//!
//! It does not retry, reconnect or follow anything: an error ends the bench with a message.

mod grpc;
mod http;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;

use crate::cpu::ProcessClock;
use crate::latencies::Latencies;
use crate::model::Sample;

/// How long an answer may take before the bench gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Which wire the requests take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Transport {
    /// HTTP/1.1 with the binary tensor extension; one kept-alive connection per request in flight.
    Http,
    /// gRPC `ModelInfer` with raw contents; one stream per request in flight.
    Grpc,
}

impl Transport {
    /// Both, in the order of the report.
    pub const ALL: [Self; 2] = [Self::Http, Self::Grpc];

    /// As the report calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP binary",
            Self::Grpc => "gRPC",
        }
    }
}

/// How a client loads a server.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    pub transport: Transport,
    /// Requests in flight.
    pub in_flight: usize,
    /// Connections that share the streams; gRPC only.
    pub grpc_connections: usize,
    /// No two requests have the same input.
    pub distinct: bool,
}

/// The first input element of the `number`th request of a distinct load, little-endian: from 1 to 2, so that no model
/// meets a number that is slow to compute with. They repeat after eight million.
fn element(number: u32) -> [u8; 4] {
    let mantissa = number & ((1 << (f32::MANTISSA_DIGITS - 1)) - 1);
    f32::from_bits(1.0_f32.to_bits() | mantissa).to_le_bytes()
}

/// Where a server listens and which process it is.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint {
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub pid: u32,
}

/// What one stretch of load showed.
#[derive(Debug, Clone)]
pub struct Measured {
    pub latencies: Latencies,
    /// From the first request sent to the last answer received.
    pub elapsed: Duration,
    /// CPU time of the server meanwhile.
    pub server_cpu: Duration,
    /// CPU time of this process, which is the load generator's.
    pub client_cpu: Duration,
}

impl Measured {
    /// Answers received.
    pub fn requests(&self) -> u64 {
        self.latencies.count()
    }

    /// Answers per second.
    pub fn requests_per_s(&self) -> f64 {
        self.requests() as f64 / self.elapsed.as_secs_f64()
    }

    /// CPU time of the server per answer, in µs.
    pub fn cpu_us(&self) -> f64 {
        self.server_cpu.as_secs_f64() * 1e6 / self.requests() as f64
    }

    /// CPU time of the load generator per answer, in µs.
    pub fn client_cpu_us(&self) -> f64 {
        self.client_cpu.as_secs_f64() * 1e6 / self.requests() as f64
    }
}

/// A connected client of one server.
#[derive(Debug)]
pub struct Client {
    wire: Wire,
    server_clock: ProcessClock,
    client_clock: ProcessClock,
}

#[derive(Debug)]
enum Wire {
    Http(Box<http::Connections>),
    Grpc(grpc::Connections),
}

impl Client {
    /// Connects, and checks the first answer of the server against `sample`.
    ///
    /// # Errors
    /// The server cannot be reached or its answer is wrong.
    pub fn connect(endpoint: &Endpoint, load: Load, sample: &Sample) -> Result<Self> {
        let wire = match load.transport {
            Transport::Http => Wire::Http(Box::new(http::Connections::open(endpoint.http, load, sample)?)),
            Transport::Grpc => Wire::Grpc(grpc::Connections::open(endpoint.grpc, load, sample)?),
        };
        let (server, client) = (endpoint.pid, std::process::id());
        Ok(Self { wire, server_clock: ProcessClock::of(server)?, client_clock: ProcessClock::of(client)? })
    }

    /// Loads the server for `duration`, then waits for what is still in flight.
    ///
    /// # Errors
    /// A request failed or took longer than a minute.
    pub fn run(&mut self, duration: Duration) -> Result<Measured> {
        let before = (self.server_clock.read()?, self.client_clock.read()?);
        let (latencies, elapsed) = match &mut self.wire {
            Wire::Http(connections) => connections.run(duration)?,
            Wire::Grpc(connections) => connections.run(duration)?,
        };
        let (server_cpu, client_cpu) =
            (self.server_clock.read()? - before.0, self.client_clock.read()? - before.1);
        Ok(Measured { latencies, elapsed, server_cpu, client_cpu })
    }
}
