//! CPUs: the quota of the control groups, the affinity of the process, the machine, and how long the quota stopped it.

use std::num::NonZero;
use std::thread;

/// The CPUs that the process may use.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Cpus {
    /// CPU time per time that the container may take, such as 1.5.
    pub(crate) quota: Option<f64>,
    /// CPUs that the process may run on.
    pub(crate) affinity: Option<usize>,
    /// CPUs that the machine has.
    pub(crate) machine: Option<usize>,
}

/// How often the quota was used up, since the group was made.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Throttling {
    pub(crate) periods: u64,
    pub(crate) seconds: f64,
}

impl Cpus {
    /// Threads that keep the CPUs busy and do not fight for them: event loops, and the threads of ONNX Runtime. Whole CPUs
    /// of the quota, for a thread more would be stopped in the middle of a batch; at least one.
    ///
    /// The standard library knows affinity and quotas, but not where the groups of a container without a namespace of its
    /// own are mounted.
    pub(crate) fn threads(&self) -> usize {
        let known = thread::available_parallelism().map_or(1, NonZero::get);
        self.quota.map_or(known, |quota| known.min(quota as usize)).max(1)
    }
}

/// The quota from the texts of `cpu.cfs_quota_us` and `cpu.cfs_period_us`; -1 stands for none.
pub(super) fn quota_v1(quota: &str, period: &str) -> Option<f64> {
    ratio(quota, period)
}

/// The quota from the text of `cpu.max`: `max 100000` or `50000 100000`.
pub(super) fn quota_v2(max: &str) -> Option<f64> {
    let mut fields = max.split_ascii_whitespace();
    ratio(fields.next()?, fields.next()?)
}

fn ratio(quota: &str, period: &str) -> Option<f64> {
    let positive = |text: &str| text.trim().parse::<u64>().ok().filter(|us| *us > 0);
    Some(positive(quota)? as f64 / positive(period)? as f64)
}

/// Throttling from the text of `cpu.stat`, of either version.
pub(super) fn throttling(stat: &str) -> Option<Throttling> {
    let value = |name: &str| {
        let mut lines = stat.lines().filter_map(|line| line.split_once(' '));
        lines.find(|(key, _)| *key == name)?.1.trim().parse::<u64>().ok()
    };
    let seconds = match (value("throttled_usec"), value("throttled_time")) {
        (Some(us), _) => us as f64 / 1e6,
        (None, Some(ns)) => ns as f64 / 1e9,
        (None, None) => return None,
    };
    Some(Throttling { periods: value("nr_throttled")?, seconds })
}

/// How many CPUs a list such as `0-3,8` has.
pub(super) fn count(list: &str) -> Option<usize> {
    let ranges = list.trim().split(',').map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    });
    ranges.sum()
}

/// The affinity from the text of `/proc/self/status`.
pub(super) fn affinity(status: &str) -> Option<usize> {
    count(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotas() {
        for (max, expected) in [
            ("max 100000\n", None),
            ("50000 100000\n", Some(0.5)),
            ("250000 100000", Some(2.5)),
            ("100000", None),
            ("0 100000", None),
            ("1 0", None),
            ("-5 100000", None),
            ("x y", None),
            ("", None),
        ] {
            assert_eq!(quota_v2(max), expected, "{max:?}");
        }
        for (quota, period, expected) in [
            ("-1\n", "100000\n", None),
            ("150000\n", "100000\n", Some(1.5)),
            ("0", "100000", None),
            ("1000", "0", None),
            ("", "", None),
        ] {
            assert_eq!(quota_v1(quota, period), expected, "{quota:?} {period:?}");
        }
    }

    #[test]
    fn stopped_by_the_quota() {
        let check = |stat: &str, expected: Option<(u64, f64)>| {
            let found = throttling(stat).map(|found| (found.periods, found.seconds));
            assert_eq!(found, expected, "{stat:?}");
        };
        check("nr_periods 9\nnr_throttled 3\nthrottled_time 2500000000\nnr_bursts 0\n", Some((3, 2.5)));
        check("usage_usec 5\nnr_periods 9\nnr_throttled 4\nthrottled_usec 1500000\n", Some((4, 1.5)));
        check("usage_usec 5\nuser_usec 3\n", None); // the root of version 2
        check("nr_throttled x\nthrottled_usec 1\n", None);
        check("", None);
    }

    #[test]
    fn lists() {
        for (list, expected) in [
            ("0-1\n", Some(2)),
            ("0", Some(1)),
            ("0-3,8,10-11", Some(7)),
            ("", None),
            ("3-1", None),
            ("a-b", None),
            ("0-18446744073709551615", None),
        ] {
            assert_eq!(count(list), expected, "{list:?}");
        }
        let status = "Name:\tx\nCpus_allowed:\t3\nCpus_allowed_list:\t0-1\n";
        assert_eq!(affinity(status), Some(2));
        assert_eq!(affinity("Name:\tx\n"), None);
    }

    #[test]
    fn whole_cpus_of_the_quota_and_one_at_least() {
        let known = thread::available_parallelism().unwrap().get();
        for (quota, expected) in
            [(None, known), (Some(0.5), 1), (Some(1.99), 1), (Some(2.0), 2.min(known)), (Some(1e9), known)]
        {
            assert_eq!(Cpus { quota, ..Default::default() }.threads(), expected, "{quota:?}");
        }
    }
}
