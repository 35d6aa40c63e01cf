//! What a scheduler costs beside another way to the same answer: a figure of the round, and the goal for it.

use std::fmt;

use serde::Serialize;

use crate::load::Measured;
use crate::report::number;
use crate::spread::Spread;

/// One comparison, over all rounds. CPU times are the server's per request, in µs.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub what: &'static str,
    pub transport: &'static str,
    pub in_flight: usize,
    /// CPU time of what is judged.
    pub cpu_us: Spread,
    /// CPU time of each that it is compared with.
    pub beside_cpu_us: Vec<Spread>,
    pub result: Spread,
    pub unit: Unit,
    pub goal: Goal,
}

/// What a result counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// µs of CPU time.
    Us,
    Times,
    Percent,
}

/// What a result should be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

impl Goal {
    /// Whether the median reaches it.
    pub fn is_met(self, result: Spread) -> bool {
        match self {
            Self::AtMost(most) => result.median <= most,
            Self::AtLeast(least) => result.median >= least,
        }
    }
}

/// Everything that one round measured, with a load of [`Goal`]'s conditions.
#[derive(Debug, Clone)]
pub struct Contest {
    /// Echo servers of the requests to mnist_mlp and to the second step.
    pub floor: Measured,
    pub floor_of_second: Measured,
    /// mnist_mlp under the default scheduler.
    pub default: Measured,
    /// mnist_mlp with `dynamic_batching`.
    pub dynamic: Measured,
    /// The second step alone.
    pub second: Measured,
    /// mnist_mlp with `dynamic_batching`, then the second step.
    pub ensemble: Measured,
    /// mnist_mlp with a response cache: always the same request, and never.
    pub hit: Measured,
    pub miss: Measured,
    /// CPU time of a request's latency histograms, in µs.
    pub histograms_us: f64,
}

impl Contest {
    fn inside(measured: &Measured, floor: &Measured) -> f64 {
        measured.cpu_us() - floor.cpu_us()
    }

    fn batching_us(&self) -> f64 {
        self.dynamic.cpu_us() - self.default.cpu_us()
    }

    fn batching_speed(&self) -> f64 {
        self.dynamic.requests_per_s() / self.default.requests_per_s()
    }

    /// CPU time inside the server that the ensemble costs beyond its two requests.
    fn ensemble_us(&self) -> f64 {
        Self::inside(&self.ensemble, &self.floor)
            - Self::inside(&self.dynamic, &self.floor)
            - Self::inside(&self.second, &self.floor_of_second)
    }

    /// What histograms take of the CPU time of a request, in percent.
    fn histograms_percent(&self) -> f64 {
        self.histograms_us / self.dynamic.cpu_us() * 100.0
    }

    fn cache(&self) -> f64 {
        Self::inside(&self.hit, &self.floor) / Self::inside(&self.miss, &self.floor)
    }
}

impl Comparison {
    /// One line for people who watch.
    pub fn line(&self) -> String {
        let met = if self.goal.is_met(self.result) { "met" } else { "missed" };
        format!("{}: {}, goal {} {met}", self.what, self.unit.show(self.result), self.goal)
    }

    /// The cells of a table, in the order of [`HEADERS`].
    pub(crate) fn cells(&self) -> Vec<String> {
        let beside: Vec<String> = self.beside_cpu_us.iter().map(|s| number(s.median)).collect();
        vec![
            self.what.into(),
            self.transport.into(),
            self.in_flight.to_string(),
            number(self.cpu_us.median),
            beside.join(", "),
            self.unit.show(self.result),
            self.goal.to_string(),
        ]
    }
}

/// Of [`Comparison::cells`].
pub(crate) const HEADERS: [&str; 7] =
    ["scheduler", "transport", "in flight", "CPU µs", "beside, CPU µs", "result", "goal"];

impl Unit {
    fn show(self, s: Spread) -> String {
        let unit = match self {
            Self::Us => " µs",
            Self::Times => "",
            Self::Percent => " %",
        };
        format!("{:.2}{unit} ({:.2} to {:.2})", s.median, s.min, s.max)
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "≤ {most}"),
            Self::AtLeast(least) => write!(f, "≥ {least}"),
        }
    }
}

type Cpu = fn(&Contest) -> &Measured;

/// The comparisons of `rounds`, each with the goal that issue texts and README name.
pub fn compare(transport: &'static str, in_flight: usize, rounds: &[Contest]) -> Vec<Comparison> {
    let cpu = |of: Cpu| Spread::of(rounds.iter().map(|round| of(round).cpu_us()));
    let one = |what, judged: Cpu, beside: &[Cpu], figure: fn(&Contest) -> f64, unit, goal| Comparison {
        what,
        transport,
        in_flight,
        cpu_us: cpu(judged),
        beside_cpu_us: beside.iter().map(|of| cpu(*of)).collect(),
        result: Spread::of(rounds.iter().map(figure)),
        unit,
        goal,
    };
    let (default, dynamic): (Cpu, Cpu) = (|c| &c.default, |c| &c.dynamic);
    let (second, ensemble): (Cpu, Cpu) = (|c| &c.second, |c| &c.ensemble);
    vec![
        one(
            "dynamic batcher − default scheduler",
            dynamic,
            &[default],
            Contest::batching_us,
            Unit::Us,
            Goal::AtMost(3.0),
        ),
        one(
            "the same, requests/s ÷ requests/s",
            dynamic,
            &[default],
            Contest::batching_speed,
            Unit::Times,
            Goal::AtLeast(1.0),
        ),
        one(
            "ensemble of two steps − both requests, inside",
            ensemble,
            &[dynamic, second],
            Contest::ensemble_us,
            Unit::Us,
            Goal::AtMost(10.0),
        ),
        one(
            "cache hit ÷ miss, inside",
            |c| &c.hit,
            &[|c| &c.miss],
            Contest::cache,
            Unit::Times,
            Goal::AtMost(0.5),
        ),
        Comparison {
            beside_cpu_us: vec![Spread::of(rounds.iter().map(|round| round.histograms_us))],
            ..one(
                "latency histograms of a request, alone",
                dynamic,
                &[],
                Contest::histograms_percent,
                Unit::Percent,
                Goal::AtMost(1.0),
            )
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::latencies::Latencies;

    /// One request, for which the server took `cpu_us` and which took as long.
    fn measured(cpu_us: u64) -> Measured {
        let mut latencies = Latencies::default();
        latencies.record(cpu_us * 1000);
        let elapsed = Duration::from_micros(cpu_us);
        Measured { latencies, elapsed, server_cpu: elapsed, client_cpu: Duration::ZERO }
    }

    #[test]
    fn figures_are_net_of_the_floor() {
        let contest = Contest {
            floor: measured(10),
            floor_of_second: measured(8),
            default: measured(24),
            dynamic: measured(20),
            second: measured(11),
            ensemble: measured(30),
            hit: measured(12),
            miss: measured(26),
            histograms_us: 0.05,
        };
        let results = compare("HTTP", 16, &[contest]);
        let medians: Vec<f64> = results.iter().map(|c| (c.result.median * 1000.0).round() / 1000.0).collect();
        assert_eq!(medians, [-4.0, 1.2, 7.0, 0.125, 0.25]);
        assert!(results.iter().all(|c| c.goal.is_met(c.result)));
        assert!(!Goal::AtMost(3.0).is_met(Spread { median: 3.1, min: 0.0, max: 9.0 }));
        assert!(!Goal::AtLeast(1.0).is_met(Spread { median: 0.9, min: 0.0, max: 9.0 }));
    }
}
