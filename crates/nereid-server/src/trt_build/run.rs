//! The command: read, build, write, say what it is.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the command's own output")]

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, anyhow, bail};
use clap::Parser;
use nereid_core::Timestamp;
use nereid_cuda::{Device, driver};
use nereid_tensorrt::builder::{BuildOptions, Builder, OnnxParser, Precision};
use nereid_tensorrt::{Flavor, Library, LoadOptions, LogSink, Severity};

use super::arguments::Arguments;
use super::profile::profile;
use super::progress::Progress;
use super::report;

/// Runs the command with what stands behind `trt-build`.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments =
        match Arguments::try_parse_from([OsString::from("nereid trt-build")].into_iter().chain(arguments)) {
            Ok(arguments) => arguments,
            Err(error) => {
                let _ = error.print(); // there is nowhere else to say it
                return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
            }
        };
    match build(&arguments) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn build(arguments: &Arguments) -> anyhow::Result<String> {
    let options = LoadOptions {
        path: arguments.library.clone(),
        log: log(arguments.verbose),
        ..LoadOptions::default()
    };
    let library = Library::load(&options)?;
    // A library without a builder is refused for that, not for the GPU that it would not need.
    let needs_gpu = library.has_builder() && library.flavor() != Flavor::Rtx;
    let device = if needs_gpu { Some(device(arguments.device)?) } else { None };
    plan(arguments, &library, device.as_ref())
}

/// Builds the plan and writes it; what to print.
pub(super) fn plan(
    arguments: &Arguments,
    library: &Arc<Library>,
    device: Option<&Arc<dyn Device>>,
) -> anyhow::Result<String> {
    let model =
        fs::read(&arguments.onnx).with_context(|| format!("reading '{}'", arguments.onnx.display()))?;
    let start = Timestamp::now();
    let builder = Builder::new(library, device)?;
    let parser = OnnxParser::load(library)?;
    let network = builder.parse(&parser, &model, Some(&arguments.onnx))?;
    drop(model);
    let profile = profile(network.inputs(), arguments).map_err(|why| anyhow!(why))?;
    let options = BuildOptions {
        precisions: precisions(arguments),
        version_compatible: arguments.version_compatible,
        exclude_lean_runtime: arguments.exclude_lean_runtime,
        optimization_level: arguments.optimization_level,
        pools: arguments.pools.clone().unwrap_or_default().0,
        profiles: profile.clone().into_iter().collect(),
    };
    let progress = Progress::start();
    let plan = builder.build(&network, &options)?;
    drop(progress);
    let target = &arguments.save_engine;
    write(target, &plan).with_context(|| format!("writing '{}'", target.display()))?;
    let seconds = Timestamp::now().since(start).as_secs_f64();
    Ok(format!(
        "{}: {} bytes, built by {} {} in {seconds:.1} s\n\n{}",
        target.display(),
        plan.len(),
        library.flavor().name(),
        library.version(),
        report::table(network.inputs(), network.outputs(), profile.as_ref())
    ))
}

fn precisions(arguments: &Arguments) -> Vec<Precision> {
    let flags = [
        (arguments.fp16, Precision::Fp16),
        (arguments.bf16, Precision::Bf16),
        (arguments.int8, Precision::Int8),
    ];
    flags.into_iter().filter(|(given, _)| *given).map(|(_, precision)| precision).collect()
}

fn device(number: usize) -> anyhow::Result<Arc<dyn Device>> {
    let devices = driver::devices().map_err(|why| anyhow!("TensorRT needs a GPU to build for: {why}"))?;
    match devices.get(number) {
        Some(device) => Ok(Arc::clone(device)),
        None => bail!("there is no GPU {number}: there are {}", devices.len()),
    }
}

/// What TensorRT says, on stderr: errors and warnings, or everything.
fn log(verbose: bool) -> LogSink {
    LogSink::new(move |severity, line| {
        if verbose || severity <= Severity::Warning {
            eprintln!("[TensorRT] {severity:?}: {line}");
        }
    })
}

/// Whoever looks at `path` sees what was there, or all of the plan.
fn write(path: &Path, plan: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::other("it names no file"))?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let hidden: PathBuf = path.with_file_name(hidden);
    let written = File::create(&hidden).and_then(|mut file| {
        file.write_all(plan)?;
        file.sync_all()?;
        fs::rename(&hidden, path)
    });
    if written.is_err() {
        let _ = fs::remove_file(&hidden); // the error that matters is the one above
    }
    written
}
