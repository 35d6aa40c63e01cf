//! The steps of `xtask kube`, from nothing to the table. What a check looks at is none of its business.

use std::process::{Command, ExitCode};

use crate::cli::KubeArgs;
use crate::command;
use crate::kube::table::Table;
use crate::kube::tools::{self, Tools};
use crate::onnxruntime::{self, Build};
use crate::progress::{Steps, red};
use crate::python::Venv;
use crate::workspace::{Profile, Workspace};

const REQUIREMENTS: &str = "xtask/python/requirements-kube.txt";
const CHECK: &str = "xtask/python/kube/check.py";

/// Runs every check and prints the table. What a check lacks is skipped by name and does not fail.
pub(crate) fn run(workspace: &Workspace, args: &KubeArgs) -> anyhow::Result<ExitCode> {
    let mut steps = Steps::new(3 + usize::from(!args.without_server) + usize::from(args.image));
    let step = steps.start("Python environment");
    let venv = Venv::ensure(workspace, "venv-kube", &[REQUIREMENTS])?;
    step.done("complete");

    let step = steps.start("Tools");
    let tools = Tools::find(workspace, &venv);
    step.done(&tools.to_string());

    let mut python = venv.python();
    let work = workspace.target("kube");
    std::fs::create_dir_all(&work)?;
    python.arg(workspace.path(CHECK)).arg("--root").arg(workspace.path("")).arg("--work").arg(work);
    if args.write {
        python.arg("--write");
    }
    tools.name(&mut python);
    if !args.without_server {
        let step = steps.start("Build of the server");
        let library = onnxruntime::library(workspace, Build::Cpu)?;
        let binary = workspace.build_server(Profile::Dev)?;
        step.done(&binary.display().to_string());
        python.arg(tools::flag("server", &binary)).env(onnxruntime::VARIABLE, library);
    }

    if args.image {
        let step = steps.start("Release build of the server");
        let binary = workspace.build_server(Profile::Release)?;
        step.done(&binary.display().to_string());
        python.arg(tools::flag("image-server", &binary));
    }

    let step = steps.start("Checks");
    let (table, ended) = watch(&mut python)?;
    print!("{}", table.render(args.verbose));
    let good = ended && table.failed() == 0 && table.passed() > 0;
    if good {
        step.done(&format!("{} passed", table.passed()));
    } else {
        step.failed(&format!("{} failed", table.failed()));
        if !ended {
            println!("{}", red("the checks did not come to their end"));
        }
    }
    // The last line, whatever happened.
    println!("{} passed, {} failed, {} skipped", table.passed(), table.failed(), table.skipped());
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the checks to their end: what they found, and whether they got there.
fn watch(python: &mut Command) -> anyhow::Result<(Table, bool)> {
    let mut table = Table::default();
    let status = command::read_lines(python, |line| table.see(line))?;
    Ok((table, status.success()))
}
