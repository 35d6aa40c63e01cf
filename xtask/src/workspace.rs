//! Where things are: the root of the checkout, Cargo's target folder, the built server.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::command;

/// Folders of this checkout.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

/// How the server is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Workspace {
    /// Asks Cargo, so that `CARGO_TARGET_DIR` and `build.target-dir` are followed.
    pub(crate) fn find() -> anyhow::Result<Self> {
        // Set by `cargo run`; the folder at build time serves a binary that is called directly.
        let here =
            std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&here).parent().context("xtask has no parent folder")?.to_path_buf();
        let output = cargo(&root)
            .args(["metadata", "--format-version=1", "--no-deps"])
            .output()
            .context("could not start cargo")?;
        if !output.status.success() {
            bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names no target_directory")?;
        Ok(Self { root, target: target.into() })
    }

    /// A path inside the checkout.
    pub(crate) fn path(&self, relative: &str) -> PathBuf {
        self.root.join(relative)
    }

    /// A path inside Cargo's target folder.
    pub(crate) fn target(&self, relative: &str) -> PathBuf {
        self.target.join(relative)
    }

    /// Cargo, started in the root.
    pub(crate) fn cargo(&self) -> Command {
        cargo(&self.root)
    }

    /// Builds the server with Cargo's own progress on the terminal, and returns its binary.
    pub(crate) fn build_server(&self, profile: Profile) -> anyhow::Result<PathBuf> {
        let mut cargo = self.cargo();
        cargo.args(["build", "--package", "nereid-server", "--bin", "nereid"]);
        if profile == Profile::Release {
            cargo.arg("--release");
        }
        command::run(&mut cargo)?;
        Ok(self.target(if profile == Profile::Release { "release/nereid" } else { "debug/nereid" }))
    }

    /// Builds the bench program, and returns it.
    pub(crate) fn build_bench(&self, profile: Profile) -> anyhow::Result<PathBuf> {
        let mut cargo = self.cargo();
        cargo.args(["build", "--package", "nereid-benches", "--bin", "bench"]);
        if profile == Profile::Release {
            cargo.arg("--release");
        }
        command::run(&mut cargo)?;
        Ok(self.target(if profile == Profile::Release { "release/bench" } else { "debug/bench" }))
    }

    /// Builds the stand-ins for NVIDIA's libraries, and returns their folder.
    pub(crate) fn build_fakes(&self) -> anyhow::Result<PathBuf> {
        let mut cargo = self.cargo();
        cargo.args(["build", "--package", "nereid-fakes", "--examples"]);
        command::run(&mut cargo)?;
        Ok(self.target("debug/examples"))
    }
}

fn cargo(root: &Path) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root);
    cargo
}
