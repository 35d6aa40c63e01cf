"""The metrics page, read by Prometheus' own parser: names, types, labels, and counters that add up."""

import json
import pathlib
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

import digits
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
HISTOGRAMS = [f"nereid_inference_{part}_duration_seconds" for part in ("request", "queue", "compute")]
REASONS = ["BACKEND", "CANCELED", "OTHER", "REJECTED"]


@pytest.fixture(scope="module")
def fresh(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    """A server whose counters start at 0."""
    with serving(repository, tmp_path_factory.mktemp("metrics") / "log") as process:
        yield process


def families(server: Nereid) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(server.metrics())}


def value(server: Nereid, name: str, **labels: str) -> float:
    (sample,) = [s.value for s in families(server)[name].samples if s.labels == labels]
    return sample


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
    ],
)
def test_families_are_chosen(repository: pathlib.Path, tmp_path: pathlib.Path, setting: str, name: str, shown: bool) -> None:
    with serving(repository, tmp_path / "log", f"--metrics-config={setting}") as server:
        assert (name in families(server)) is shown


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


def test_the_metrics_port_can_be_closed(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(repository, tmp_path / "log", "--allow-metrics=false") as server:
        with pytest.raises(ConnectionRefusedError):
            server.metrics()
        assert np.argmax(server.post("/v2/models/mnist_mlp/infer", digits.body("nine")).json()["outputs"][0]["data"]) == 9
