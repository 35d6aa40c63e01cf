//! The bench harness of Nereid: a closed-loop load generator for HTTP/1.1 and gRPC, floors to compare
//! the server with, and the report. `src/main.rs` is the command; `benches/` holds the micro-benchmarks.
//!
//! It measures what a server costs, not whether it is right: of every client only the first answer is
//! looked at, and any failed request ends the bench.

pub mod args;
pub mod bare;
pub mod bench;
pub mod cell;
pub mod child;
pub mod comparison;
pub mod cpu;
pub mod echo;
pub mod histograms;
pub mod latencies;
pub mod load;
pub mod load_job;
pub mod model;
pub mod perf_analyzer;
pub mod progress;
pub mod report;
pub mod repository;
pub mod schedulers;
pub mod server;
pub mod spread;
pub mod startup;
