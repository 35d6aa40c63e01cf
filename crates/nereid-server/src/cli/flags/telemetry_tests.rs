//! Settings of metrics.

use super::*;
use crate::metrics::{DEFAULT_QUANTILES, MetricsOptions};

#[test]
fn every_setting_of_metrics() {
    let mut draft = Draft::default();
    for setting in [
        "counter_latencies=false",
        "histogram_latencies=true",
        "summary_latencies=false",
        "summary_latencies=true",
        "summary_quantiles=0.5:0.05,1:0",
    ] {
        metrics_config(&mut draft, setting).unwrap();
    }
    let expected = MetricsOptions {
        counter_latencies: false,
        histogram_latencies: true,
        summary_latencies: true,
        summary_quantiles: vec![
            Quantile { quantile: 0.5, error: 0.05 },
            Quantile { quantile: 1.0, error: 0.0 },
        ],
        ..Default::default()
    };
    assert_eq!((draft.options.metrics.families, draft.warnings), (expected, vec![]));
}

#[test]
fn quantiles_that_are_none_are_left_out_and_named() {
    let mut draft = Draft::default();
    let bad = ["0.5", "x:0.1", "0.5:", "2:0.1", "0.5:nan", "-1:0"];
    metrics_config(&mut draft, &format!("summary_quantiles={}", bad.join(","))).unwrap();
    assert_eq!(draft.options.metrics.families.summary_quantiles, DEFAULT_QUANTILES);
    let expected = bad.map(|pair| match pair.contains(':') {
        true => format!("Invalid option: [{pair}]. Error: quantile and error are numbers from 0 to 1"),
        false => {
            format!("Invalid option: [{pair}]. No ':' delimiter found. Expected format is <quantile>:<error>")
        }
    });
    assert_eq!(draft.warnings, expected);
    metrics_config(&mut draft, "summary_quantiles=oops,0.25: 0.01").unwrap();
    let left = [Quantile { quantile: 0.25, error: 0.01 }];
    assert_eq!(draft.options.metrics.families.summary_quantiles, left);
}

#[test]
fn the_interval_is_at_least_a_millisecond() {
    for (number, expected) in
        [(1.5, 1), (2000.0, 2000), (0.0, 1), (-1.0, 1), (f64::NAN, 1), (1e300, u32::MAX)]
    {
        assert_eq!(milliseconds(number), Duration::from_millis(u64::from(expected)), "{number}");
    }
}
