//! The command `bench`. Progress goes to standard error, the table to standard output.
#![allow(clippy::print_stdout, reason = "a command line tool talks on the terminal")]

use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use nereid_benches::args::{BenchArgs, Cli, Job};
use nereid_benches::echo::EchoServer;
use nereid_benches::{bare, bench, load_job, progress};

/// The allocator of the server, because the echo server must be of the same stack.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.job {
        None => measure(&cli.bench),
        Some(Job::Echo(args)) => EchoServer::serve(args),
        Some(Job::Bare(args)) => bare::serve(args),
        Some(Job::Load(args)) => load_job::run(args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress::error(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn measure(args: &BenchArgs) -> Result<()> {
    let report = bench::run(args)?;
    print!("{}", report.markdown());
    if let Some(file) = &args.json {
        let json = serde_json::to_vec_pretty(&report)?;
        std::fs::write(file, json).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}
