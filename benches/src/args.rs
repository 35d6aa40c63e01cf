//! The command line of the bench and of its children.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::load::Transport;
use crate::model::{ModelFacts, Regions};

/// Measures Nereid beside floors of the same run, and prints a Markdown table.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub job: Option<Job>,
    #[command(flatten)]
    pub bench: BenchArgs,
}

/// What else this program does, for the bench itself and for other scripts.
#[derive(Debug, Subcommand)]
pub enum Job {
    /// Answers every request with a constant
    #[command(hide = true)]
    Echo(EchoArgs),
    /// Runs a model in a library's own loop, without a server; says in JSON what it found and how long it took
    Bare(BareArgs),
    /// Loads a server that runs already, and says in JSON how it answered
    Load(LoadArgs),
}

#[derive(Debug, Args)]
pub struct BenchArgs {
    /// The server [default: $NEREID_BIN, or else target/release/nereid]
    #[arg(long, value_name = "PATH")]
    pub server: Option<PathBuf>,
    /// A further argument for the server; may be repeated
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    pub server_arg: Vec<String>,
    /// Model repository with mnist_mlp and, if it is to be measured, resnet50
    #[arg(long, value_name = "DIR", default_value = "model_repository")]
    pub model_repository: PathBuf,
    /// Seconds of load per cell, spread over the rounds; for resnet50 per round
    #[arg(long, value_name = "S", default_value_t = 3.0, value_parser = seconds)]
    pub seconds: f64,
    /// Rounds per cell; each measures floor, server and bare Run in turn
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub rounds: u16,
    /// A rough picture in a quarter of the time
    #[arg(long)]
    pub quick: bool,
    /// Requests in flight to mnist_mlp
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,4,16,64", value_parser = in_flight)]
    pub concurrency: Vec<usize>,
    /// Requests in flight to resnet50
    #[arg(long, value_name = "N,…", value_delimiter = ',', default_value = "1,4,16,64", value_parser = in_flight)]
    pub resnet_concurrency: Vec<usize>,
    /// Intra-op threads of resnet50, in the server and in the bare loop [default: all cores]
    #[arg(long, value_name = "N")]
    pub resnet_threads: Option<usize>,
    /// Leave resnet50 out
    #[arg(long)]
    pub no_resnet: bool,
    /// Leave the comparison of schedulers out
    #[arg(long)]
    pub no_schedulers: bool,
    /// Measure nothing but the comparison of schedulers
    #[arg(long, conflicts_with = "no_schedulers")]
    pub schedulers_only: bool,
    /// Connections that gRPC streams share, at most one per stream
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = in_flight)]
    pub grpc_connections: usize,
    /// Starts of the server to time
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub starts: u16,
    /// Keep the load generator on the last core (the server stays free to use all)
    #[arg(long)]
    pub pin: bool,
    /// Also write every figure to FILE
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Also load the server with this perf_analyzer
    #[arg(long, value_name = "PATH")]
    pub perf_analyzer: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct EchoArgs {
    /// The model to imitate, as JSON
    #[arg(long, value_parser = facts)]
    pub facts: ModelFacts,
    /// Rows per answer
    #[arg(long)]
    pub batch: usize,
    /// Event loops
    #[arg(long)]
    pub shards: usize,
}

#[derive(Debug, Args)]
pub struct BareArgs {
    #[arg(long)]
    pub model_name: String,
    /// An ONNX file, or a plan for TensorRT
    #[arg(long)]
    pub model_file: PathBuf,
    #[arg(long, value_enum, default_value_t = BareDevice::Cpu)]
    pub device: BareDevice,
    /// Rows per call
    #[arg(long, value_parser = rows)]
    pub batch: usize,
    /// Intra-op threads of ONNX Runtime
    #[arg(long, default_value_t = 1)]
    pub threads: usize,
    /// TensorRT's library, or the folder that has it [default: $TENSORRT_LIB, or else the usual places]
    #[arg(long, value_name = "PATH")]
    pub tensorrt_library: Option<PathBuf>,
    /// Allow the plan to bring code for the host, as a version-compatible one does
    #[arg(long)]
    pub version_compatible: bool,
    /// Loop for so long and end [default: as many microseconds as each line of standard input asks for]
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub seconds: Option<f64>,
}

/// What runs the bare loop, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum BareDevice {
    /// ONNX Runtime's `Run` over host memory
    Cpu,
    /// ONNX Runtime's `Run` over memory of the first GPU
    Cuda,
    /// TensorRT's `enqueueV3` over memory of the first GPU
    Tensorrt,
}

#[derive(Debug, Args)]
pub struct LoadArgs {
    /// Where the server listens
    #[arg(long, value_name = "ADDRESS")]
    pub http: SocketAddr,
    #[arg(long, value_name = "ADDRESS")]
    pub grpc: SocketAddr,
    /// The server's process, whose CPU time is read
    #[arg(long)]
    pub pid: u32,
    /// The model, as `bare` says it
    #[arg(long, value_parser = facts)]
    pub facts: ModelFacts,
    #[arg(long, value_enum, default_value_t = Transport::Http)]
    pub transport: Transport,
    /// Rows per request
    #[arg(long, value_parser = rows)]
    pub batch: usize,
    #[arg(long, value_parser = in_flight)]
    pub in_flight: usize,
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub seconds: f64,
    /// Registered shared memory for the input and for the output (HTTP only); many requests may share it
    #[arg(long, value_name = "INPUT,OUTPUT", value_parser = regions)]
    pub regions: Option<Regions>,
}

impl BenchArgs {
    /// The server's binary.
    pub fn server(&self) -> PathBuf {
        let given = self.server.clone().or_else(|| std::env::var_os("NEREID_BIN").map(PathBuf::from));
        given.unwrap_or_else(|| "target/release/nereid".into())
    }

    /// Rounds per cell.
    pub fn rounds(&self) -> usize {
        if self.quick { self.rounds.min(2).into() } else { self.rounds.into() }
    }

    /// Load per cell, before it is spread over rounds.
    pub fn cell(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { self.seconds / 4.0 } else { self.seconds })
    }

    /// Starts to time.
    pub fn starts(&self) -> usize {
        if self.quick { self.starts.min(3).into() } else { self.starts.into() }
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let range = 0.01..=600.0;
    let seconds = text.parse().map_err(|_| format!("'{text}' is not a number"))?;
    if range.contains(&seconds) { Ok(seconds) } else { Err(format!("{text} is not within 0.01 and 600")) }
}

fn in_flight(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=4096) => Ok(n),
        _ => Err(format!("'{text}' is not a number from 1 to 4096")),
    }
}

fn rows(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(n @ 1..=1024) => Ok(n),
        _ => Err(format!("'{text}' is not a number from 1 to 1024")),
    }
}

fn regions(text: &str) -> Result<Regions, String> {
    let (input, output) = text.split_once(',').ok_or_else(|| format!("'{text}' is not INPUT,OUTPUT"))?;
    Ok(Regions { input: input.into(), output: output.into() })
}

fn facts(text: &str) -> Result<ModelFacts, serde_json::Error> {
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_declarations_are_consistent() {
        Cli::command().debug_assert();
        let parsed = Cli::parse_from(["bench", "--concurrency", "2,8", "--server-arg", "--log-verbose=1"]);
        assert_eq!(parsed.bench.concurrency, [2, 8]);
        assert_eq!(parsed.bench.server_arg, ["--log-verbose=1"]);
        for bad in ["--seconds=0", "--seconds=NaN", "--concurrency=0", "--concurrency=1,,2", "--rounds=0"] {
            assert!(Cli::try_parse_from(["bench", bad]).is_err(), "{bad}");
        }
    }
}
