//! Real statistics in, the page out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use nereid_core::Timestamp;
use nereid_scheduler::statistics::{ExecutionTimes, FailureReason};
use nereid_scheduler::{Reporters, SeriesId, Statistics};

use super::families::{self, ServerValues};
use super::gpu::GpuValues;
use super::host::HostValues;
use super::sample::{Sample, Serving};
use super::*;

const SERVING: Serving = Serving { pending: 4, load_duration: Duration::from_millis(1250) };
const HOST: HostValues =
    HostValues { utilization: 0.25, memory_total_bytes: 25_276_510_208, memory_used_bytes: 4096 };

fn all_on() -> MetricsOptions {
    MetricsOptions { histogram_latencies: true, summary_latencies: true, ..Default::default() }
}

fn id(model: &str, version: u64, tags: &[(&str, &str)]) -> SeriesId {
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    SeriesId { model: model.into(), version, tags: tags.collect::<BTreeMap<_, _>>(), ..Default::default() }
}

/// A version that ran a batch of two requests (3 and 5 rows) and failed two.
fn used(reporters: &Reporters) -> Arc<Statistics> {
    let statistics = reporters.version(id("m", 2, &[]), None, false);
    let now = Timestamp::now().plus_us(300_000);
    let before = |us: u64| Timestamp::from_ns(now.as_ns() - us * 1000);
    let times = ExecutionTimes {
        compute_start: before(100_000),
        inputs_ready: before(99_999),
        compute_done: before(1_000),
        end: now,
    };
    statistics.record_success(8, [(before(300_000), 3), (before(100_010), 5)].into_iter(), &times);
    statistics.record_failure(FailureReason::Rejected, 1_000_000);
    statistics.record_failure(FailureReason::Backend, 6_000_000_000);
    statistics
}

fn page(reporters: &Reporters, options: &MetricsOptions) -> Vec<String> {
    let sample = |series: nereid_scheduler::Series| {
        let serving = series.live.as_ref().map(|_| SERVING);
        Sample::new(series, serving)
    };
    let samples: Vec<_> = reporters.series().into_iter().map(sample).collect();
    let server = ServerValues { host: options.cpu.then_some(HOST), ..Default::default() };
    families::render(&samples, &server, options).lines().map(str::to_owned).collect()
}

fn check(page: &[String], lines: &[&str]) {
    for line in lines {
        assert_eq!(page.iter().filter(|l| l == line).count(), 1, "{line}\n{}", page.join("\n"));
    }
}

fn families_of(page: &[String]) -> Vec<&str> {
    page.iter().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect()
}

#[test]
fn counters_and_gauges() {
    let reporters = Reporters::default();
    let _used = used(&reporters);
    check(
        &page(&reporters, &MetricsOptions::default()),
        &[
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
            "# TYPE nv_pinned_memory_pool_total_bytes gauge",
            "nv_pinned_memory_pool_total_bytes 0",
            "nv_pinned_memory_pool_used_bytes 0",
            "# HELP nv_cpu_utilization CPU utilization rate [0.0 - 1.0]",
            "nv_cpu_utilization 0.25",
            "nv_cpu_memory_total_bytes 25276510208",
            "nv_cpu_memory_used_bytes 4096",
        ],
    );
}

#[test]
fn histograms() {
    let reporters = Reporters::new(all_on().latencies());
    let _used = used(&reporters);
    check(
        &page(&reporters, &all_on()),
        &[
            "# TYPE nv_inference_first_response_histogram_ms histogram",
            // The requests took 300 ms and 100.01 ms, and failures count: 1 ms and 6 s.
            "nv_inference_first_response_histogram_ms_bucket{model=\"m\",version=\"2\",le=\"100\"} 1",
            "nv_inference_first_response_histogram_ms_bucket{model=\"m\",version=\"2\",le=\"500\"} 3",
            "nv_inference_first_response_histogram_ms_bucket{model=\"m\",version=\"2\",le=\"2000\"} 3",
            "nv_inference_first_response_histogram_ms_bucket{model=\"m\",version=\"2\",le=\"5000\"} 3",
            "nv_inference_first_response_histogram_ms_bucket{model=\"m\",version=\"2\",le=\"+Inf\"} 4",
            "nv_inference_first_response_histogram_ms_sum{model=\"m\",version=\"2\"} 6401.01",
            "nv_inference_first_response_histogram_ms_count{model=\"m\",version=\"2\"} 4",
            "nereid_inference_queue_duration_seconds_bucket{model=\"m\",version=\"2\",le=\"0.00005\"} 1",
            "nereid_inference_queue_duration_seconds_bucket{model=\"m\",version=\"2\",le=\"0.1\"} 1",
            "nereid_inference_queue_duration_seconds_bucket{model=\"m\",version=\"2\",le=\"0.25\"} 2",
            "nereid_inference_queue_duration_seconds_bucket{model=\"m\",version=\"2\",le=\"10\"} 2",
            "nereid_inference_queue_duration_seconds_bucket{model=\"m\",version=\"2\",le=\"+Inf\"} 2",
            "nereid_inference_queue_duration_seconds_sum{model=\"m\",version=\"2\"} 0.20001",
            "nereid_inference_request_duration_seconds_count{model=\"m\",version=\"2\"} 2",
            "nereid_inference_compute_duration_seconds_sum{model=\"m\",version=\"2\"} 0.2",
        ],
    );
}

#[test]
fn bounds_that_end_in_infinity_are_not_doubled() {
    let reporters = Reporters::new(all_on().latencies());
    let statistics = reporters.version(id("m", 1, &[]), Some(&[0.5, f64::INFINITY]), false);
    statistics.record_failure(FailureReason::Other, 1_000_000);
    let page = page(&reporters, &all_on());
    let of_family = page.iter().filter(|line| line.starts_with("nv_inference_first_response_histogram_ms"));
    let expected = [
        "_count{model=\"m\",version=\"1\"} 1",
        "_sum{model=\"m\",version=\"1\"} 1",
        "_bucket{model=\"m\",version=\"1\",le=\"0.5\"} 0",
        "_bucket{model=\"m\",version=\"1\",le=\"+Inf\"} 1",
    ];
    let expected = expected.map(|line| format!("nv_inference_first_response_histogram_ms{line}"));
    assert!(of_family.eq(&expected), "{}", page.join("\n"));
}

#[test]
fn summaries() {
    let reporters = Reporters::new(all_on().latencies());
    let _used = used(&reporters);
    let page = page(&reporters, &all_on());
    check(
        &page,
        &[
            "# HELP nv_inference_request_summary_us Summary of inference request duration in microseconds \
             (includes cached requests)",
            "# TYPE nv_inference_request_summary_us summary",
            "nv_inference_request_summary_us_count{model=\"m\",version=\"2\"} 2",
            "nv_inference_request_summary_us_sum{model=\"m\",version=\"2\"} 400010",
            "nv_inference_request_summary_us{model=\"m\",version=\"2\",quantile=\"0.5\"} 100010",
            "nv_inference_request_summary_us{model=\"m\",version=\"2\",quantile=\"0.999\"} 300000",
            "nv_inference_queue_summary_us{model=\"m\",version=\"2\",quantile=\"0.9\"} 200000",
            "nv_inference_compute_input_summary_us{model=\"m\",version=\"2\",quantile=\"0.95\"} 1",
            "nv_inference_compute_infer_summary_us{model=\"m\",version=\"2\",quantile=\"0.99\"} 98999",
            "nv_inference_compute_output_summary_us_sum{model=\"m\",version=\"2\"} 2000",
        ],
    );
    assert_eq!(page.iter().filter(|line| line.contains("_summary_us")).count(), 5 * (2 + 2 + 5));
}

#[test]
fn options_choose_families() {
    let of = |options: &MetricsOptions| {
        let reporters = Reporters::new(options.latencies());
        let _version = reporters.version(id("m", 1, &[]), None, false);
        families_of(&page(&reporters, options)).into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = of(&all_on());
    assert_eq!(all.len(), 28);
    let without = |part: &str| all.iter().filter(|name| !name.contains(part)).cloned().collect::<Vec<_>>();
    assert_eq!(of(&MetricsOptions { histogram_latencies: false, ..all_on() }), without("first_response"));
    assert_eq!(of(&MetricsOptions { summary_latencies: false, ..all_on() }), without("_summary_us"));
    assert_eq!(of(&MetricsOptions { counter_latencies: false, ..all_on() }), without("_duration_us"));
    assert_eq!(of(&MetricsOptions { cpu: false, ..all_on() }), without("nv_cpu"));
}

#[test]
fn all_series_of_a_fresh_version_are_there() {
    let reporters = Reporters::new(all_on().latencies());
    let _versions = (reporters.version(id("m", 1, &[]), None, false), used(&reporters));
    let page = page(&reporters, &all_on());
    let of_version = |version: &str| {
        let version = format!("version=\"{version}\"");
        page.iter().filter(|line| line.contains(&version)).collect::<Vec<_>>()
    };
    assert_eq!(of_version("1").len(), of_version("2").len());
    for line in of_version("1") {
        let expected = match line.as_str() {
            line if line.contains("pending") => " 4",
            line if line.contains("load_duration") => " 1.25",
            line if line.contains("quantile") => " Nan",
            _ => " 0",
        };
        assert!(line.ends_with(&format!("}}{expected}")), "{line}");
    }
    assert_eq!(families_of(&page).len(), 28, "a family stands once, whatever the number of models");
}

#[test]
fn only_failures_outlive_their_model() {
    let reporters = Reporters::new(all_on().latencies());
    drop(used(&reporters));
    let page = page(&reporters, &MetricsOptions { cpu: false, ..all_on() });
    let mut expected = vec![
        "# HELP nv_inference_request_failure Number of failed inference requests, all batch sizes",
        "# TYPE nv_inference_request_failure counter",
        "nv_inference_request_failure{model=\"m\",reason=\"REJECTED\",version=\"2\"} 1",
        "nv_inference_request_failure{model=\"m\",reason=\"CANCELED\",version=\"2\"} 0",
        "nv_inference_request_failure{model=\"m\",reason=\"BACKEND\",version=\"2\"} 1",
        "nv_inference_request_failure{model=\"m\",reason=\"OTHER\",version=\"2\"} 0",
    ];
    let of_server = |line: &&String| {
        ["nv_pinned", "nereid_server", "nereid_inflight"].iter().any(|part| line.contains(part))
    };
    expected.extend(page.iter().filter(of_server).map(String::as_str));
    assert_eq!(page, expected);
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
    let reporters = Reporters::default();
    let _version = reporters.version(id("m \"1\"", 1, &tags), None, false);
    check(
        &page(&reporters, &MetricsOptions::default()),
        &["nv_inference_request_failure{_Zone=\"z\",_team=\"a\\\"b\\\\c\\nd\",model=\"m \\\"1\\\"\",\
           reason=\"OTHER\",version=\"1\"} 0"],
    );
}

#[test]
fn models_of_one_name_differ_in_their_namespace() {
    let reporters = Reporters::default();
    let of = |namespace: &str| SeriesId { namespace: namespace.into(), ..id("m", 1, &[("team", "a")]) };
    let versions = ["", "/a", "/b"].map(|namespace| reporters.version(of(namespace), None, false));
    versions.iter().zip(1..).for_each(|(version, times)| {
        (0..times).for_each(|_| version.record_failure(FailureReason::Other, 1));
    });
    check(
        &page(&reporters, &MetricsOptions::default()),
        &[
            "nv_inference_count{_team=\"a\",model=\"m\",version=\"1\"} 0",
            "nv_inference_count{_team=\"a\",model=\"m\",namespace=\"/a\",version=\"1\"} 0",
            "nv_inference_request_failure{_team=\"a\",model=\"m\",reason=\"OTHER\",version=\"1\"} 1",
            "nv_inference_request_failure{_team=\"a\",model=\"m\",namespace=\"/a\",reason=\"OTHER\",version=\"1\"} 2",
            "nv_inference_request_failure{_team=\"a\",model=\"m\",namespace=\"/b\",reason=\"OTHER\",version=\"1\"} 3",
        ],
    );
}

#[test]
fn a_model_on_a_gpu_has_two_series_of_each_family() {
    let reporters = Reporters::new(all_on().latencies());
    let tagged = SeriesId { namespace: "/a".into(), ..id("m", 1, &[("team", "a")]) };
    let version = reporters.version(tagged, None, true);
    let on_gpu = reporters.of_gpu(&version, &"GPU-1".into());
    version.record_failure(FailureReason::Rejected, 1);
    on_gpu.record_failure(FailureReason::Backend, 1);
    let page = page(&reporters, &all_on());
    check(
        &page,
        &[
            "nv_inference_request_failure{_team=\"a\",gpu_uuid=\"GPU-1\",model=\"m\",namespace=\"/a\",\
             reason=\"BACKEND\",version=\"1\"} 1",
            "nv_inference_request_failure{_team=\"a\",gpu_uuid=\"GPU-1\",model=\"m\",namespace=\"/a\",\
             reason=\"REJECTED\",version=\"1\"} 0",
            "nv_inference_request_failure{_team=\"a\",model=\"m\",namespace=\"/a\",reason=\"REJECTED\",\
             version=\"1\"} 1",
            "nv_inference_first_response_histogram_ms_count{_team=\"a\",model=\"m\",namespace=\"/a\",\
             version=\"1\"} 2",
        ],
    );
    let without = |line: &str| line.replace("gpu_uuid=\"GPU-1\",", "");
    let names = |of_gpu: bool| {
        let lines =
            page.iter().filter(move |line| line.contains("{_") && line.contains("gpu_uuid") == of_gpu);
        lines.map(|line| without(line).rsplit_once(' ').unwrap().0.to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(true), names(false));
}

#[test]
fn models_with_the_cache_show_it() {
    let reporters = Reporters::new(all_on().latencies());
    let (cached, _plain) =
        (reporters.version(id("c", 1, &[]), None, true), reporters.version(id("m", 1, &[]), None, false));
    let end = Timestamp::now();
    let arrived = Timestamp::from_ns(end.as_ns() - 70_999);
    cached.record_cache_hit(arrived, 5_999, end);
    cached.record_cache_hit(arrived, 5_999, end);
    cached.record_cache_miss(9_500, end);
    let page_now = page(&reporters, &all_on());
    check(
        &page_now,
        &[
            "# TYPE nv_cache_num_hits_per_model counter",
            "nv_cache_num_hits_per_model{model=\"c\",version=\"1\"} 2",
            "nv_cache_hit_duration_per_model{model=\"c\",version=\"1\"} 10",
            "nv_cache_num_misses_per_model{model=\"c\",version=\"1\"} 1",
            "nv_cache_miss_duration_per_model{model=\"c\",version=\"1\"} 9",
            "nv_inference_request_success{model=\"c\",version=\"1\"} 2",
            "nv_inference_count{model=\"c\",version=\"1\"} 0",
            "nv_inference_request_duration_us{model=\"c\",version=\"1\"} 149",
            "nv_inference_queue_duration_us{model=\"c\",version=\"1\"} 130",
            "# TYPE nv_cache_hit_summary_per_model summary",
            "nv_cache_hit_summary_per_model_count{model=\"c\",version=\"1\"} 2",
            "nv_cache_hit_summary_per_model_sum{model=\"c\",version=\"1\"} 10",
            "nv_cache_miss_summary_per_model_sum{model=\"c\",version=\"1\"} 9",
            "nv_inference_queue_summary_us_count{model=\"c\",version=\"1\"} 2",
            "nv_inference_request_summary_us_count{model=\"m\",version=\"1\"} 0",
        ],
    );
    let shows = |what: &str, model: &str| {
        let model = format!("model=\"{model}\"");
        page_now.iter().any(|line| line.starts_with(what) && line.contains(&model))
    };
    assert!(!shows("nv_inference_request_summary_us", "c") && !shows("nv_cache", "m"));
    let without = MetricsOptions { counter_latencies: false, ..all_on() };
    let without = page(&reporters, &without);
    assert!(
        !without.iter().any(|line| line.contains("nv_cache_num") || line.contains("nv_cache_hit_duration"))
    );
}

#[test]
fn a_cache_in_memory_has_gauges() {
    let cache = nereid_scheduler::CacheValues {
        utilization: 0.5,
        entries: 7,
        hits: 11,
        misses: 3,
        evictions: 2,
        look_up_us: 40,
        insertion_us: 50,
    };
    let server = ServerValues { cache: Some(cache), ..Default::default() };
    let page: Vec<_> = families::render(&[], &server, &all_on()).lines().map(str::to_owned).collect();
    check(
        &page,
        &[
            "# HELP nv_cache_util Cache utilization [0.0 - 1.0]",
            "# TYPE nv_cache_util gauge",
            "nv_cache_util 0.5",
            "nv_cache_num_entries 7",
            "nv_cache_num_hits 11",
            "nv_cache_num_misses 3",
            "nv_cache_num_lookups 14",
            "nv_cache_num_evictions 2",
            "nv_cache_lookup_duration 40",
            "nv_cache_insertion_duration 50",
        ],
    );
}

#[test]
fn gpus_show_what_they_tell() {
    let gpu = GpuValues {
        uuid: "GPU-1".into(),
        utilization: Some(0.37),
        memory_total_bytes: Some(85_899_345_920),
        memory_used_bytes: Some(4096),
        power_usage_watts: Some(123.456),
        power_limit_watts: Some(700.0),
        energy_joules: Some(0.0),
    };
    let part = GpuValues { uuid: "MIG-1".into(), memory_used_bytes: Some(0), ..Default::default() };
    let server = ServerValues { gpus: [gpu, part].into(), ..Default::default() };
    let page = families::render(&[], &server, &MetricsOptions { cpu: false, ..all_on() });
    let expected = "\
# HELP nv_energy_consumption GPU energy consumption in joules since the Triton Server started
# TYPE nv_energy_consumption counter
nv_energy_consumption{gpu_uuid=\"GPU-1\"} 0
# HELP nv_pinned_memory_pool_total_bytes Pinned memory pool total memory size, in bytes
# TYPE nv_pinned_memory_pool_total_bytes gauge
nv_pinned_memory_pool_total_bytes 0
# HELP nv_pinned_memory_pool_used_bytes Pinned memory pool used memory size, in bytes
# TYPE nv_pinned_memory_pool_used_bytes gauge
nv_pinned_memory_pool_used_bytes 0
# HELP nv_gpu_utilization GPU utilization rate [0.0 - 1.0)
# TYPE nv_gpu_utilization gauge
nv_gpu_utilization{gpu_uuid=\"GPU-1\"} 0.37
# HELP nv_gpu_memory_total_bytes GPU total memory, in bytes
# TYPE nv_gpu_memory_total_bytes gauge
nv_gpu_memory_total_bytes{gpu_uuid=\"GPU-1\"} 85899345920
# HELP nv_gpu_memory_used_bytes GPU used memory, in bytes
# TYPE nv_gpu_memory_used_bytes gauge
nv_gpu_memory_used_bytes{gpu_uuid=\"GPU-1\"} 4096
nv_gpu_memory_used_bytes{gpu_uuid=\"MIG-1\"} 0
# HELP nv_gpu_power_usage GPU power usage in watts
# TYPE nv_gpu_power_usage gauge
nv_gpu_power_usage{gpu_uuid=\"GPU-1\"} 123.456
# HELP nv_gpu_power_limit GPU power management limit in watts
# TYPE nv_gpu_power_limit gauge
nv_gpu_power_limit{gpu_uuid=\"GPU-1\"} 700
# HELP nereid_server_ready Whether the server is ready, as health checks are told
# TYPE nereid_server_ready gauge
nereid_server_ready 0
";
    assert!(page.starts_with(expected), "{page}");
}

#[test]
fn families_come_in_tritons_order() {
    // The answer of a real Triton 2.51 to GET /metrics; the load duration and the histogram came later.
    let recorded = [
        "nv_inference_request_success",
        "nv_inference_request_failure",
        "nv_inference_count",
        "nv_inference_exec_count",
        "nv_inference_request_duration_us",
        "nv_inference_queue_duration_us",
        "nv_inference_compute_input_duration_us",
        "nv_inference_compute_infer_duration_us",
        "nv_inference_compute_output_duration_us",
        "nv_inference_pending_request_count",
        "nv_pinned_memory_pool_total_bytes",
        "nv_pinned_memory_pool_used_bytes",
        "nv_cpu_utilization",
        "nv_cpu_memory_total_bytes",
        "nv_cpu_memory_used_bytes",
    ];
    let reporters = Reporters::default();
    let _version = reporters.version(id("m", 1, &[]), None, false);
    let page = page(&reporters, &MetricsOptions::default());
    let ours = families_of(&page);
    let ours = ours.into_iter().filter(|name| name.starts_with("nv_") && !name.contains("load_duration"));
    assert_eq!(ours.collect::<Vec<_>>(), recorded);
}
