"""The metrics page, read by Prometheus' own parser: names, types, labels, and counters that add up."""

import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

import digits
import models
from exposition import families, value
from nereid_process import Nereid, free_port, serving, wait_until

COUNTERS = [
    "nv_inference_request_success",
    "nv_inference_request_failure",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_request_duration_us",
    "nv_inference_queue_duration_us",
    "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_compute_output_duration_us",
]
GAUGES = ["nv_inference_pending_request_count", "nv_model_load_duration_secs"]
SERVER_GAUGES = [
    "nv_pinned_memory_pool_total_bytes",
    "nv_pinned_memory_pool_used_bytes",
    "nv_cpu_utilization",
    "nv_cpu_memory_total_bytes",
    "nv_cpu_memory_used_bytes",
]
SUMMARIES = [f"nv_inference_{part}_summary_us" for part in ("request", "queue", "compute_input", "compute_infer", "compute_output")]
HISTOGRAMS = [f"nereid_inference_{part}_duration_seconds" for part in ("request", "queue", "compute")]
REASONS = ["BACKEND", "CANCELED", "OTHER", "REJECTED"]


@pytest.fixture(scope="module")
def fresh(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    """A server whose counters start at 0."""
    with serving(repository, tmp_path_factory.mktemp("metrics") / "log") as process:
        yield process


def test_every_family_has_help_type_and_labels(fresh: Nereid) -> None:
    page = families(fresh)
    for name, kind in [(n, "counter") for n in COUNTERS] + [(n, "gauge") for n in GAUGES]:
        family = page[name]
        assert (family.type, bool(family.documentation)) == (kind, True), name
        mine = [s.labels for s in family.samples if s.labels["model"] == "mnist_mlp"]
        if name == "nv_inference_request_failure":
            assert sorted(m["reason"] for m in mine) == REASONS
            assert all(m.keys() == {"model", "version", "reason"} for m in mine)
        else:
            assert mine == [{"model": "mnist_mlp", "version": "1"}], name


def test_the_server_has_series_without_labels(fresh: Nereid) -> None:
    page = families(fresh)
    for name in SERVER_GAUGES:
        (sample,) = page[name].samples
        assert (page[name].type, sample.labels) == ("gauge", {}), name
    values = {name: page[name].samples[0].value for name in SERVER_GAUGES}
    with open("/proc/meminfo") as meminfo:
        total = next(int(line.split()[1]) * 1024 for line in meminfo if line.startswith("MemTotal:"))
    assert values["nv_cpu_memory_total_bytes"] == total
    assert 0 < values["nv_cpu_memory_used_bytes"] < total
    assert 0 <= values["nv_cpu_utilization"] <= 1
    assert not any(name.startswith(("nv_cache", "nv_gpu")) for name in page), "there is no cache and no GPU"


def test_cpu_utilization_is_measured_between_scrapes(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(repository, tmp_path / "log", "--metrics-interval-ms=1") as server:

        def used() -> bool:
            """Something runs on this machine while this test does."""
            return 0 < value(server, "nv_cpu_utilization") <= 1

        wait_until(used, 30, "some processor is used")
    with serving(repository, tmp_path / "log", "--metrics-interval-ms=3600000") as server:
        assert value(server, "nv_cpu_utilization") == 0, "the first interval is not over"
    with serving(repository, tmp_path / "log", "--allow-cpu-metrics=false") as server:
        assert not any(name.startswith("nv_cpu") for name in families(server))


def test_help_and_type_stand_before_the_samples_once(fresh: Nereid) -> None:
    lines = fresh.metrics().splitlines()
    for name in COUNTERS + GAUGES:
        assert sum(line.startswith(f"# HELP {name} ") for line in lines) == 1, name
        assert sum(line.startswith(f"# TYPE {name} ") for line in lines) == 1, name
    assert 'nv_inference_request_failure{model="mnist_mlp",reason="REJECTED",version="1"} 0' in lines


def test_the_endpoint(fresh: Nereid) -> None:
    answer = fresh.request("GET", "/metrics", port=fresh.metrics_port)
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert fresh.request("GET", "/metrics/", port=fresh.metrics_port).status == 200
    other = fresh.request("GET", "/other", port=fresh.metrics_port)
    assert (other.status, other.body) == (200, b"")
    assert fresh.request("POST", "/metrics", port=fresh.metrics_port).status == 405


def test_counters_add_up_with_what_was_sent(fresh: Nereid) -> None:
    labels = {"model": "mnist_mlp", "version": "1"}
    before = {name: value(fresh, name, **labels) for name in COUNTERS if name != "nv_inference_request_failure"}
    images = digits.images()
    for name in ("one", "two", "three"):
        assert fresh.post("/v2/models/mnist_mlp/infer", digits.body(name)).status == 200
    with grpcclient.InferenceServerClient(fresh.grpc) as client:
        tensor = grpcclient.InferInput("input", [5, 1, 28, 28], "FP32")
        tensor.set_data_from_numpy(images[:5])
        client.infer("mnist_mlp", [tensor])
    refused = fresh.post("/v2/models/mnist_mlp/infer", {"inputs": []})
    assert refused.status == 400
    grown = {name: value(fresh, name, **labels) - old for name, old in before.items()}
    assert grown["nv_inference_request_success"] == 4
    assert grown["nv_inference_count"] == 3 + 5
    assert grown["nv_inference_exec_count"] == 4
    parts = sum(grown[f"nv_inference_{p}_duration_us"] for p in ("queue", "compute_input", "compute_infer", "compute_output"))
    assert 0 < parts <= grown["nv_inference_request_duration_us"] + 4 * 4, "each duration is cut to whole microseconds"
    for reason in REASONS:  # a refusal before the queue counts nowhere, as in Triton
        assert value(fresh, "nv_inference_request_failure", reason=reason, **labels) == 0
    assert value(fresh, "nv_inference_pending_request_count", **labels) == 0
    assert value(fresh, "nv_model_load_duration_secs", **labels) > 0


def test_statistics_and_metrics_say_the_same(fresh: Nereid) -> None:
    assert fresh.post("/v2/models/mnist_mlp/infer", digits.body("six")).status == 200
    (stats,) = fresh.get("/v2/models/mnist_mlp/stats").json()["model_stats"]
    labels = {"model": "mnist_mlp", "version": "1"}
    assert value(fresh, "nv_inference_count", **labels) == stats["inference_count"]
    assert value(fresh, "nv_inference_exec_count", **labels) == stats["execution_count"]
    assert value(fresh, "nv_inference_request_success", **labels) == stats["inference_stats"]["success"]["count"]
    assert abs(value(fresh, "nv_inference_request_duration_us", **labels) - stats["inference_stats"]["success"]["ns"] / 1000) <= stats["inference_count"]


def test_latency_histograms_count_every_request(fresh: Nereid) -> None:
    def samples(name: str) -> list:
        return [s for s in families(fresh)[name].samples if s.labels["model"] == "mnist_mlp"]

    def count(name: str) -> float:
        return next(s.value for s in samples(name) if s.name == f"{name}_count")

    before = {name: count(name) for name in HISTOGRAMS}
    for name in digits.NAMES:
        assert fresh.post("/v2/models/mnist_mlp/infer", digits.body(name)).status == 200
    for name in HISTOGRAMS:
        assert families(fresh)[name].type == "histogram"
        assert count(name) - before[name] == len(digits.NAMES)
        buckets = [(float(s.labels["le"]), s.value) for s in samples(name) if s.name == f"{name}_bucket"]
        assert buckets == sorted(buckets) and buckets[-1] == (float("inf"), count(name))
        assert [value for _, value in buckets] == sorted(value for _, value in buckets), "each bucket holds the ones before it"


@pytest.mark.parametrize(
    ("setting", "name", "shown"),
    [
        ("histogram_latencies=true", "nv_inference_first_response_histogram_ms", True),
        ("histogram_latencies=false", "nv_inference_first_response_histogram_ms", False),
        ("counter_latencies=true", "nv_inference_queue_duration_us", True),
        ("counter_latencies=false", "nv_inference_queue_duration_us", False),
        ("counter_latencies=false", "nv_inference_count", True),
        ("counter_latencies=false", "nv_inference_request_failure", True),
        ("summary_latencies=true", "nv_inference_request_summary_us", True),
        ("summary_latencies=false", "nv_inference_request_summary_us", False),
    ],
)
def test_families_are_chosen(repository: pathlib.Path, tmp_path: pathlib.Path, setting: str, name: str, shown: bool) -> None:
    with serving(repository, tmp_path / "log", f"--metrics-config={setting}") as server:
        assert (name in families(server)) is shown


def test_counts_go_on_without_latencies(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """Triton shows these counters then, and leaves them at 0."""
    with serving(repository, tmp_path / "log", "--metrics-config=counter_latencies=false") as server:
        assert server.post("/v2/models/mnist_mlp/infer", digits.body("one")).status == 200
        for name in ("nv_inference_request_success", "nv_inference_count", "nv_inference_exec_count"):
            assert value(server, name, model="mnist_mlp", version="1") == 1, name


@pytest.mark.parametrize("quantiles", [None, "0.25:0.01,0.75:0.01"])
def test_summaries_hold_quantiles_of_the_last_minute(repository: pathlib.Path, tmp_path: pathlib.Path, quantiles: str | None) -> None:
    flags = ["--metrics-config=summary_latencies=true"] + ([f"--metrics-config=summary_quantiles={quantiles}"] if quantiles else [])
    wanted = ["0.25", "0.75"] if quantiles else ["0.5", "0.9", "0.95", "0.99", "0.999"]
    with serving(repository, tmp_path / "log", *flags) as server:
        for name in digits.NAMES:
            assert server.post("/v2/models/mnist_mlp/infer", digits.body(name)).status == 200
        page, text = families(server), server.metrics()
        parts = 0.0
        for name in SUMMARIES:
            assert page[name].type == "summary"
            mine = [s for s in page[name].samples if s.labels["model"] == "mnist_mlp"]
            assert [s.name for s in mine] == [f"{name}_count", f"{name}_sum"] + [name] * len(wanted), "in prometheus-cpp's order"
            count, total, *rest = (s.value for s in mine)
            assert [s.labels["quantile"] for s in mine[2:]] == wanted
            assert count == len(digits.NAMES)
            assert rest == sorted(rest) and rest[-1] <= total and all(value == int(value) for value in rest)
            assert value(server, name.replace("summary", "duration"), model="mnist_mlp", version="1") == total
            parts += total if name != SUMMARIES[0] else -total
            assert f'{name}{{model="slow",version="1",quantile="{wanted[0]}"}} Nan' in text.splitlines(), "nothing was measured"
        assert parts <= 0, "the parts are in the whole"


def test_a_model_has_tags_and_bounds_of_its_own(tmp_path: pathlib.Path) -> None:
    """Also a name that has to be escaped, and bounds that put every request above them."""
    repository, name = tmp_path / "repository", 'a "quoted" name'
    config = """
      metric_tags { key: "team" value: "a\\"b\\\\c\\nd" }
      model_metrics { metric_control {
        metric_identifier { family: "nv_inference_first_response_histogram_ms" }
        histogram_options { buckets: [ 0.0001, 60000 ] }
      } metric_control {
        metric_identifier { family: "nv_inference_count" } histogram_options { buckets: [ 1 ] }
      } }
    """
    models.write(repository, name, models.identity("FP32"), config)
    with serving(repository, tmp_path / "log", "--metrics-config=histogram_latencies=true") as server:
        with grpcclient.InferenceServerClient(server.grpc) as client:
            tensor = grpcclient.InferInput("INPUT0", [1, 1], "FP32")
            tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
            client.infer(name, [tensor])
        labels = {"model": name, "version": "1", "_team": 'a"b\\c\nd'}
        assert value(server, "nv_inference_count", **labels) == 1
        assert value(server, "nv_inference_request_failure", reason="BACKEND", **labels) == 0
        samples = families(server)["nv_inference_first_response_histogram_ms"].samples
        buckets = [(s.labels.pop("le"), s.value) for s in samples if s.name.endswith("_bucket")]
        assert buckets == [("0.0001", 0), ("60000", 1), ("+Inf", 1)]
        assert all(s.labels == labels for s in samples)
        assert "Metric family 'nv_inference_count' in 'metric_identifier' is not a customizable metric" in server.log()


def test_promtool_finds_nothing_wrong_but_names(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    program = shutil.which("promtool")
    if program is None:
        pytest.skip("no promtool on PATH")
    flags = ["--metrics-config=summary_latencies=true", "--metrics-config=histogram_latencies=true"]
    with serving(repository, tmp_path / "log", *flags) as server:
        assert server.post("/v2/models/mnist_mlp/infer", digits.body("two")).status == 200
        checked = subprocess.run([program, "check", "metrics"], input=server.metrics().encode(), capture_output=True, timeout=60)
    said = (checked.stdout + checked.stderr).decode()
    assert checked.returncode in (0, 3), said  # 3: advice on Triton's names; 1: not a metrics page
    advice = ("counter metrics should have", "use base unit", "should not contain abbreviated units", "should not include type", 'should not have "_count"')
    assert [line for line in said.splitlines() if line.strip() and not any(a in line for a in advice)] == []


def test_a_real_prometheus_scrapes_the_port(fresh: Nereid, tmp_path: pathlib.Path) -> None:
    program = shutil.which("prometheus")
    if program is None:
        # Not a lesser pass of this test: the page was read by the Python parser above, and only that.
        print("no prometheus on PATH: only its Python parser has read the page")
        pytest.skip("no prometheus on PATH")
    config = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "nereid", "static_configs": [{"targets": [f"127.0.0.1:{fresh.metrics_port}"]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    address = f"127.0.0.1:{free_port()}"
    arguments = [f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address={address}"]
    sent = value(fresh, "nv_inference_count", model="mnist_mlp", version="1")

    def query(text: str) -> list[dict]:
        try:
            with urllib.request.urlopen(f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': text})}", timeout=5) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []

    with open(tmp_path / "log", "wb") as log, subprocess.Popen([program, *arguments], stdout=log, stderr=log) as process:
        try:
            (result,) = wait_until(lambda: query('nv_inference_count{model="mnist_mlp"}'), 60, "Prometheus has scraped the counter")
            assert float(result["value"][1]) == sent
            assert query("up")[0]["value"][1] == "1"
        finally:
            process.terminate()


def test_the_metrics_port_has_an_address_of_its_own(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(repository, tmp_path / "log", "--metrics-address=127.0.0.2") as server:
        with pytest.raises(ConnectionRefusedError):
            server.metrics()
        with urllib.request.urlopen(f"http://127.0.0.2:{server.metrics_port}/metrics", timeout=30) as answer:
            assert b"nv_inference_count" in answer.read()


def test_only_get_and_only_the_page(fresh: Nereid) -> None:
    def status(method: str, path: str, body: bytes = b"") -> tuple[int, str | None, int]:
        answer = fresh.request(method, path, body, port=fresh.metrics_port)
        return answer.status, answer.headers["Content-Type"], len(answer.body)

    page = status("GET", "/metrics")
    assert page[:2] == (200, "text/plain; charset=utf-8") and page[2] > 1000
    assert status("GET", "/metrics/?name=x")[:2] == page[:2]
    for path in ("/", "/metrics/x", "/metricsx", "/Metrics", "/%6detrics", "/v2/health/ready"):
        assert status("GET", path) == (200, "text/plain; charset=utf-8", 0), path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH"):
        assert status(method, "/metrics", b"x" * 100_000)[:2] == (405, "text/plain"), method
    assert status("HEAD", "/metrics")[0] == 405


def test_hostile_scrapers_disturb_nobody(fresh: Nereid) -> None:
    def connect(sent: bytes) -> socket.socket:
        connection = socket.create_connection(("127.0.0.1", fresh.metrics_port), timeout=30)
        connection.sendall(sent)
        return connection

    with contextlib.ExitStack() as stack:
        for _ in range(100):
            # Asks again and again, and never reads.
            stack.enter_context(connect(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50))
            # Never comes to an end.
            stack.enter_context(connect(b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\n\r\n"))
            stack.enter_context(connect(b"GET /metr"))
        huge = stack.enter_context(connect(b"GET /metrics HTTP/1.1\r\nX: "))
        with contextlib.suppress(OSError):
            huge.sendall(b"x" * 10_000_000)
            assert huge.recv(100).startswith((b"HTTP/1.1 431", b"HTTP/1.1 400"))
        for name in digits.NAMES:
            assert fresh.post("/v2/models/mnist_mlp/infer", digits.body(name)).status == 200
            assert value(fresh, "nv_inference_count", model="mnist_mlp", version="1") >= 1


def test_the_metrics_port_can_be_closed(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(repository, tmp_path / "log", "--allow-metrics=false") as server:
        with pytest.raises(ConnectionRefusedError):
            server.metrics()
        assert np.argmax(server.post("/v2/models/mnist_mlp/infer", digits.body("nine")).json()["outputs"][0]["data"]) == 9
