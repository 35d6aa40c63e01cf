//! The server: HTTP, gRPC and metrics frontends over one service, the command line, and the wiring.
//!
//! The way of a request: [`serve`] accepts, `http` or `grpc` decode, [`service`] looks up, validates and
//! enqueues, a scheduler's instance runs, and `http` or `grpc` encode.

pub mod access;
mod backends;
mod caches;
mod classification;
pub mod cli;
mod container;
mod describe;
mod gpus;
pub mod grpc;
pub mod header_forward;
pub mod http;
mod in_flight;
pub mod logging;
pub mod metrics;
mod metrics_port;
mod off_the_loop;
pub mod restricted;
pub mod run;
pub mod serve;
pub mod service;
mod shared_memory;
mod shutdown;
mod start_errors;
mod status;
pub mod trace;
mod transport;
#[cfg(feature = "tensorrt")]
pub mod trt_build;
mod verbose;
mod version;

pub use describe::TRITON_VERSION;
