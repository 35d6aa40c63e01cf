//! Why there is no TensorRT.

use std::fmt;
use std::path::PathBuf;

/// No library could be used; or a plugin library could not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadError {
    /// What was wanted, such as `TensorRT`.
    pub wanted: String,
    /// Every path that was tried, with the reason why it was refused.
    pub tried: Vec<(PathBuf, String)>,
    /// What to do about it.
    pub advice: &'static str,
}

/// For those who have no TensorRT.
pub(super) const INSTALL: &str = "install libnvinfer 10 or 11, or for version-compatible plans the lean runtime (Python \
    package tensorrt-lean-cu13-libs), or set TENSORRT_LIB to the path of the library";

impl std::error::Error for LoadError {}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unable to load {}: {}. Tried:", self.wanted, self.advice)?;
        let mut separator = "";
        for (path, reason) in &self.tried {
            write!(f, "{separator} '{}' ({reason})", path.display())?;
            separator = ";";
        }
        Ok(())
    }
}
