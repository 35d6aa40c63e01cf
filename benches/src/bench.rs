//! The whole bench in order: start-up, mnist_mlp, perf_analyzer if asked for, schedulers, ResNet-50.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::args::BenchArgs;
use crate::bare::BareRun;
use crate::cell::{self, Plan, Subject};
use crate::cpu;
use crate::echo::EchoServer;
use crate::load::{Load, Transport};
use crate::model::{ModelFacts, Sample};
use crate::perf_analyzer;
use crate::progress::step;
use crate::report::{Cell, Report, Row};
use crate::repository::Scratch;
use crate::schedulers;
use crate::server::{Nereid, NereidOptions};
use crate::startup;

const MNIST: &str = "mnist_mlp";
const RESNET: &str = "resnet50";
/// Batches of the bare loop of mnist_mlp: alone, and as the batcher joins them at best.
const MNIST_RUNS: [usize; 2] = [1, 8];
/// Rows per request to ResNet-50.
const RESNET_BATCHES: [usize; 2] = [1, 8];

/// Measures everything that `args` ask for.
///
/// # Errors
/// A model, the server or the library is missing, or a request failed.
pub fn run(args: &BenchArgs) -> Result<Report> {
    let server = args.server();
    ensure!(
        server.is_file(),
        "no server at {}: build it with `cargo build --release -p nereid-server`, or use `cargo xtask bench`",
        server.display()
    );
    let mut report = Report { cores: cpu::available_cores(), pinned: args.pin, ..Report::default() };
    if !args.schedulers_only {
        mnist(args, &server, &mut report)?;
    }
    if !args.no_schedulers {
        let scratch = Scratch::new(&args.model_repository, MNIST, None)?;
        let mnist = BareRun::start(MNIST, &scratch.model_file, 1, 1)?;
        report.schedulers = schedulers::measure(args, &server, &scratch, &mnist)?;
    }
    let repository = args.model_repository.join(RESNET);
    if args.no_resnet || args.schedulers_only {
        step("resnet50 is left out, as asked");
    } else if repository.is_dir() {
        resnet(args, &server, &mut report)?;
    } else {
        step(format_args!(
            "resnet50 is left out: no {} (`cargo xtask models resnet50` makes it)",
            repository.display()
        ));
    }
    Ok(report)
}

fn mnist(args: &BenchArgs, server: &Path, report: &mut Report) -> Result<()> {
    let scratch = Scratch::new(&args.model_repository, MNIST, None)?;
    let options = options(args, server, &scratch);
    if args.starts() > 0 {
        step(format_args!("{} starts of {} with {MNIST}", args.starts(), server.display()));
        let startup = startup::measure(&options, args.starts())?;
        step(format_args!(
            "    ready after {:.0} ms, {:.0} MB resident",
            startup.start_to_ready_ms.median, startup.resident_mb.median
        ));
        report.startup = Some(startup);
    }
    let mut runs = MNIST_RUNS
        .iter()
        .map(|batch| BareRun::start(MNIST, &scratch.model_file, *batch, 1))
        .collect::<Result<Vec<_>>>()?;
    let sample = sample(&runs[0].facts, 1, &runs[0].output);
    let nereid = Nereid::start(&options)?;
    let floor = EchoServer::start(&sample, cpu::available_cores())?;
    let subject = Subject { sample: &sample, server: nereid.endpoint, floor: floor.endpoint };
    let rounds = args.rounds();
    let plan = Plan {
        rounds,
        load: args.cell() / rounds as u32,
        bare_run: Duration::from_millis(200),
        pin: args.pin,
    };
    for transport in Transport::ALL {
        for &in_flight in &args.concurrency {
            let load =
                Load { transport, in_flight, grpc_connections: args.grpc_connections, distinct: false };
            let cell = Cell { model: MNIST, batch: 1, load, run_batches: &MNIST_RUNS, throughput: false };
            report.rows.push(measure(cell, subject, plan, &mut runs)?);
        }
    }
    report.resident_after_load_mb = Some(startup::megabytes(cpu::resident_bytes(nereid.endpoint.pid)?));
    if let Some(program) = &args.perf_analyzer {
        for transport in Transport::ALL {
            for &in_flight in &args.concurrency {
                step(format_args!("perf_analyzer, {}, {in_flight} in flight", transport.name()));
                let what = (transport, in_flight);
                let summary = perf_analyzer::run(program, &nereid.endpoint, MNIST, what, args.cell() / 3)?;
                report.perf_analyzer.push(summary);
            }
        }
    }
    nereid.stop()
}

fn resnet(args: &BenchArgs, server: &Path, report: &mut Report) -> Result<()> {
    let threads = args.resnet_threads.unwrap_or_else(cpu::available_cores);
    let scratch = Scratch::new(&args.model_repository, RESNET, Some(threads))?;
    let threads = scratch.threads.unwrap_or(threads);
    step(format_args!("{RESNET} with {threads} intra-op threads"));
    let nereid = Nereid::start(&options(args, server, &scratch))?;
    for batch in RESNET_BATCHES {
        let mut runs = [BareRun::start(RESNET, &scratch.model_file, batch, threads)?];
        let sample = sample(&runs[0].facts, batch, &runs[0].output);
        let floor = EchoServer::start(&sample, cpu::available_cores())?;
        let subject = Subject { sample: &sample, server: nereid.endpoint, floor: floor.endpoint };
        let plan = Plan { rounds: args.rounds(), load: args.cell(), bare_run: args.cell(), pin: args.pin };
        for transport in Transport::ALL {
            for &in_flight in &args.resnet_concurrency {
                let load =
                    Load { transport, in_flight, grpc_connections: args.grpc_connections, distinct: false };
                let cell = Cell { model: RESNET, batch, load, run_batches: &[batch], throughput: true };
                report.rows.push(measure(cell, subject, plan, &mut runs)?);
            }
        }
    }
    nereid.stop()
}

fn measure(cell: Cell<'_>, subject: Subject<'_>, plan: Plan, runs: &mut [BareRun]) -> Result<Row> {
    let Cell { model, batch, load, .. } = cell;
    let what = format!("{model} batch {batch}, {}, {} in flight", load.transport.name(), load.in_flight);
    step(&what);
    let rounds = cell::measure(subject, load, plan, runs).with_context(|| what)?;
    let row = Row::new(cell, &rounds);
    step(format_args!("    {}", row.line()));
    Ok(row)
}

fn sample(facts: &ModelFacts, batch: usize, expected: &[f32]) -> Sample {
    Sample { facts: facts.clone(), batch, regions: None, expected: expected.to_vec() }
}

fn options(args: &BenchArgs, server: &Path, scratch: &Scratch) -> NereidOptions {
    NereidOptions {
        program: server.into(),
        repository: scratch.path(),
        args: args.server_arg.clone(),
        log: scratch.log(),
    }
}
