"""Metrics and statistics over the life of a model: unloaded, loaded again, replaced while it serves."""

import pathlib
import threading
from collections.abc import Iterator

import pytest

import models
from exposition import families, shown, value
from nereid_process import Nereid, serving, wait_until

CONFIG = """
backend: "onnxruntime"
max_batch_size: 8
input [ {{ name: "INPUT" data_type: TYPE_INT64 dims: [ 1 ] }} ]
output [ {{ name: "OUTPUT" data_type: TYPE_INT64 dims: [ 1 ] }} ]
dynamic_batching {{ }}
parameters {{ key: "edition" value {{ string_value: "{edition}" }} }}
"""
SERIES = {"model": "m", "version": "1"}
FLAGS = ["--model-control-mode=explicit", "--load-model=m", "--metrics-config=summary_latencies=true", "--metrics-config=histogram_latencies=true"]


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Nereid]:
    models.write(tmp_path / "repository", "m", models.gather(), CONFIG.format(edition=0))
    with serving(tmp_path / "repository", tmp_path / "log", *FLAGS) as process:
        yield process


def ask(server: Nereid, index: int) -> int:
    body = {"inputs": [{"name": "INPUT", "shape": [1, 1], "datatype": "INT64", "data": [index]}]}
    return server.post("/v2/models/m/infer", body).status


def control(server: Nereid, action: str) -> None:
    answer = server.post(f"/v2/repository/models/m/{action}")
    assert answer.status == 200, answer.body


def edit(tmp_path: pathlib.Path, edition: int) -> None:
    """A config that differs, because loading what has not changed need not do anything."""
    (tmp_path / "repository/m/config.pbtxt").write_text(CONFIG.format(edition=edition))


def unloaded(server: Nereid) -> bool:
    (entry,) = server.post("/v2/repository/index").json()
    return entry.get("reason") == "unloaded"


def counts(server: Nereid) -> tuple[float, float, float, float]:
    """Inferences and failures by the metrics, then by the statistics."""
    (stats,) = server.get("/v2/models/m/stats").json()["model_stats"]
    return (
        value(server, "nv_inference_count", **SERIES),
        value(server, "nv_inference_request_failure", reason="BACKEND", **SERIES),
        stats["inference_count"],
        stats["inference_stats"]["fail"]["count"],
    )


def test_metrics_go_with_the_model_but_for_failures(server: Nereid) -> None:
    assert [ask(server, index) for index in (1, 2, 9)] == [200, 200, 500]
    assert counts(server) == (2, 1, 2, 1)
    assert len(shown(server, "m")) == 9 + 2 + 1 + 5 + 3 + 3 + 1
    control(server, "unload")
    wait_until(lambda: unloaded(server), 30, "the model is gone")
    assert shown(server, "m") == {"nv_inference_request_failure"}
    assert value(server, "nv_inference_request_failure", reason="BACKEND", **SERIES) == 1
    assert families(server)["nv_cpu_memory_total_bytes"].samples, "the rest of the page stays"
    control(server, "load")
    assert counts(server) == (0, 1, 0, 0)
    assert [ask(server, index) for index in (3, 8)] == [200, 500]
    assert counts(server) == (1, 2, 1, 1)


def test_metrics_go_on_when_one_version_takes_over_from_another(server: Nereid, tmp_path: pathlib.Path) -> None:
    assert [ask(server, index) for index in (1, 2, 9)] == [200, 200, 500]
    for edition in (1, 2, 3):
        edit(tmp_path, edition)
        control(server, "load")
        assert counts(server) == (1 + edition, 1, 0, 0), "statistics belong to the new object, metrics to the name"
        assert ask(server, 0) == 200
        assert counts(server) == (2 + edition, 1, 1, 0)
    (summary,) = [s.value for s in families(server)["nv_inference_request_summary_us"].samples if s.name.endswith("_count")]
    (responses,) = [s.value for s in families(server)["nv_inference_first_response_histogram_ms"].samples if s.name.endswith("_count")]
    assert (summary, responses) == (5, 6), "a failure is a first response, too"


def test_a_load_that_fails_leaves_metrics_and_statistics(server: Nereid, tmp_path: pathlib.Path) -> None:
    assert ask(server, 1) == 200
    (tmp_path / "repository/m/config.pbtxt").write_text(CONFIG.format(edition=1) + 'parameters { key: "x" ')
    assert server.post("/v2/repository/models/m/load").status >= 400
    assert counts(server) == (1, 0, 1, 0)
    assert ask(server, 1) == 200
    assert counts(server) == (2, 0, 2, 0)


def test_counters_never_fall_while_a_model_is_replaced_under_load(server: Nereid, tmp_path: pathlib.Path) -> None:
    done, sent, problems = threading.Event(), [0, 0], []

    def send(thread: int) -> None:
        while not done.is_set():
            if ask(server, 1) != 200:
                problems.append("a request failed")
            sent[thread] += 1

    def scrape() -> None:
        last = 0.0
        while not done.is_set():
            now = value(server, "nv_inference_count", **SERIES)
            if now < last:
                problems.append(f"{last} inferences became {now}")
            last = now

    threads = [threading.Thread(target=send, args=(0,)), threading.Thread(target=send, args=(1,)), threading.Thread(target=scrape)]
    for thread in threads:
        thread.start()
    try:
        for edition in range(1, 16):
            edit(tmp_path, edition)
            control(server, "load")
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert problems == []
    assert value(server, "nv_inference_count", **SERIES) == sum(sent) > 0


def test_tags_begin_a_series_of_their_own(server: Nereid, tmp_path: pathlib.Path) -> None:
    assert ask(server, 1) == 200
    (tmp_path / "repository/m/config.pbtxt").write_text(CONFIG.format(edition=1) + 'metric_tags { key: "team" value: "a" }')
    control(server, "load")

    def tagged() -> bool:
        return [s.labels for s in families(server)["nv_inference_count"].samples] == [{**SERIES, "_team": "a"}]

    wait_until(tagged, 30, "the old version's series is gone")
    assert value(server, "nv_inference_count", _team="a", **SERIES) == 0
    assert value(server, "nv_inference_request_failure", reason="OTHER", **SERIES) == 0, "what the old one failed stays"
