//! The command line of the bench and of its children.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::model::ModelFacts;

/// Measures Nereid beside floors of the same run, and prints a Markdown table.
#[derive(Debug, Parser)]
#[command(name = "bench", args_conflicts_with_subcommands = true)]
pub struct Cli {
    #[command(subcommand)]
    pub job: Option<Job>,
    #[command(flatten)]
    pub bench: BenchArgs,
}

/// What a child of the bench does.
#[derive(Debug, Subcommand)]
pub enum Job {
    /// Answers every request with a constant
    #[command(hide = true)]
    Echo(EchoArgs),
    /// Calls `Run` in a loop
    #[command(hide = true)]
    BareRun(BareRunArgs),
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
pub struct BareRunArgs {
    #[arg(long)]
    pub model_name: String,
    #[arg(long)]
    pub model_file: PathBuf,
    /// Rows per call
    #[arg(long)]
    pub batch: usize,
    /// Intra-op threads
    #[arg(long)]
    pub threads: usize,
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
