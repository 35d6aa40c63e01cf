//! Shared libraries out of PyPI wheels whose version and hash are pinned: fetched once, kept under target/. Nothing is
//! compiled, and nothing else of a wheel is kept.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::workspace::Workspace;
use crate::{command, python};

/// A wheel, and where in it the libraries are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wheel {
    /// The requirements file, with hashes; the first requirement counts.
    pub(crate) requirements: &'static str,
    /// Such as `311`. The libraries are the same whatever Python runs here.
    pub(crate) python: &'static str,
    /// Such as `cp311`.
    pub(crate) abi: &'static str,
    /// Such as `manylinux_2_28`.
    pub(crate) platform: &'static str,
    /// Folder of the wheel that has the libraries.
    pub(crate) folder: &'static str,
}

/// Libraries that are here.
#[derive(Debug)]
pub(crate) struct Libraries {
    pub(crate) folder: PathBuf,
    pub(crate) version: String,
}

impl Wheel {
    /// The libraries in the folder `into` of target/, fetched if they are not there. `{version}` in `into` is replaced.
    ///
    /// # Errors
    /// The wheel cannot be had, or has another hash.
    pub(crate) fn libraries(&self, workspace: &Workspace, into: &str) -> anyhow::Result<Libraries> {
        let file = workspace.path(self.requirements);
        let text = fs::read_to_string(&file).with_context(|| format!("reading {}", file.display()))?;
        let (package, version) =
            parse(&text).with_context(|| format!("no pinned version in {}", file.display()))?;
        let folder = workspace.target(&into.replace("{version}", version));
        if !folder.is_dir() {
            self.fetch(workspace, &file, &folder)
                .with_context(|| format!("downloading {package} {version}"))?;
        }
        Ok(Libraries { folder, version: version.to_owned() })
    }

    fn fetch(&self, workspace: &Workspace, file: &Path, folder: &Path) -> anyhow::Result<()> {
        let platform = match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", arch @ ("x86_64" | "aarch64")) => format!("{}_{arch}", self.platform),
            (os, arch) => bail!("nothing is pinned for {os} on {arch}"),
        };
        let parent = folder.parent().context("target/ itself is no place for libraries")?;
        fs::create_dir_all(parent)?;
        // Everything happens in a folder of its own that is renamed when it is complete: a broken download leaves
        // nothing behind, and two fetches at once do not meet.
        let work = tempfile::Builder::new().prefix("fetch-").tempdir_in(parent)?;
        let (wheels, unpacked) = (work.path().join("wheels"), work.path().join("unpacked"));
        let mut pip = python::system();
        pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"])
            .args(["--require-hashes", "--implementation", "cp", "--python-version", self.python])
            .args(["--abi", self.abi, "--platform", &platform, "--dest"])
            .arg(&wheels)
            .arg("-r")
            .arg(file);
        command::run(&mut pip)?;
        let script = workspace.path("xtask/python/unpack_libraries.py");
        let mut unpack = python::system();
        command::run_quietly(unpack.arg(script).arg(&wheels).arg(self.folder).arg(&unpacked))?;
        match fs::rename(&unpacked, folder) {
            Err(_) if folder.is_dir() => Ok(()), // another fetch was faster
            result => result.with_context(|| format!("renaming to {}", folder.display())),
        }
    }
}

/// Package and version of the first requirement.
fn parse(requirements: &str) -> Option<(&str, &str)> {
    let line = requirements.lines().find(|l| !l.starts_with('#') && l.contains("=="))?;
    let (package, rest) = line.split_once("==")?;
    Some((package.trim(), rest.split_whitespace().next()?))
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
