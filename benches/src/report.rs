//! The result: rows of medians over rounds, as a Markdown table and as JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::bare::Loop;
use crate::cell::Round;
use crate::comparison::{self, Comparison};
use crate::load::{Load, Measured};
use crate::perf_analyzer::Summary;
use crate::spread::Spread;
use crate::startup::Startup;

/// Everything that a bench found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub rows: Vec<Row>,
    pub startup: Option<Startup>,
    /// Resident memory of the server of mnist_mlp after all its load.
    pub resident_after_load_mb: Option<f64>,
    pub perf_analyzer: Vec<Summary>,
    pub schedulers: Vec<Comparison>,
    /// Cores that the bench, the server and the floors share.
    pub cores: usize,
    /// Whether the load generator was kept on one core.
    pub pinned: bool,
}

/// One cell. Latencies and CPU time are per request, in µs.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub model: String,
    /// Rows per request.
    pub batch: usize,
    pub transport: &'static str,
    pub in_flight: usize,
    pub requests_per_s: Spread,
    pub p50_us: Spread,
    pub p99_us: Spread,
    pub cpu_us: Spread,
    /// CPU time of the load generator.
    pub client_cpu_us: Spread,
    pub floor_requests_per_s: Spread,
    pub floor_cpu_us: Spread,
    /// CPU time of bare `Run` for the rows of one request, by the first loop's batch.
    pub run_us: Spread,
    /// The same by the second loop's (larger) batch.
    pub run_batched_us: Option<Spread>,
    /// Server CPU ÷ (floor CPU + bare `Run`).
    pub cpu_ratio: Spread,
    /// The same with the larger batch.
    pub cpu_ratio_batched: Option<Spread>,
    /// Rows per second of the server ÷ those of the bare loop; for models where computing is all.
    pub throughput_ratio: Option<Spread>,
}

/// Which model and request a row is about.
#[derive(Debug, Clone, Copy)]
pub struct Cell<'a> {
    pub model: &'a str,
    pub batch: usize,
    pub load: Load,
    /// Rows per call of each bare loop.
    pub run_batches: &'a [usize],
    /// Compare throughput as well.
    pub throughput: bool,
}

impl Row {
    /// Sums up the rounds of one cell; there is at least one bare loop.
    pub fn new(cell: Cell<'_>, rounds: &[Round]) -> Self {
        let server = |value: fn(&Measured) -> f64| Spread::of(rounds.iter().map(|r| value(&r.server)));
        let floor = |value: fn(&Measured) -> f64| Spread::of(rounds.iter().map(|r| value(&r.floor)));
        let per_request = |index: usize| cell.batch as f64 / cell.run_batches[index] as f64;
        let run_us = |round: &Round, index: usize| round.runs[index].cpu_us() * per_request(index);
        let runs = |index: usize| Spread::of(rounds.iter().map(|r| run_us(r, index)));
        let ratio = |index: usize| {
            Spread::of(rounds.iter().map(|r| r.server.cpu_us() / (r.floor.cpu_us() + run_us(r, index))))
        };
        let batched = cell.run_batches.len() > 1;
        let throughput = |r: &Round| {
            let bare = Loop::runs_per_s(&r.runs[0]) / per_request(0);
            r.server.requests_per_s() / bare
        };
        Self {
            model: cell.model.into(),
            batch: cell.batch,
            transport: cell.load.transport.name(),
            in_flight: cell.load.in_flight,
            requests_per_s: server(Measured::requests_per_s),
            p50_us: server(|m| m.latencies.quantile(0.5).as_secs_f64() * 1e6),
            p99_us: server(|m| m.latencies.quantile(0.99).as_secs_f64() * 1e6),
            cpu_us: server(Measured::cpu_us),
            client_cpu_us: server(Measured::client_cpu_us),
            floor_requests_per_s: floor(Measured::requests_per_s),
            floor_cpu_us: floor(Measured::cpu_us),
            run_us: runs(0),
            run_batched_us: batched.then(|| runs(1)),
            cpu_ratio: ratio(0),
            cpu_ratio_batched: batched.then(|| ratio(1)),
            throughput_ratio: cell.throughput.then(|| Spread::of(rounds.iter().map(throughput))),
        }
    }

    /// One line for people who watch.
    pub fn line(&self) -> String {
        let throughput =
            self.throughput_ratio.map_or(String::new(), |s| format!(", {} of bare Run", percent(s.median)));
        format!(
            "{:>7} requests/s, p50 {} µs, p99 {} µs, CPU {} µs = {:.2} × floor and Run{throughput}",
            number(self.requests_per_s.median),
            number(self.p50_us.median),
            number(self.p99_us.median),
            number(self.cpu_us.median),
            self.cpu_ratio.median,
        )
    }

    fn cells(&self) -> Vec<String> {
        let range = |s: Spread| format!("{:.2} ({:.2}–{:.2})", s.median, s.min, s.max);
        let or_dash = |s: Option<String>| s.unwrap_or_else(|| "–".into());
        vec![
            self.model.clone(),
            self.batch.to_string(),
            self.transport.into(),
            self.in_flight.to_string(),
            number(self.requests_per_s.median),
            number(self.p50_us.median),
            number(self.p99_us.median),
            number(self.cpu_us.median),
            number(self.floor_cpu_us.median),
            number(self.run_us.median),
            or_dash(self.run_batched_us.map(|s| number(s.median))),
            range(self.cpu_ratio),
            or_dash(self.cpu_ratio_batched.map(range)),
            or_dash(
                self.throughput_ratio
                    .map(|s| format!("{} ({}–{})", percent(s.median), percent(s.min), percent(s.max))),
            ),
        ]
    }
}

const HEADERS: [&str; 14] = [
    "model",
    "batch",
    "transport",
    "in flight",
    "requests/s",
    "p50 µs",
    "p99 µs",
    "CPU µs",
    "floor CPU µs",
    "Run µs",
    "Run µs (b8)",
    "CPU ÷ (floor + Run)",
    "CPU ÷ (floor + Run b8)",
    "throughput ÷ Run",
];

impl Report {
    /// The tables.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        if !self.rows.is_empty() {
            table(&mut text, &HEADERS, self.rows.iter().map(Row::cells));
        }
        if let Some(startup) = &self.startup {
            let range = |s: Spread| format!("{:.0} ({:.0}–{:.0})", s.median, s.min, s.max);
            let after = self.resident_after_load_mb.map_or("–".into(), |mb| format!("{mb:.0}"));
            let row = vec![
                format!("mnist_mlp, {} starts", startup.starts),
                range(startup.start_to_ready_ms),
                range(startup.resident_mb),
                after,
            ];
            let headers =
                ["server with", "start to ready, ms", "resident when ready, MB", "resident after load, MB"];
            text.push('\n');
            table(&mut text, &headers, [row]);
        }
        if !self.perf_analyzer.is_empty() {
            let row = |s: &Summary| {
                let (rate, p50, p99) = (number(s.requests_per_s), number(s.p50_us), number(s.p99_us));
                vec![s.transport.into(), s.in_flight.to_string(), rate, p50, p99]
            };
            let headers = ["perf_analyzer, mnist_mlp", "in flight", "requests/s", "p50 µs", "p99 µs"];
            text.push('\n');
            table(&mut text, &headers, self.perf_analyzer.iter().map(row));
        }
        if !self.schedulers.is_empty() {
            text.push('\n');
            table(&mut text, &comparison::HEADERS, self.schedulers.iter().map(Comparison::cells));
        }
        let pinned = if self.pinned { "pinned to the last core" } else { "not pinned" };
        let _ = writeln!(text, "\n{} cores, shared by load generator ({pinned}) and server.", self.cores);
        text
    }
}

/// A Markdown table whose columns also line up as plain text: words to the left, numbers to the right.
fn table(text: &mut String, headers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let rows: Vec<Vec<String>> = rows.into_iter().collect();
    let width = |column: usize| {
        let cells = rows.iter().map(|row| row[column].chars().count());
        cells.chain([headers[column].chars().count(), 2]).max().unwrap_or(2)
    };
    let widths: Vec<usize> = (0..headers.len()).map(width).collect();
    let is_word = |column: usize| rows.iter().all(|row| row[column].starts_with(|c: char| c.is_alphabetic()));
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        let _ = writeln!(text, "| {} |", cells.collect::<Vec<_>>().join(" | "));
    };
    let pad = |column: usize, cell: &str| {
        let width = widths[column];
        if is_word(column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
    };
    line(&mut headers.iter().enumerate().map(|(column, header)| pad(column, header)));
    line(&mut widths.iter().enumerate().map(|(column, width)| {
        if is_word(column) { "-".repeat(*width) } else { format!("{}:", "-".repeat(width - 1)) }
    }));
    for row in &rows {
        line(&mut row.iter().enumerate().map(|(column, cell)| pad(column, cell)));
    }
}

/// Three digits that matter, or all before the point.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        v if v < 10.0 => format!("{value:.2}"),
        v if v < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let mut text = String::new();
        table(
            &mut text,
            &["name", "µs"],
            [vec!["a".into(), "1.00".into()], vec!["long one".into(), "200".into()]],
        );
        let expected = "| name     |   µs |\n| -------- | ---: |\n| a        | 1.00 |\n| long one |  200 |\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn numbers() {
        let texts = [1.234, 12.34, 123.4, 71_234.5].map(number);
        assert_eq!(texts, ["1.23", "12.3", "123", "71234"]);
        assert_eq!(percent(0.9789), "97.9 %");
    }
}
