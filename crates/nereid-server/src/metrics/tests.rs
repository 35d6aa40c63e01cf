//! Real statistics in, the page out.

use nereid_core::Timestamp;
use nereid_scheduler::Statistics;
use nereid_scheduler::statistics::{ExecutionTimes, FailureReason};

use super::sample::labels;
use super::*;

/// A version that ran a batch of two requests (3 and 5 rows) and failed two.
fn sample() -> Sample {
    let at = |us: u64| Timestamp::from_ns(us * 1000);
    let statistics = Statistics::default();
    let times = ExecutionTimes {
        compute_start: at(200_000),
        inputs_ready: at(200_001),
        compute_done: at(299_000),
        end: at(300_000),
    };
    statistics.record_success(8, [(at(0), 3), (at(199_990), 5)].into_iter(), &times);
    statistics.record_failure(FailureReason::Rejected, 1_000);
    statistics.record_failure(FailureReason::Backend, 1_000);
    Sample {
        labels: labels("m", 2, [].into_iter()),
        counts: statistics.snapshot(),
        pending: 4,
        load_duration: std::time::Duration::from_millis(1250),
    }
}

fn page(samples: &[Sample], options: &MetricsOptions) -> Vec<String> {
    families::render(samples, options).lines().map(str::to_owned).collect()
}

#[test]
fn counters_and_gauges() {
    let page = page(&[sample()], &MetricsOptions::default());
    for line in [
        "# HELP nv_inference_request_success Number of successful inference requests, all batch sizes",
        "# TYPE nv_inference_request_success counter",
        "nv_inference_request_success{model=\"m\",version=\"2\"} 2",
        "nv_inference_request_failure{model=\"m\",reason=\"REJECTED\",version=\"2\"} 1",
        "nv_inference_request_failure{model=\"m\",reason=\"CANCELED\",version=\"2\"} 0",
        "nv_inference_request_failure{model=\"m\",reason=\"BACKEND\",version=\"2\"} 1",
        "nv_inference_request_failure{model=\"m\",reason=\"OTHER\",version=\"2\"} 0",
        "nv_inference_count{model=\"m\",version=\"2\"} 8",
        "nv_inference_exec_count{model=\"m\",version=\"2\"} 1",
        "nv_inference_request_duration_us{model=\"m\",version=\"2\"} 400010",
        "nv_inference_queue_duration_us{model=\"m\",version=\"2\"} 200010",
        "nv_inference_compute_input_duration_us{model=\"m\",version=\"2\"} 2",
        "nv_inference_compute_infer_duration_us{model=\"m\",version=\"2\"} 197998",
        "nv_inference_compute_output_duration_us{model=\"m\",version=\"2\"} 2000",
        "# TYPE nv_inference_pending_request_count gauge",
        "nv_inference_pending_request_count{model=\"m\",version=\"2\"} 4",
        "nv_model_load_duration_secs{model=\"m\",version=\"2\"} 1.25",
    ] {
        assert_eq!(page.iter().filter(|l| *l == line).count(), 1, "{line}\n{}", page.join("\n"));
    }
}

#[test]
fn histograms() {
    let page = page(&[sample()], &MetricsOptions { histogram_latencies: true, ..Default::default() });
    for line in [
        "# TYPE nv_inference_first_response_histogram_ms histogram",
        // The requests took 300 ms and 100.01 ms.
        "nv_inference_first_response_histogram_ms_bucket{model=\"m\",version=\"2\",le=\"100\"} 0",
        "nv_inference_first_response_histogram_ms_bucket{model=\"m\",version=\"2\",le=\"500\"} 2",
        "nv_inference_first_response_histogram_ms_bucket{model=\"m\",version=\"2\",le=\"2000\"} 2",
        "nv_inference_first_response_histogram_ms_bucket{model=\"m\",version=\"2\",le=\"5000\"} 2",
        "nv_inference_first_response_histogram_ms_bucket{model=\"m\",version=\"2\",le=\"+Inf\"} 2",
        "nv_inference_first_response_histogram_ms_sum{model=\"m\",version=\"2\"} 400.01",
        "nv_inference_first_response_histogram_ms_count{model=\"m\",version=\"2\"} 2",
        "nereid_inference_queue_duration_seconds_bucket{model=\"m\",version=\"2\",le=\"0.00005\"} 1",
        "nereid_inference_queue_duration_seconds_bucket{model=\"m\",version=\"2\",le=\"0.1\"} 1",
        "nereid_inference_queue_duration_seconds_bucket{model=\"m\",version=\"2\",le=\"0.25\"} 2",
        "nereid_inference_queue_duration_seconds_bucket{model=\"m\",version=\"2\",le=\"10\"} 2",
        "nereid_inference_queue_duration_seconds_bucket{model=\"m\",version=\"2\",le=\"+Inf\"} 2",
        "nereid_inference_queue_duration_seconds_sum{model=\"m\",version=\"2\"} 0.20001",
        "nereid_inference_request_duration_seconds_count{model=\"m\",version=\"2\"} 2",
        "nereid_inference_compute_duration_seconds_sum{model=\"m\",version=\"2\"} 0.2",
    ] {
        assert_eq!(page.iter().filter(|l| *l == line).count(), 1, "{line}\n{}", page.join("\n"));
    }
}

#[test]
fn options_choose_families() {
    let families = |counter_latencies, histogram_latencies| {
        let options = MetricsOptions { counter_latencies, histogram_latencies };
        let of_type =
            |line: &String| line.strip_prefix("# TYPE ").map(|l| l.split(' ').next().unwrap().to_owned());
        page(&[Sample::default()], &options).iter().filter_map(of_type).collect::<Vec<_>>()
    };
    let all = families(true, true);
    assert_eq!(all.len(), 15);
    let without = |part: &str| all.iter().filter(|name| !name.contains(part)).cloned().collect::<Vec<_>>();
    assert_eq!(families(true, false), without("first_response"));
    assert_eq!(families(false, true), without("_duration_us"));
}

#[test]
fn all_series_of_a_fresh_version_are_zero() {
    let fresh = Sample { labels: labels("m", 1, [].into_iter()), ..Sample::default() };
    let page = page(&[fresh, sample()], &MetricsOptions { histogram_latencies: true, ..Default::default() });
    let of_version =
        |version: &str| page.iter().filter(|line| line.contains(&format!("version=\"{version}\""))).count();
    assert_eq!(of_version("1"), of_version("2"));
    assert!(page.iter().filter(|line| line.contains("version=\"1\"")).all(|line| line.ends_with("} 0")));
    let types = page.iter().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(types, 15, "a family stands once, whatever the number of models");
    assert_eq!(render(&[], &MetricsOptions::default()), "");
}

#[test]
fn labels_are_sorted_and_escaped() {
    let tags = [
        ("team", "a\"b\\c\nd"),
        ("Zone", "z"),
        ("not-valid", "x"),
        ("", "x"),
        ("_reserved", "x"),
        ("é", "x"),
    ];
    let tagged = Sample { labels: labels("m", 1, tags.into_iter()), ..Sample::default() };
    let page = page(&[tagged], &MetricsOptions::default());
    let line = "nv_inference_request_failure{_Zone=\"z\",_team=\"a\\\"b\\\\c\\nd\",model=\"m\",reason=\"OTHER\",\
                version=\"1\"} 0";
    assert!(page.iter().any(|l| l == line), "{}", page.join("\n"));
}
