//! Running other programs: a failure is an error that names the command.

use std::io::{BufRead, BufReader};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context, bail};

/// Runs `command` with this terminal; anything but success is an error.
pub(crate) fn run(command: &mut Command) -> anyhow::Result<()> {
    let status = command.status().with_context(|| could_not_start(command))?;
    if !status.success() {
        bail!("`{}` ended with {status}", line(command));
    }
    Ok(())
}

/// Runs `command` quietly; when it fails, what it wrote is part of the error.
pub(crate) fn run_quietly(command: &mut Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| could_not_start(command))?;
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}:\n{stdout}{stderr}", line(command), output.status);
    }
    Ok(stdout)
}

/// Runs `command`, shows each line of its output as it comes, and hands it to `see`.
pub(crate) fn run_watched(command: &mut Command, mut see: impl FnMut(&str)) -> anyhow::Result<ExitStatus> {
    read_lines(command, |line| {
        println!("{line}");
        see(line);
    })
}

/// Runs `command` and hands each line of its output to `see` as it comes.
pub(crate) fn read_lines(command: &mut Command, mut see: impl FnMut(&str)) -> anyhow::Result<ExitStatus> {
    let mut child = command.stdout(Stdio::piped()).spawn().with_context(|| could_not_start(command))?;
    let stdout = child.stdout.take().context("the child has no stdout")?;
    for text in BufReader::new(stdout).split(b'\n') {
        see(&String::from_utf8_lossy(&text?));
    }
    Ok(child.wait()?)
}

fn could_not_start(command: &Command) -> String {
    format!("could not start `{}`", command.get_program().to_string_lossy())
}

/// The command as one would type it, shortened to what tells it apart.
fn line(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let text = words.map(|w| w.to_string_lossy()).collect::<Vec<_>>().join(" ");
    if text.chars().count() > 160 { text.chars().take(157).chain("...".chars()).collect() } else { text }
}
