//! `xtask kube-lab`: the manifests, the chart and the image in a real Kubernetes of this machine. The lab is not part of
//! this project: a folder with scripts that build, start and stop a cluster in a network of its own. What is looked at
//! there is in `xtask/python/kube_lab`; here is what it needs.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::cli::KubeLabArgs;
use crate::kube::tools::{self, Tools};
use crate::onnxruntime::{self, Build};
use crate::progress::Steps;
use crate::python::Venv;
use crate::test;
use crate::workspace::{Profile, Workspace};

/// Beside the checkout, where a machine of the project keeps the lab.
const BESIDE: &str = "../shared/kube_lab";
const SCRIPTS: [&str; 4] = ["build.sh", "up.sh", "down.sh", "load-image.sh"];

const REQUIREMENTS: &str = "xtask/python/requirements-kube-lab.txt";
const LAB: &str = "xtask/python/kube_lab/lab.py";
/// What it shares with the checks that need no cluster.
const SHARED: &str = "xtask/python/kube";

/// Gets everything ready, and becomes the lab: it must see Ctrl-C itself, to take its cluster down.
pub(crate) fn lab(workspace: &Workspace, args: &KubeLabArgs) -> anyhow::Result<ExitCode> {
    let scripts = scripts(workspace, args.scripts.as_deref())?;
    let work = workspace.target("kube-lab");
    std::fs::create_dir_all(&work)?;
    let mut steps = Steps::new(4);
    let step = steps.start("ONNX Runtime and Python environment");
    let library = onnxruntime::library(workspace, Build::Cpu)?;
    let venv = Venv::ensure(workspace, "venv-kube-lab", &[test::REQUIREMENTS, REQUIREMENTS])?;
    step.done("complete");

    let step = steps.start("Tools");
    let tools = Tools::find(workspace, &venv);
    step.done(&tools.to_string());

    let command = || {
        let mut python = venv.python();
        python.arg(workspace.path(LAB)).env("PYTHONPATH", workspace.path(SHARED));
        let root = workspace.path("");
        for (name, path) in [("root", &root), ("work", &work), ("scripts", &scripts)] {
            python.arg(tools::flag(name, path));
        }
        tools.name_some(&mut python, &["helm", "kubectl"]);
        if !args.only.is_empty() {
            python.arg(format!("--only={}", args.only.join(",")));
        }
        python
    };
    // Before the server is built: what is missing is said at once.
    let step = steps.start("Kubernetes");
    if !command().arg("--prepare").args(args.build.then_some("--build")).status()?.success() {
        step.failed("no lab here");
        return Ok(ExitCode::FAILURE);
    }
    step.done("built");

    let step = steps.start("Server");
    let server = match &args.server {
        Some(path) => std::path::absolute(path)?,
        None => workspace.build_server(Profile::Release)?,
    };
    step.done(&server.display().to_string());

    let mut python = command();
    python.arg(tools::flag("server", &server)).env(onnxruntime::VARIABLE, library);
    python.args(args.keep.then_some("--keep")).args(args.write.then_some("--write"));
    Err(python.exec()).context("starting the lab")
}

fn scripts(workspace: &Workspace, named: Option<&Path>) -> anyhow::Result<PathBuf> {
    let folder = named.map_or_else(|| workspace.path(BESIDE), Path::to_path_buf);
    for file in SCRIPTS {
        if !folder.join(file).is_file() {
            bail!(
                "no lab here: {} holds no {file}; name the folder of the lab's scripts with --scripts DIR",
                folder.display()
            );
        }
    }
    Ok(std::path::absolute(folder)?)
}
