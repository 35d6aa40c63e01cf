//! Traces as spans of OpenTelemetry, sent to a collector over OTLP/HTTP: mode `opentelemetry` of `--trace-config`.
//!
//! [`spans`] turns a finished record into spans, [`batches`] gathers these on a thread of its own, [`delivery`] sends them and
//! counts what is lost, [`client`] is one connection. Messages are ours ([`message`]): the protocol has nine that matter,
//! and the libraries that have all of them bring an SDK along.

mod batches;
mod client;
mod delivery;
mod endpoint;
mod message;
mod options;
mod spans;

#[cfg(test)]
mod tests;

pub(super) use batches::Exporter;
pub use options::{NUMBERS, OtlpOptions};
