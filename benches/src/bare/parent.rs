//! The end of the bare loop that asks: starts the child, and lets it loop now and then.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};

use super::child::{Hello, Loop};
use crate::child::Child;
use crate::model::ModelFacts;

/// A child process that holds a session of ONNX Runtime on the CPU.
#[derive(Debug)]
pub struct BareRun {
    child: Child,
    /// The model, as its file describes it.
    pub facts: ModelFacts,
    /// Its output for [`input_values`](crate::model::input_values).
    pub output: Vec<f32>,
    /// Rows per call.
    pub batch: usize,
}

impl BareRun {
    /// Starts the child for `model`, the file `file`, with `threads` intra-op threads.
    ///
    /// # Errors
    /// The child cannot load the model; it has said why on standard error.
    pub fn start(model: &str, file: &Path, batch: usize, threads: usize) -> Result<Self> {
        let (batch_text, threads) = (batch.to_string(), threads.to_string());
        let file = file.to_str().context("the model's path is not UTF-8")?;
        let mut child = Child::of_this_program(&[
            "bare",
            "--model-name",
            model,
            "--model-file",
            file,
            "--batch",
            &batch_text,
            "--threads",
            &threads,
        ])?;
        let Hello { facts, output } = child.read().context("the bare Run loop did not start")?;
        Ok(Self { child, facts, output, batch })
    }

    /// Loops for `duration`.
    ///
    /// # Errors
    /// The child died.
    pub fn run(&mut self, duration: Duration) -> Result<Loop> {
        self.child.write(&duration.as_micros().to_string())?;
        self.child.read()
    }
}
