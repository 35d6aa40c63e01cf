//! `cargo xtask`: every chore of the project as one command. This file only dispatches; each chore is a
//! module of its own. Nothing here is part of the server.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool talks on the terminal")]

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Chore, Cli};
use crate::workspace::Workspace;

mod bench;
mod ci;
mod cli;
mod codegen;
mod command;
mod conformance;
mod fuzz;
mod gpu_check;
mod kube;
mod models;
mod onnxruntime;
mod plans;
mod probe;
mod progress;
mod python;
mod serve;
mod tally;
mod test;
mod wheels;
mod workspace;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.chore) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{} {error:#}", progress::red("error:"));
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    match chore {
        Chore::Serve(args) => return serve::run(&workspace, &args),
        Chore::Kube(args) => return kube::run(&workspace, &args),
        Chore::KubeLab(args) => return kube::lab(&workspace, &args),
        Chore::Test(args) => return test::run(&workspace, &args),
        Chore::GpuCheck(args) => return gpu_check::run(&workspace, &args),
        Chore::Models(args) => models::run(&workspace, &args)?,
        Chore::Bench(args) => bench::run(&workspace, &args)?,
        Chore::Conformance(args) => conformance::run(&workspace, &args)?,
        Chore::Codegen { check } => codegen::run(check)?,
        Chore::Fuzz(args) => fuzz::run(&workspace, &args)?,
        Chore::Ci => ci::run(&workspace)?,
    }
    Ok(ExitCode::SUCCESS)
}
