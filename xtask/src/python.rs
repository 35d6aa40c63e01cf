//! Python environments under target/, made from pinned requirements and reused while these stay the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::command;
use crate::workspace::Workspace;

/// The oldest Python that the pinned packages have wheels for.
const OLDEST: (u32, u32) = (3, 11);

/// What the environment was made from, written last: without it the environment is made anew.
const STAMP: &str = "made-from.txt";

/// The machine's Python.
pub(crate) fn system() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONDONTWRITEBYTECODE", "1").env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    python
}

/// An environment with packages.
#[derive(Debug)]
pub(crate) struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// The environment `name` under target/ with the packages of `requirements`, files in the checkout.
    pub(crate) fn ensure(workspace: &Workspace, name: &str, requirements: &[&str]) -> anyhow::Result<Self> {
        let venv = Self { folder: workspace.target(name) };
        let files: Vec<PathBuf> = requirements.iter().map(|r| workspace.path(r)).collect();
        let made_from = made_from(&files)?;
        let stamp = venv.folder.join(STAMP);
        if fs::read_to_string(&stamp).is_ok_and(|s| s == made_from) && venv.interpreter().exists() {
            return Ok(venv);
        }
        if venv.folder.exists() {
            fs::remove_dir_all(&venv.folder)
                .with_context(|| format!("removing {}", venv.folder.display()))?;
        }
        venv.create()?;
        let mut pip = venv.pip();
        for file in &files {
            pip.arg("-r").arg(file);
        }
        command::run(&mut pip).context("installing the Python packages")?;
        fs::write(&stamp, made_from)?;
        Ok(venv)
    }

    /// This environment's Python.
    pub(crate) fn python(&self) -> Command {
        let mut python = Command::new(self.interpreter());
        python.env("PYTHONDONTWRITEBYTECODE", "1");
        python
    }

    /// Where a program of one of the packages is, if the package has it.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }

    fn interpreter(&self) -> PathBuf {
        self.program("python")
    }

    fn create(&self) -> anyhow::Result<()> {
        let with_pip = command::run_quietly(system().args(["-m", "venv"]).arg(&self.folder));
        if with_pip.is_err() {
            // Debian keeps ensurepip in a package of its own; the machine's pip can install into the environment.
            command::run_quietly(
                system().args(["-m", "venv", "--clear", "--without-pip"]).arg(&self.folder),
            )?;
        }
        Ok(())
    }

    fn pip(&self) -> Command {
        let mut pip = if self.folder.join("bin/pip").exists() {
            let mut pip = self.python();
            pip.args(["-m", "pip"]);
            pip
        } else {
            let mut pip = system();
            pip.args(["-m", "pip", "--python"]).arg(self.interpreter());
            pip
        };
        pip.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").args(["install", "--quiet", "--only-binary=:all:"]);
        pip
    }
}

/// The Python and the full text of the requirements.
fn made_from(files: &[PathBuf]) -> anyhow::Result<String> {
    let script = "import sys; print(*sys.version_info[:2]); print(sys.executable)";
    let python = command::run_quietly(system().args(["-c", script])).context("python3 is needed")?;
    let version = python.lines().next().unwrap_or_default();
    let mut parts = version.split(' ').map(str::parse::<u32>);
    match (parts.next(), parts.next()) {
        (Some(Ok(major)), Some(Ok(minor))) if (major, minor) >= OLDEST => {}
        _ => bail!("python3 is {version}, at least {}.{} is needed", OLDEST.0, OLDEST.1),
    }
    let mut text = python;
    for file in files {
        text.push_str(&read(file)?);
    }
    Ok(text)
}

fn read(file: &Path) -> anyhow::Result<String> {
    fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))
}
