//! What the process may use and what requests in flight have of it, as the page shows it.

use crate::container::Throttling;
use crate::in_flight::Usage;
use crate::service::Service;

/// The limits of the server, and how near it is to them.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Limits {
    pub(super) cpu_quota: Option<f64>,
    pub(super) throttling: Option<Throttling>,
    pub(super) memory: Option<u64>,
    pub(super) in_flight: Usage,
}

impl Limits {
    /// Those of `service` at this moment.
    pub(super) fn now(service: &Service) -> Self {
        let container = service.container();
        Self {
            cpu_quota: container.cpus.quota,
            throttling: container.throttling(),
            memory: container.memory.limit,
            in_flight: service.budget().usage(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::MetricsOptions;
    use super::super::families::{self, ServerValues};
    use super::*;

    #[test]
    fn limits_show_what_is_known() {
        let limits = Limits {
            cpu_quota: Some(1.5),
            throttling: Some(Throttling { periods: 3, seconds: 0.25 }),
            memory: Some(268_435_456),
            in_flight: Usage { limit: Some(80_000_000), in_flight: 5, refused: 2 },
        };
        let server = |limits| ServerValues { limits, ..Default::default() };
        let page = |limits| {
            families::render(&[], &server(limits), &MetricsOptions { cpu: false, ..Default::default() })
        };
        let all = page(limits);
        let all: Vec<_> = all
            .lines()
            .filter(|line| {
                !line.starts_with("# HELP") && line.contains("nereid_") && !line.contains("_ready")
            })
            .collect();
        let expected = [
            "# TYPE nereid_cpu_quota_cores gauge",
            "nereid_cpu_quota_cores 1.5",
            "# TYPE nereid_cpu_throttled_periods_total counter",
            "nereid_cpu_throttled_periods_total 3",
            "# TYPE nereid_cpu_throttled_seconds_total counter",
            "nereid_cpu_throttled_seconds_total 0.25",
            "# TYPE nereid_memory_limit_bytes gauge",
            "nereid_memory_limit_bytes 268435456",
            "# TYPE nereid_inflight_limit_bytes gauge",
            "nereid_inflight_limit_bytes 80000000",
            "# TYPE nereid_inflight_bytes gauge",
            "nereid_inflight_bytes 5",
            "# TYPE nereid_inflight_rejected_requests_total counter",
            "nereid_inflight_rejected_requests_total 2",
        ];
        assert_eq!(all, expected);
        let none = page(Limits::default());
        let none: Vec<_> =
            none.lines().filter(|line| line.starts_with("nereid_") && !line.contains("_ready")).collect();
        assert_eq!(none, ["nereid_inflight_bytes 0", "nereid_inflight_rejected_requests_total 0"]);
    }
}
