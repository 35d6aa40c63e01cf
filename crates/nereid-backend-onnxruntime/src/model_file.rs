//! Which file of a version directory is the model.

use std::path::{Path, PathBuf};

use nereid_core::{Error, Result};

/// The ONNX file at `path`, or inside it when it is a directory (for external weights).
///
/// # Errors
/// With Triton's texts (`LoadModel` of its backend): `Internal` if `path` is not there, `Unavailable` if
/// it is a directory without a `model.onnx`.
pub(crate) fn locate(path: &Path, model: &str) -> Result<PathBuf> {
    let metadata = std::fs::metadata(path)
        .map_err(|_| Error::internal(format!("failed to stat file {}", path.display())))?;
    if !metadata.is_dir() {
        return Ok(path.to_owned());
    }
    let file = path.join("model.onnx");
    if file.exists() {
        return Ok(file);
    }
    Err(Error::unavailable(format!("unable to find '{}' for model instance '{model}'", file.display())))
}
