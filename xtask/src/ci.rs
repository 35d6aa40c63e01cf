//! `xtask ci`: exactly what CI runs, on this machine. The list of checks stands in `.ci/run`, once.

use std::process::Command;

use crate::command;
use crate::workspace::Workspace;

/// Runs `.ci/run`.
pub(crate) fn run(workspace: &Workspace) -> anyhow::Result<()> {
    command::run(Command::new(workspace.path(".ci/run")).current_dir(workspace.path("")))
}
