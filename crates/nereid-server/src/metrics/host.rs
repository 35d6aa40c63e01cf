//! Processor and memory of the machine, from `/proc` as Triton reads them (`Metrics::ParseCpuInfo`,
//! `Metrics::ParseMemInfo`).
//!
//! Triton reads them on a thread of its own, awake whether anybody looks or not. Here they are read when the page is
//! asked for and the last reading is old enough, so that an idle server stays idle; the utilisation is that of the
//! time between two readings, hence between two scrapes as a rule.

use std::fs::{self, File};
use std::io::Read as _;
use std::time::Duration;

use nereid_core::Timestamp;

/// What the page shows; zeros where `/proc` does not tell, as in Triton.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct HostValues {
    /// 0 to 1. 0 until the first interval is over.
    pub(super) utilization: f64,
    pub(super) memory_total_bytes: u64,
    pub(super) memory_used_bytes: u64,
}

/// The last reading.
#[derive(Debug)]
pub(super) struct Host {
    interval: Duration,
    taken: Timestamp,
    cpu: Option<CpuTimes>,
    values: HostValues,
}

/// Time of all processors together since the machine was started, in an unknown unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CpuTimes {
    busy: u64,
    idle: u64,
}

impl Host {
    /// Reads for the first time; later readings are at least `interval` apart.
    pub(super) fn new(interval: Duration) -> Self {
        let mut host =
            Self { interval, taken: Timestamp::now(), cpu: read_cpu(), values: HostValues::default() };
        host.read_memory();
        if host.cpu.is_none() || host.values.memory_total_bytes == 0 {
            tracing::warn!("CPU metrics may not be available: /proc/stat or /proc/meminfo cannot be read");
        }
        host
    }

    /// What is to be shown now.
    pub(super) fn values(&mut self) -> HostValues {
        let now = Timestamp::now();
        if now.since(self.taken) >= self.interval {
            let cpu = read_cpu();
            self.values.utilization = match (self.cpu, cpu) {
                (Some(before), Some(after)) => utilization(before, after).unwrap_or(self.values.utilization),
                _ => 0.0,
            };
            self.read_memory();
            (self.cpu, self.taken) = (cpu, now);
        }
        self.values
    }

    fn read_memory(&mut self) {
        let memory = fs::read_to_string("/proc/meminfo").ok().and_then(|text| parse_memory(&text));
        (self.values.memory_total_bytes, self.values.memory_used_bytes) = memory.unwrap_or_default();
    }
}

/// The first line of `/proc/stat` is all that is wanted of what may be many kilobytes.
fn read_cpu() -> Option<CpuTimes> {
    let mut start = [0; 256];
    let length = File::open("/proc/stat").and_then(|mut file| file.read(&mut start)).ok()?;
    parse_cpu(&String::from_utf8_lossy(&start[..length]))
}

/// `cpu  user nice system idle iowait irq softirq steal …`; guests are part of user and nice.
fn parse_cpu(text: &str) -> Option<CpuTimes> {
    let (line, _) = text.split_once('\n')?;
    let times = line.strip_prefix("cpu ")?.split_ascii_whitespace().take(8);
    let times: Vec<u64> = times.map(|time| time.parse().ok()).collect::<Option<_>>()?;
    let [user, nice, system, idle, iowait, irq, softirq, steal] = times.try_into().ok()?;
    let sum = |times: &[u64]| times.iter().fold(0_u64, |sum, time| sum.saturating_add(*time));
    Some(CpuTimes { busy: sum(&[user, nice, system, irq, softirq, steal]), idle: sum(&[idle, iowait]) })
}

/// The busy share of the time between two readings; `None` if no time has passed.
fn utilization(before: CpuTimes, after: CpuTimes) -> Option<f64> {
    let busy = after.busy.saturating_sub(before.busy) as f64;
    let all = busy + after.idle.saturating_sub(before.idle) as f64;
    (all > 0.0).then(|| busy / all)
}

/// Bytes in total and in use: what is not available for a new program.
fn parse_memory(text: &str) -> Option<(u64, u64)> {
    let bytes = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        value.split_ascii_whitespace().next()?.parse::<u64>().ok()?.checked_mul(1024)
    };
    let total = bytes("MemTotal")?;
    Some((total, total.checked_sub(bytes("MemAvailable")?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor() {
        let check = |text: &str, expected: Option<(u64, u64)>| {
            assert_eq!(parse_cpu(text).map(|times| (times.busy, times.idle)), expected, "{text}");
        };
        check("cpu  1 2 3 40 50 6 7 8 900 1000\ncpu0 1 1 1 1\n", Some((1 + 2 + 3 + 6 + 7 + 8, 90)));
        check("cpu  1 2 3 40 50 6 7 8\n", Some((27, 90)));
        check("cpu  18446744073709551615 2 3 40 50 6 7 8\n", Some((u64::MAX, 90)));
        for text in
            ["", "cpu  1 2 3 40 50 6 7\n", "cpu0 1 2 3 4 5 6 7 8\n", "cpu  1 2 3 x 5 6 7 8\n", "cpu  1 2 3 4"]
        {
            check(text, None);
        }
    }

    #[test]
    fn busy_share() {
        let times = |busy: u64, idle: u64| CpuTimes { busy, idle };
        let check = |before, after, expected| assert_eq!(utilization(before, after), expected);
        check(times(10, 10), times(40, 20), Some(0.75));
        check(times(10, 10), times(10, 20), Some(0.0));
        check(times(10, 10), times(20, 10), Some(1.0));
        check(times(10, 10), times(20, 9), Some(1.0)); // counters of idle time may run backwards
        check(times(10, 10), times(10, 10), None);
    }

    #[test]
    fn memory() {
        let check =
            |text: &str, expected: Option<(u64, u64)>| assert_eq!(parse_memory(text), expected, "{text}");
        check("MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:   30 kB\n", Some((102_400, 71_680)));
        check("MemAvailable: 0 kB\nMemTotal: 1 kB", Some((1_024, 1_024)));
        for text in
            ["", "MemTotal: 1 kB", "MemTotal: 1 kB\nMemAvailable: 2 kB", "MemTotal: x\nMemAvailable: 1"]
        {
            check(text, None);
        }
    }

    #[test]
    fn this_machine() {
        let mut host = Host::new(Duration::ZERO);
        let values = host.values();
        assert!((0.0..=1.0).contains(&values.utilization));
        assert!(0 < values.memory_used_bytes && values.memory_used_bytes < values.memory_total_bytes);
        assert_eq!(Host::new(Duration::from_secs(3600)).values().utilization, 0.0);
    }
}
