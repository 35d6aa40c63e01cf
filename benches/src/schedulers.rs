//! What schedulers cost: one server with mnist_mlp under several of them, loaded in turn, round after round.

use std::path::Path;

use anyhow::{Context, Result};

use crate::args::BenchArgs;
use crate::bare::BareRun;
use crate::cell;
use crate::comparison::{Comparison, Contest, compare};
use crate::cpu;
use crate::echo::EchoServer;
use crate::histograms;
use crate::load::{Client, Endpoint, Load, Measured, Transport};
use crate::model::{ModelFacts, Sample, TensorFacts};
use crate::progress::step;
use crate::repository::Scratch;
use crate::server::{Nereid, NereidOptions};

/// Requests in flight, where batching has something to do.
const IN_FLIGHT: usize = 16;
/// Holds one answer, and pushes out those of a load whose inputs never come again.
const CACHE: &str = "--cache-config=local,size=1048576";
const DYNAMIC: &str = "dynamic_batching { }";
const CACHED: &str = "dynamic_batching { } response_cache { enable: true }";

/// Every request of the comparison, by what answers it.
struct Samples {
    default: Sample,
    dynamic: Sample,
    cached: Sample,
    second: Sample,
    ensemble: Sample,
}

/// Compares the schedulers, with mnist_mlp out of `scratch`, which gets further models.
///
/// # Errors
/// The server does not start, or a request failed.
pub fn measure(
    args: &BenchArgs,
    server: &Path,
    scratch: &Scratch,
    mnist: &BareRun,
) -> Result<Vec<Comparison>> {
    step("schedulers");
    let samples = models(scratch, mnist).context("cannot write the models of the comparison")?;
    let nereid = Nereid::start(&NereidOptions {
        program: server.into(),
        repository: scratch.path(),
        args: args.server_arg.iter().cloned().chain([CACHE.to_owned()]).collect(),
        log: scratch.log(),
    })?;
    let cores = cpu::available_cores();
    let floor = EchoServer::start(&samples.dynamic, cores)?;
    let floor_of_second = EchoServer::start(&samples.second, cores)?;
    let mut comparisons = Vec::new();
    for transport in Transport::ALL {
        let load = Load {
            transport,
            in_flight: IN_FLIGHT,
            grpc_connections: args.grpc_connections,
            distinct: false,
        };
        let ends = [floor.endpoint, floor_of_second.endpoint, nereid.endpoint];
        let rounds = cell::on_its_own_thread(args.pin, || rounds(args, load, &samples, ends))?;
        let new = compare(transport.name(), IN_FLIGHT, &rounds);
        new.iter().for_each(|comparison| step(format_args!("    {}", comparison.line())));
        comparisons.extend(new);
    }
    nereid.stop()?;
    Ok(comparisons)
}

fn rounds(
    args: &BenchArgs,
    load: Load,
    samples: &Samples,
    [floor, floor_of_second, server]: [Endpoint; 3],
) -> Result<Vec<Contest>> {
    let open = |endpoint: &Endpoint, load: Load, sample: &Sample| {
        Client::connect(endpoint, load, sample).with_context(|| format!("{} failed", sample.facts.name))
    };
    let anything = |sample: &Sample| Sample { expected: Vec::new(), ..sample.clone() };
    let distinct = Load { distinct: true, ..load };
    let mut floor = open(&floor, load, &anything(&samples.dynamic))?;
    let mut floor_of_second = open(&floor_of_second, load, &anything(&samples.second))?;
    let mut default = open(&server, load, &samples.default)?;
    let mut dynamic = open(&server, load, &samples.dynamic)?;
    let mut second = open(&server, load, &samples.second)?;
    let mut ensemble = open(&server, load, &samples.ensemble)?;
    let mut hit = open(&server, load, &samples.cached)?;
    let mut miss = open(&server, distinct, &anything(&samples.cached))?;
    let length = args.cell() / args.rounds() as u32;
    let stretch = |client: &mut Client| -> Result<Measured> {
        client.run(length / 5)?;
        client.run(length)
    };
    let mut round = || {
        Ok(Contest {
            floor: stretch(&mut floor)?,
            floor_of_second: stretch(&mut floor_of_second)?,
            default: stretch(&mut default)?,
            dynamic: stretch(&mut dynamic)?,
            second: stretch(&mut second)?,
            ensemble: stretch(&mut ensemble)?,
            hit: stretch(&mut hit)?,
            miss: stretch(&mut miss)?,
            histograms_us: histograms::cpu_us()?,
        })
    };
    (0..args.rounds()).map(|_| round()).collect()
}

/// Writes the models beside mnist_mlp.
fn models(scratch: &Scratch, mnist: &BareRun) -> Result<Samples> {
    let facts = &mnist.facts;
    let of_mnist = |name: &str, scheduling: &str| {
        let sample = sample(ModelFacts { name: name.into(), ..facts.clone() }, &mnist.output);
        let config = config("backend: \"onnxruntime\"", &sample.facts, scheduling);
        scratch.add(name, &config, Some(&scratch.model_file)).map(|()| sample)
    };
    let row = &facts.output.row;
    let tensor = |name: &str| TensorFacts { name: name.into(), row: row.clone() };
    let identity = ModelFacts { name: "second".into(), input: tensor("INPUT0"), output: tensor("OUTPUT0") };
    let second = Sample { facts: identity, batch: 1, regions: None, expected: Vec::new() };
    scratch.add("second", &config("backend: \"identity\"", &second.facts, DYNAMIC), None)?;
    let steps = format!(
        "ensemble_scheduling {{ step [
            {{ model_name: \"dynamic\" model_version: -1
              input_map {{ key: \"{input}\" value: \"{input}\" }} output_map {{ key: \"{output}\" value: \"between\" }} }},
            {{ model_name: \"second\" model_version: -1
              input_map {{ key: \"INPUT0\" value: \"between\" }} output_map {{ key: \"OUTPUT0\" value: \"{output}\" }} }}
        ] }}",
        input = facts.input.name,
        output = facts.output.name,
    );
    let ensemble = sample(ModelFacts { name: "ensemble".into(), ..facts.clone() }, &mnist.output);
    scratch.add("ensemble", &config("platform: \"ensemble\"", &ensemble.facts, &steps), None)?;
    Ok(Samples {
        default: of_mnist("default", "")?,
        dynamic: of_mnist("dynamic", DYNAMIC)?,
        cached: of_mnist("cached", CACHED)?,
        second,
        ensemble,
    })
}

fn sample(facts: ModelFacts, expected: &[f32]) -> Sample {
    Sample { facts, batch: 1, regions: None, expected: expected.to_vec() }
}

/// A full config, so that nothing is completed: completing would add `dynamic_batching`.
fn config(backend: &str, facts: &ModelFacts, scheduling: &str) -> String {
    let tensor = |side: &str, tensor: &TensorFacts| {
        format!("{side} {{ name: \"{}\" data_type: TYPE_FP32 dims: {:?} }}\n", tensor.name, tensor.row)
    };
    let (input, output) = (tensor("input", &facts.input), tensor("output", &facts.output));
    format!("{backend}\nmax_batch_size: 8\n{input}{output}{scheduling}\n")
}
