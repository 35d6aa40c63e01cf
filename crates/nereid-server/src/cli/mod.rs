//! The command line: Triton's flags and values, with Triton's defaults and error texts.
//!
//! One table (`flags`) lists every flag of Triton 2.73; parsing and `--help` both read it. Flags whose feature
//! Nereid does not have yet are accepted, checked, and answered with a warning. Nothing is printed or opened here.

mod check;
mod flags;
mod help;
mod options;
mod parse;
mod trace;
mod value;

#[cfg(test)]
mod tests;

pub use options::{
    BackendSettings, CacheSettings, CompressionLevel, ConnectionOptions, GpuOptions, GrpcEndpoint,
    HttpEndpoint, MetricsEndpoint, ModelControlMode, Options, RepositoryOptions, TlsOptions,
};
pub use parse::{parse, wanted_log_format};

/// What a command line asks for.
#[derive(Debug)]
pub enum Parsed {
    /// Serve. The warnings name flags that are deprecated or have no effect; the caller logs them.
    Run(Box<Options>, Vec<String>),
    /// `--help` was given: the text to print.
    Help(String),
    /// The command line is wrong: what to print before the process ends with exit code 1. Triton prints the
    /// usage first, so that the message stands right above the prompt.
    Error { usage: String, message: String },
}
