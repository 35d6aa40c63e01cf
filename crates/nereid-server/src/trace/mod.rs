//! Traces of single requests: when what happened, and with which tensors, as Triton traces and writes them.
//!
//! [`Tracer`] has the settings and decides which requests are traced; a [`Trace`] goes with one of these and collects;
//! a thread of its own turns what was collected into JSON and writes it, or into spans and sends them to a collector.
//! No protocol, no scheduler.
//!
//! With tracing off a request costs one relaxed load of a flag and a few tests of an empty `Option`.

mod context;
mod file;
mod json;
mod live;
mod otlp;
mod parse;
mod record;
mod settings;
mod sink;
mod tensor;
mod tracer;
mod writer;

#[cfg(test)]
mod tests;

pub use context::TraceContext;
pub use otlp::{NUMBERS, OtlpOptions};
pub use parse::{Protocol, count, file_is_fixed, frequency, level, rate};
pub(crate) use record::Ending;
pub use record::{Event, Trace};
pub use settings::{Change, Level, Mode, TraceOptions, Update, Values};
pub use tracer::{Arrived, Shown, Tracer};
