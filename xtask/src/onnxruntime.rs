//! The ONNX Runtime shared library: taken out of its PyPI wheel, version and hash pinned, kept under
//! target/. Nothing is compiled, and nothing else of the wheel is kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::workspace::Workspace;
use crate::{command, python};

/// The environment variable that names the library; the server reads it as well.
pub(crate) const VARIABLE: &str = "ORT_DYLIB_PATH";

/// Which wheel. Any Python's wheel holds the same library, so one is pinned whatever Python runs here.
const PYTHON_TAG: &str = "311";

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
    let pin = Pin::read(workspace, build)?;
    let folder = workspace.target("onnxruntime").join(&pin.folder);
    let library = folder.join(format!("libonnxruntime.so.{}", pin.version));
    if !library.is_file() {
        fetch(workspace, &pin, &folder)?;
    }
    if !library.is_file() {
        bail!("the wheel of {} {} holds no {}", pin.package, pin.version, library.display());
    }
    Ok(library)
}

/// One pinned wheel.
#[derive(Debug)]
struct Pin {
    /// The requirements file, with hashes.
    file: PathBuf,
    package: String,
    version: String,
    /// Name of the folder that keeps the library.
    folder: String,
}

impl Pin {
    fn read(workspace: &Workspace, build: Build) -> anyhow::Result<Self> {
        let file = workspace.path(match build {
            Build::Cpu => "xtask/python/onnxruntime.txt",
            Build::Gpu => "xtask/python/onnxruntime-gpu.txt",
        });
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let (package, version) =
            parse(&text).with_context(|| format!("no pinned version in {}", file.display()))?;
        let folder = match build {
            Build::Cpu => version.to_owned(),
            Build::Gpu => format!("{version}-gpu"),
        };
        Ok(Self { package: package.to_owned(), version: version.to_owned(), folder, file })
    }
}

/// Package and version of the first requirement.
fn parse(requirements: &str) -> Option<(&str, &str)> {
    let line = requirements.lines().find(|l| !l.starts_with('#') && l.contains("=="))?;
    let (package, rest) = line.split_once("==")?;
    Some((package.trim(), rest.split_whitespace().next()?))
}

fn fetch(workspace: &Workspace, pin: &Pin, folder: &Path) -> anyhow::Result<()> {
    let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux", arch @ ("x86_64" | "aarch64")) => format!("manylinux_2_28_{arch}"),
        (os, arch) => bail!("no ONNX Runtime is pinned for {os} on {arch}; name a library with {VARIABLE}"),
    };
    let parent = workspace.target("onnxruntime");
    fs::create_dir_all(&parent)?;
    // Everything happens in a folder of its own that is renamed when it is complete: a broken download leaves
    // nothing behind, and two fetches at once do not meet.
    let work = tempfile::Builder::new().prefix("fetch-").tempdir_in(&parent)?;
    let (wheels, unpacked) = (work.path().join("wheels"), work.path().join("unpacked"));
    let mut pip = python::system();
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"])
        .args(["--implementation", "cp", "--python-version", PYTHON_TAG, "--abi", &format!("cp{PYTHON_TAG}")])
        .args(["--platform", &platform, "--dest"])
        .arg(&wheels)
        .arg("-r")
        .arg(&pin.file);
    command::run(&mut pip).with_context(|| format!("downloading {} {}", pin.package, pin.version))?;
    let script = workspace.path("xtask/python/unpack_libraries.py");
    command::run_quietly(python::system().arg(script).arg(&wheels).arg(&unpacked))?;
    match fs::rename(&unpacked, folder) {
        Err(_) if folder.is_dir() => Ok(()), // another fetch was faster
        result => result.with_context(|| format!("renaming to {}", folder.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pinned_version_is_read_from_the_requirements() {
        assert_eq!(
            parse("# a comment with a==b\nonnx==1.2.3 \\\n  --hash=sha256:00\n"),
            Some(("onnx", "1.2.3"))
        );
        assert_eq!(parse("# nothing\n"), None);
    }
}
