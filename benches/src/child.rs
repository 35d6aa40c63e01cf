//! Children of the bench: this program again, with another job. They end with the bench, because their
//! standard input does. One line of JSON is one message.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// This program again, with another job; lines of JSON go to it and come back.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program with `args`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn of_this_program(args: &[&str]) -> Result<Self> {
        let program = std::env::current_exe().context("where is this program?")?;
        let mut command = Command::new(program);
        let mut process = command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = process.stdin.take().context("no standard input of the child")?;
        let stdout = BufReader::new(process.stdout.take().context("no standard output of the child")?);
        Ok(Self { process, stdin, stdout })
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends one line.
    ///
    /// # Errors
    /// The child is gone.
    pub fn write(&mut self, line: &str) -> Result<()> {
        writeln!(self.stdin, "{line}").context("a child of the bench is gone")
    }

    /// Reads one line of JSON.
    ///
    /// # Errors
    /// The child ended, or said something else.
    pub fn read<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.stdout.read_line(&mut line)? == 0 {
            bail!("a child of the bench ended: {}", self.process.wait()?);
        }
        serde_json::from_str(&line).with_context(|| format!("a child of the bench said {line:?}"))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // Both fail only if the child is gone already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// One message to the parent.
///
/// # Errors
/// The parent is gone.
pub fn say(message: &impl Serialize) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(&line)?;
    Ok(stdout.flush()?)
}
