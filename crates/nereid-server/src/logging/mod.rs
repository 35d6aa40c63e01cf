//! Log messages in Triton's formats or as JSON, on Triton's streams, from `tracing` events.
//!
//! ERROR, WARN and INFO are Triton's levels; DEBUG is verbose level 1, TRACE verbose level 2 and above. Spans are
//! not shown. What is switched off costs one load per call site, as `tracing` caches the answer.

mod civil;
mod control;
mod format;
mod json;
mod layer;
mod members;
mod outside;

#[cfg(test)]
mod tests;

use std::path::PathBuf;

use nereid_core::{Error, Result};
use tracing_subscriber::layer::SubscriberExt;

pub use control::{LogChange, LogControl};
pub use format::LogFormat;
pub(crate) use members::Members;
pub use outside::complain;

/// Settings of the log, as the command line gives them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    pub info: bool,
    pub warning: bool,
    pub error: bool,
    /// 0 shows no verbose messages.
    pub verbose: u32,
    pub format: LogFormat,
    /// Everything is appended to this file; `None` is standard output and standard error.
    pub file: Option<PathBuf>,
}

impl LogOptions {
    /// The file as clients see it; empty for the standard streams.
    pub fn file_name(&self) -> String {
        self.file.as_ref().map(|file| file.display().to_string()).unwrap_or_default()
    }
}

/// The refusal of `log_file`: a client must never choose where the server writes.
pub fn file_is_fixed() -> Error {
    Error::unsupported("log file location can not be updated through network protocol")
}

/// A verbose level from the network: 32 bits of it count, and what is negative then is 0 (`LOG_SET_VERBOSE`).
pub fn verbose_level(level: u64) -> u32 {
    (level as i32).max(0) as u32
}

/// Triton's defaults: everything but verbose messages, to the standard streams.
impl Default for LogOptions {
    fn default() -> Self {
        Self { info: true, warning: true, error: true, verbose: 0, format: LogFormat::Default, file: None }
    }
}

/// Starts to log, for the whole process. With the environment variable `TRITON_SERVER_ESCAPE_LOG_MESSAGES=0`
/// messages are written as they are, otherwise quoted and escaped, so that no message can fake another record.
///
/// # Errors
/// The log file cannot be opened, or the process logs already.
pub fn init(options: &LogOptions) -> Result<LogControl> {
    let escape = std::env::var_os("TRITON_SERVER_ESCAPE_LOG_MESSAGES").is_none_or(|value| value != "0");
    let control = LogControl::new(options, escape)?;
    let subscriber = tracing_subscriber::registry().with(control.layer());
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| Error::internal("the log of this process is set up already"))?;
    outside::record_panics(control.clone());
    Ok(control)
}
