//! `xtask test`: every test of the project, step by step. The tests themselves are elsewhere.

use std::path::Path;
use std::process::{Command, ExitCode};

use crate::cli::TestArgs;
use crate::command;
use crate::onnxruntime::{self, Build};
use crate::progress::{self, Steps, red};
use crate::python::Venv;
use crate::tally::Tally;
use crate::workspace::{Profile, Workspace};

/// What the end-to-end tests need.
pub(crate) const REQUIREMENTS: &str = "tests/python/requirements.txt";

/// Name under target/ of the environment of [`REQUIREMENTS`].
pub(crate) const VENV: &str = "venv";

/// Runs all tests. A failing step does not keep the later ones from running, but the exit code tells.
pub(crate) fn run(workspace: &Workspace, args: &TestArgs) -> anyhow::Result<ExitCode> {
    let mut steps = Steps::new(if args.fast { 2 } else { 5 });
    let mut tally = Tally::default();
    let mut broken = Vec::new();

    let step = steps.start("ONNX Runtime");
    let library = onnxruntime::library(workspace, Build::Cpu)?;
    step.done(&library.display().to_string());

    let step = steps.start("Rust tests");
    let before = tally;
    let mut cargo = workspace.cargo();
    cargo
        .args(["test", "--workspace", "--all-features", "--no-fail-fast"])
        .env(onnxruntime::VARIABLE, &library);
    let status = command::run_watched(&mut cargo, |line| tally.see_cargo(line))?;
    if status.success() {
        step.done(&format!("{} passed", tally.passed - before.passed));
    } else {
        step.failed(&format!("{} failed, cargo test ended with {status}", tally.failed - before.failed));
        broken.push("Rust tests");
    }

    if !args.fast {
        let step = steps.start("Build of the server");
        let binary = workspace.build_server(Profile::Dev)?;
        let fakes = workspace.build_fakes()?;
        step.done(&binary.display().to_string());

        let step = steps.start("Python environment");
        let venv = Venv::ensure(workspace, VENV, &[REQUIREMENTS])?;
        step.done("complete");

        let step = steps.start("Python end-to-end tests");
        let before = tally;
        let mut pytest = pytest(workspace, &venv, &binary, &library);
        pytest.env("NEREID_FAKES", &fakes);
        let status = command::run_watched(pytest.args(&args.pytest), |line| tally.see_pytest(line))?;
        if status.success() {
            step.done(&format!("{} passed", tally.passed - before.passed));
        } else {
            step.failed(&format!("{} failed, pytest ended with {status}", tally.failed - before.failed));
            broken.push("Python end-to-end tests");
        }
    }

    let broken = broken.join(" and ");
    let good = broken.is_empty() && tally.passed > 0;
    if !good {
        println!(
            "{}",
            red(&format!("failed: {}", if broken.is_empty() { "no test was run" } else { &broken }))
        );
    }
    println!("{} passed, {} failed", tally.passed, tally.failed); // the last line, whatever happened
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn pytest(workspace: &Workspace, venv: &Venv, binary: &Path, library: &Path) -> Command {
    let mut pytest = venv.python();
    pytest
        .args(["-m", "pytest", "--verbose", "-p", "no:cacheprovider"])
        .arg(if progress::on_terminal() { "--color=yes" } else { "--color=no" })
        .arg(format!("--basetemp={}", workspace.target("pytest").display()))
        .arg("tests/python")
        .current_dir(workspace.path(""))
        .env("PYTHONUNBUFFERED", "1")
        .env("NEREID_BIN", binary)
        .env(onnxruntime::VARIABLE, library);
    pytest
}
