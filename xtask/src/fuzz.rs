//! `xtask fuzz`: the targets of `fuzz/`, one after the other. They are a workspace of their own, since they need a
//! nightly compiler; what they found and what they learned stays under target/fuzz/.

use std::fs;
use std::process::Command;

use anyhow::{Context, bail};

use crate::cli::FuzzArgs;
use crate::command;
use crate::progress::Steps;
use crate::workspace::Workspace;

/// Seconds that one input may take.
const TIMEOUT_S: u32 = 20;
/// Memory that the process may take; the address sanitizer's own is most of it.
const RSS_LIMIT_MB: u32 = 3000;

/// Runs the targets of `args`, or all of them. The first find ends the run.
///
/// # Errors
/// A tool is missing, a target is unknown, or an input was found that breaks one; it is then under
/// `target/fuzz/found/`.
pub(crate) fn run(workspace: &Workspace, args: &FuzzArgs) -> anyhow::Result<()> {
    let known = targets(workspace)?;
    if let Some(unknown) = args.targets.iter().find(|target| !known.contains(target)) {
        bail!("there is no fuzz target '{unknown}'; there are {}", known.join(", "));
    }
    require_tools()?;
    let chosen = if args.targets.is_empty() { &known } else { &args.targets };
    let mut steps = Steps::new(chosen.len());
    for target in chosen {
        let step = steps.start(target);
        let corpus = workspace.target(&format!("fuzz/corpus/{target}"));
        let found = workspace.target(&format!("fuzz/found/{target}"));
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        let mut fuzz = nightly();
        fuzz.current_dir(workspace.path(""))
            .args(["fuzz", "run", "--fuzz-dir", "fuzz", "--target-dir"])
            .arg(workspace.target("fuzz"))
            .arg(target)
            .args([corpus, workspace.path(&format!("fuzz/seeds/{target}"))])
            .arg("--")
            .arg(format!("-max_total_time={}", args.minutes * 60))
            .arg(format!("-timeout={TIMEOUT_S}"))
            .arg(format!("-rss_limit_mb={RSS_LIMIT_MB}"))
            .arg(format!("-artifact_prefix={}/", found.display()));
        command::run(&mut fuzz)?;
        step.done("nothing found");
    }
    Ok(())
}

/// The targets, by name.
fn targets(workspace: &Workspace) -> anyhow::Result<Vec<String>> {
    let folder = workspace.path("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let file = entry?.path();
        names.extend(file.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn require_tools() -> anyhow::Result<()> {
    command::run_quietly(nightly().arg("--version"))
        .context("fuzzing needs a nightly toolchain: `rustup toolchain install nightly`")?;
    command::run_quietly(nightly().args(["fuzz", "--version"]))
        .context("fuzzing needs cargo-fuzz: `cargo install cargo-fuzz --locked`")?;
    Ok(())
}

/// Cargo of the nightly toolchain, whatever toolchain runs this.
fn nightly() -> Command {
    let mut cargo = Command::new("cargo");
    cargo.arg("+nightly").env_remove("CARGO").env_remove("RUSTC").env_remove("RUSTUP_TOOLCHAIN");
    cargo
}
