//! The ONNX Runtime shared library, out of its pinned wheel.

use std::path::PathBuf;

use anyhow::bail;

use crate::wheels::Wheel;
use crate::workspace::Workspace;

/// The environment variable that names the library; the server reads it as well.
pub(crate) const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Which build of the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    Cpu,
    /// With the CUDA and TensorRT providers beside it.
    Gpu,
}

/// Path of the library, fetched if it is not there yet. A set `ORT_DYLIB_PATH` wins.
pub(crate) fn library(workspace: &Workspace, build: Build) -> anyhow::Result<PathBuf> {
    if let Some(path) = std::env::var_os(VARIABLE).filter(|p| !p.is_empty()).map(PathBuf::from) {
        if !path.is_file() {
            bail!("{VARIABLE} names {}, which is not a file", path.display());
        }
        return Ok(path);
    }
    pinned(workspace, build)
}

/// Path of the pinned library, whatever the environment says.
pub(crate) fn pinned(workspace: &Workspace, build: Build) -> anyhow::Result<PathBuf> {
    let (requirements, into) = match build {
        Build::Cpu => ("xtask/python/onnxruntime.txt", "onnxruntime/{version}"),
        Build::Gpu => ("xtask/python/onnxruntime-gpu.txt", "onnxruntime/{version}-gpu"),
    };
    let wheel = Wheel {
        requirements,
        python: "311",
        abi: "cp311",
        platform: "manylinux_2_28",
        folder: "onnxruntime/capi",
    };
    let found = wheel.libraries(workspace, into)?;
    let library = found.folder.join(format!("libonnxruntime.so.{}", found.version));
    if !library.is_file() {
        bail!("the wheel of {} holds no {}", found.version, library.display());
    }
    Ok(library)
}
