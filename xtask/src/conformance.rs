//! `xtask conformance`: replays the recorded answers of a real Triton. The cases are not part of this
//! project: a folder with `models.py` (builds their models) and `run.py` (replays and compares) holds them.

use std::path::PathBuf;

use anyhow::bail;

use crate::cli::ConformanceArgs;
use crate::command;
use crate::onnxruntime::{self, Build};
use crate::progress::Steps;
use crate::python::Venv;
use crate::test::{REQUIREMENTS, VENV};
use crate::workspace::{Profile, Workspace};

/// Beside the checkout, where a machine of the project keeps the cases.
const BESIDE: &str = "../shared/conformance";

/// Answers that differ on purpose, each with its reason.
const DEVIATIONS: &str = "tests/conformance/deviations.txt";

/// Builds the models of the cases, then replays them against a release build.
pub(crate) fn run(workspace: &Workspace, args: &ConformanceArgs) -> anyhow::Result<()> {
    let cases = cases(workspace, args)?;
    let mut steps = Steps::new(4);
    let step = steps.start("ONNX Runtime and Python environment");
    let library = onnxruntime::library(workspace, Build::Cpu)?;
    let venv = Venv::ensure(workspace, VENV, &[REQUIREMENTS])?;
    step.done("complete");

    let step = steps.start("Build of the server");
    let binary = workspace.build_server(Profile::Release)?;
    step.done(&binary.display().to_string());

    let step = steps.start("Models of the cases");
    let models = workspace.target("conformance/models");
    command::run_quietly(venv.python().arg(cases.join("models.py")).arg(&models))?;
    step.done(&models.display().to_string());

    let step = steps.start("Replay");
    let mut replay = venv.python();
    let server = format!("'{}'", binary.display());
    replay.arg(cases.join("run.py")).arg("--server").arg(server).arg("--models").arg(&models);
    let deviations = workspace.path(DEVIATIONS);
    if deviations.is_file() {
        replay.arg("--deviations").arg(deviations);
    }
    command::run(replay.args(&args.args).env(onnxruntime::VARIABLE, library))?;
    step.done("complete");
    Ok(())
}

fn cases(workspace: &Workspace, args: &ConformanceArgs) -> anyhow::Result<PathBuf> {
    let folder = args.cases.clone().unwrap_or_else(|| workspace.path(BESIDE));
    for file in ["models.py", "run.py"] {
        if !folder.join(file).is_file() {
            bail!("{} holds no {file}; name the folder of the cases with --cases DIR", folder.display());
        }
    }
    Ok(std::path::absolute(folder)?)
}
