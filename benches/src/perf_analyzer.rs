//! Loads the server with NVIDIA's `perf_analyzer` instead of our own generator, for figures that people
//! know. The program is not ours; it comes with the `tritonclient` wheel.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use crate::load::{Endpoint, Transport};

/// One row of its summary.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    pub transport: &'static str,
    pub in_flight: usize,
    pub requests_per_s: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

/// Runs `program` once, for three windows of `window`.
///
/// # Errors
/// It cannot run, fails, or writes no summary.
pub fn run(
    program: &Path,
    endpoint: &Endpoint,
    model: &str,
    (transport, in_flight): (Transport, usize),
    window: Duration,
) -> Result<Summary> {
    let scratch = tempfile::NamedTempFile::new()?;
    let (address, protocol) = match transport {
        Transport::Http => (endpoint.http, "http"),
        Transport::Grpc => (endpoint.grpc, "grpc"),
    };
    let output = Command::new(program)
        .args(["-m", model, "-i", protocol, "-u", &address.to_string()])
        .args(["--concurrency-range", &in_flight.to_string()])
        .args(["--measurement-interval", &window.as_millis().max(100).to_string()])
        // The bench takes medians itself: three windows, whether they agree or not.
        .args(["--stability-percentage", "999", "--max-trials", "3"])
        .arg("-f")
        .arg(scratch.path())
        .output()
        .with_context(|| format!("cannot run {}", program.display()))?;
    ensure!(
        output.status.success(),
        "{} failed: {}\n{}{}",
        program.display(),
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    let table = std::fs::read_to_string(scratch.path())?;
    summary(&table, transport, in_flight)
        .with_context(|| format!("unexpected summary of perf_analyzer:\n{table}"))
}

/// The first row of its CSV.
fn summary(table: &str, transport: Transport, in_flight: usize) -> Option<Summary> {
    let mut lines = table.lines();
    let names: Vec<&str> = lines.next()?.split(',').collect();
    let values: Vec<&str> = lines.next()?.split(',').collect();
    let column = |name: &str| values.get(names.iter().position(|n| *n == name)?)?.parse().ok();
    Some(Summary {
        transport: transport.name(),
        in_flight,
        requests_per_s: column("Inferences/Second")?,
        p50_us: column("p50 latency")?,
        p99_us: column("p99 latency")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries() {
        let table = "Concurrency,Inferences/Second,Client Send,p50 latency,p99 latency,Avg latency\n\
                     4,1234.5,10,300,900,310\n";
        let got = summary(table, Transport::Grpc, 4).unwrap();
        assert_eq!((got.requests_per_s, got.p50_us, got.p99_us), (1234.5, 300.0, 900.0));
        assert_eq!(summary("Concurrency\n4\n", Transport::Grpc, 4), None);
        assert_eq!(summary("", Transport::Http, 1), None);
    }
}
