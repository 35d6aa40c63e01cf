//! The floor of the computation: ONNX Runtime's `Run` in a loop over fixed buffers, in a process of its
//! own. The child loads the model, says what it found, and then loops as long as each line of its
//! standard input asks; [`BareRun`] is the other end.

use std::io::BufRead;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nereid_core::Timestamp;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{Outlet, Tensor, TensorElementType, ValueType};
use serde::{Deserialize, Serialize};

use crate::args::BareRunArgs;
use crate::child::{Child, say};
use crate::cpu::ProcessClock;
use crate::model::{ModelFacts, TensorFacts, input_values};

/// What the child says first.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    facts: ModelFacts,
    output: Vec<f32>,
}

/// What one stretch of the loop showed.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Loop {
    runs: u64,
    elapsed_us: f64,
    cpu_us: f64,
}

impl Loop {
    /// `Run` calls per second.
    pub fn runs_per_s(&self) -> f64 {
        self.runs as f64 / self.elapsed_us * 1e6
    }

    /// CPU time of all threads per call, in µs.
    pub fn cpu_us(&self) -> f64 {
        self.cpu_us / self.runs as f64
    }
}

/// A child process that holds a session.
#[derive(Debug)]
pub struct BareRun {
    child: Child,
    /// The model, as its file describes it.
    pub facts: ModelFacts,
    /// Its output for [`input_values`].
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
            "bare-run",
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

/// The child: serves its standard input until that ends.
///
/// # Errors
/// The model cannot be loaded or run, or is not of one FP32 tensor each way.
pub fn serve(args: &BareRunArgs) -> Result<()> {
    let mut session = open(args).with_context(|| format!("cannot load {}", args.model_file.display()))?;
    let facts = ModelFacts {
        name: args.model_name.clone(),
        input: tensor_facts(session.inputs())?,
        output: tensor_facts(session.outputs())?,
    };
    let values = input_values(facts.input.row_elements() * args.batch);
    let input = Tensor::from_array((facts.input.shape(args.batch), values))?;
    let output = Tensor::<f32>::new(session.allocator(), facts.output.shape(args.batch))?;
    let mut binding = session.create_binding()?;
    binding.bind_input(facts.input.name.as_str(), &input)?;
    binding.bind_output(facts.output.name.as_str(), output)?;

    let first = {
        let outputs = session.run_binding(&binding)?;
        let (_, values) = outputs[0].try_extract_tensor::<f32>()?;
        values.to_vec()
    };
    say(&Hello { facts, output: first })?;
    let clock = ProcessClock::of(std::process::id())?;
    for line in std::io::stdin().lock().lines() {
        let duration_us: u64 = line?.trim().parse().context("expected microseconds")?;
        let cpu = clock.read()?;
        let start = Timestamp::now();
        let deadline = start.plus_us(duration_us);
        let mut runs = 0;
        let mut now = start;
        while now < deadline || runs == 0 {
            session.run_binding(&binding)?;
            runs += 1;
            now = Timestamp::now();
        }
        let elapsed_us = now.since(start).as_secs_f64() * 1e6;
        let cpu_us = (clock.read()? - cpu).as_secs_f64() * 1e6;
        say(&Loop { runs, elapsed_us, cpu_us })?;
    }
    Ok(())
}

fn open(args: &BareRunArgs) -> Result<Session> {
    ensure!(
        std::env::var_os("ORT_DYLIB_PATH").is_some_and(|path| Path::new(&path).is_file()),
        "ORT_DYLIB_PATH does not name the ONNX Runtime library (`cargo xtask bench` sets it)"
    );
    let environment = ort::init().build()?;
    Ok(options(Session::builder(&environment)?, args.threads)?.commit_from_file(&args.model_file)?)
}

fn options(builder: SessionBuilder, threads: usize) -> ort::Result<SessionBuilder> {
    Ok(builder.with_intra_threads(threads)?.with_inter_threads(1)?.with_intra_op_spinning(false)?)
}

fn tensor_facts(tensors: &[Outlet]) -> Result<TensorFacts> {
    let [tensor] = tensors else {
        bail!("the model has {} inputs or outputs, the bench wants one", tensors.len())
    };
    let name = tensor.name();
    let ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } = tensor.dtype() else {
        bail!("'{name}' is not an FP32 tensor");
    };
    match shape.split_first() {
        Some((_, row)) if row.iter().all(|dim| *dim > 0) => {
            Ok(TensorFacts { name: name.into(), row: row.to_vec() })
        }
        _ => bail!("'{name}' has shape {shape:?}, the bench wants a batch dimension and fixed sizes"),
    }
}
