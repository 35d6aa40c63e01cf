//! A call of TensorRT that failed. TensorRT returns only null or false: the reason is what it wrote to its log.

use std::fmt;

/// What TensorRT logs of a plan of another version: one with another format, and one with the same.
const MISMATCHES: [&str; 2] = ["Version tag does not match", "not compatible with this version of TensorRT"];

/// A call that failed, with what TensorRT logged while it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorRtError {
    /// The call, such as `deserializeCudaEngine`.
    pub call: &'static str,
    /// What is wrong, where this crate rather than TensorRT found it.
    pub reason: Option<String>,
    /// The last lines of severity error of the call, oldest first.
    pub log: Vec<String>,
    /// Whether TensorRT said that memory did not suffice.
    pub out_of_memory: bool,
}

impl TensorRtError {
    /// `call` was not made, or gave what cannot be used, for `reason`.
    pub fn refused(call: &'static str, reason: impl Into<String>) -> Self {
        Self { call, reason: Some(reason.into()), log: Vec::new(), out_of_memory: false }
    }

    /// Whether TensorRT said that the plan is for another version of it.
    pub fn is_version_mismatch(&self) -> bool {
        self.log.iter().any(|line| MISMATCHES.iter().any(|words| line.contains(words)))
    }
}

impl std::error::Error for TensorRtError {}

impl fmt::Display for TensorRtError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} failed", self.call)?;
        let mut separator = ": ";
        for line in self.reason.iter().chain(&self.log) {
            write!(f, "{separator}{}", line.trim_end())?;
            separator = "; ";
        }
        if separator == ": " {
            f.write_str(", and TensorRT did not log why")?;
        }
        Ok(())
    }
}
