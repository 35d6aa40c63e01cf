//! The process that loops: loads the model, says what it found, and loops as long as it was told to, once or for each line
//! of its standard input. What a turn of the loop is, the libraries' own files know.

use std::io::BufRead;
use std::time::Duration;

use anyhow::{Context, Result};
use nereid_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::onnxruntime::OnnxRuntime;
use super::tensorrt::TensorRt;
use crate::args::{BareArgs, BareDevice};
use crate::child::say;
use crate::cpu::ProcessClock;
use crate::model::ModelFacts;

/// A model in a library, with fixed buffers.
pub(super) trait Bare {
    /// The model, as its file describes it.
    fn facts(&self) -> &ModelFacts;

    /// One turn: the library's call, until its output is there.
    fn run(&mut self) -> Result<()>;

    /// One turn, and its output.
    fn output(&mut self) -> Result<Vec<f32>>;
}

/// What the child says first.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) facts: ModelFacts,
    pub(super) output: Vec<f32>,
}

/// What one stretch of the loop showed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Loop {
    runs: u64,
    elapsed_us: f64,
    cpu_us: f64,
}

impl Loop {
    /// Turns per second.
    pub fn runs_per_s(&self) -> f64 {
        self.runs as f64 / self.elapsed_us * 1e6
    }

    /// CPU time of all threads per turn, in µs.
    pub fn cpu_us(&self) -> f64 {
        self.cpu_us / self.runs as f64
    }
}

/// The child: loops for `--seconds`, or else serves its standard input until that ends.
///
/// # Errors
/// The model cannot be loaded or run, or is not of one FP32 tensor each way.
pub fn serve(args: &BareArgs) -> Result<()> {
    let mut model: Box<dyn Bare> = match args.device {
        BareDevice::Cpu | BareDevice::Cuda => Box::new(OnnxRuntime::open(args)?),
        BareDevice::Tensorrt => Box::new(TensorRt::open(args)?),
    };
    let output = model.output()?;
    say(&Hello { facts: model.facts().clone(), output })?;
    let clock = ProcessClock::of(std::process::id())?;
    if let Some(seconds) = args.seconds {
        return say(&stretch(model.as_mut(), &clock, Duration::from_secs_f64(seconds))?);
    }
    for line in std::io::stdin().lock().lines() {
        let duration_us: u64 = line?.trim().parse().context("expected microseconds")?;
        say(&stretch(model.as_mut(), &clock, Duration::from_micros(duration_us))?)?;
    }
    Ok(())
}

fn stretch(model: &mut dyn Bare, clock: &ProcessClock, duration: Duration) -> Result<Loop> {
    let cpu = clock.read()?;
    let start = Timestamp::now();
    let deadline = start.plus_us(duration.as_micros() as u64);
    let mut runs = 0;
    let mut now = start;
    while now < deadline || runs == 0 {
        model.run()?;
        runs += 1;
        now = Timestamp::now();
    }
    let elapsed_us = now.since(start).as_secs_f64() * 1e6;
    let cpu_us = (clock.read()? - cpu).as_secs_f64() * 1e6;
    Ok(Loop { runs, elapsed_us, cpu_us })
}
