"""The statistics endpoint, over both protocols: what is counted, what is not, and the shape of the answer."""

import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import tritonclient.grpc as grpcclient

import models
from exposition import families
from nereid_process import Nereid, serving

GATHER = """
backend: "onnxruntime"
max_batch_size: 8
input [ {{ name: "INPUT" data_type: TYPE_INT64 dims: [ 1 ] }} ]
output [ {{ name: "OUTPUT" data_type: TYPE_INT64 dims: [ 1 ] }} ]
instance_group [ {{ kind: KIND_CPU count: 1 }} ]
dynamic_batching {{ {batching} }}
"""
IMPATIENT = """
  preferred_batch_size: [ 8 ] max_queue_delay_microseconds: 60000000
  default_queue_policy { default_timeout_microseconds: 1000 timeout_action: REJECT }
"""
NONE = {"count": 0, "ns": 0}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    repository = tmp_path_factory.mktemp("statistics")
    # Requests wait for one another until there are eight rows.
    models.write(repository, "merging", models.gather(), GATHER.format(batching="preferred_batch_size: [ 8 ] max_queue_delay_microseconds: 60000000"))
    models.write(repository, "impatient", models.gather(), GATHER.format(batching=IMPATIENT))
    models.write(repository, "plain", models.gather(), GATHER.format(batching=""))
    models.write(repository, "slow", models.slow(), models.SLOW_CONFIG)
    with serving(repository, tmp_path_factory.mktemp("log") / "log") as process:
        yield process


def stats(server: Nereid, model: str) -> dict:
    (entry,) = server.get(f"/v2/models/{model}/stats").json()["model_stats"]
    assert entry == next(e for e in server.get("/v2/models/stats").json()["model_stats"] if e["name"] == model)
    return entry


def failures(server: Nereid, model: str) -> dict[str, float]:
    """By reason, those that there were."""
    samples = families(server)["nv_inference_request_failure"].samples
    return {s.labels["reason"]: s.value for s in samples if s.labels["model"] == model and s.value}


def ask_all(server: Nereid, model: str, requests: list[list[int]]) -> list[list[int] | None]:
    """All at once; `None` for a request that failed."""

    def ask(indices: list[int]) -> list[int] | None:
        body = {"inputs": [{"name": "INPUT", "shape": [len(indices), 1], "datatype": "INT64", "data": indices}]}
        answer = server.post(f"/v2/models/{model}/infer", body)
        return answer.json()["outputs"][0]["data"] if answer.status == 200 else None

    with ThreadPoolExecutor(len(requests)) as pool:
        return list(pool.map(ask, requests))


def test_a_fresh_model_has_every_field(server: Nereid) -> None:
    assert stats(server, "slow") == {
        "name": "slow",
        "version": "1",
        "last_inference": 0,
        "inference_count": 0,
        "execution_count": 0,
        "inference_stats": {name: NONE for name in ("success", "fail", "queue", "compute_input", "compute_infer", "compute_output", "cache_hit", "cache_miss")},
        "response_stats": {},
        "batch_stats": [],
        "memory_usage": [],
    }


def test_a_model_that_does_not_batch_has_batches_of_one(server: Nereid) -> None:
    before = stats(server, "slow")
    body = {"inputs": [{"name": "ROUNDS", "shape": [1], "datatype": "INT64", "data": [0]}]}
    assert server.post("/v2/models/slow/infer", body).status == 200
    after = stats(server, "slow")
    assert after["inference_count"] - before["inference_count"] == 1
    assert [b["batch_size"] for b in after["batch_stats"]] == [1]
    assert after["last_inference"] > 1_600_000_000_000, "milliseconds since 1970"
    assert (after["response_stats"], after["memory_usage"]) == ({}, [])


def test_three_requests_in_one_batch(server: Nereid) -> None:
    before = stats(server, "merging")
    assert ask_all(server, "merging", [[0, 1, 2], [3, 2, 1, 0], [1]]) == [[0, 10, 20], [30, 20, 10, 0], [10]]
    after = stats(server, "merging")
    assert after["execution_count"] - before["execution_count"] == 1
    assert after["inference_count"] - before["inference_count"] == 8
    (batch,) = after["batch_stats"]
    assert (batch["batch_size"], batch["compute_infer"]["count"]) == (8, 1)
    grown = {k: {f: v[f] - before["inference_stats"][k][f] for f in v} for k, v in after["inference_stats"].items()}
    assert {name for name, duration in grown.items() if duration["count"] == 3} == {"success", "queue", "compute_input", "compute_infer", "compute_output"}
    for part in ("compute_input", "compute_infer", "compute_output"):
        assert grown[part]["ns"] == 3 * batch[part]["ns"], part
    assert grown["success"]["ns"] == sum(grown[p]["ns"] for p in ("queue", "compute_input", "compute_infer", "compute_output"))


def test_a_request_that_fails_its_batch_counts_all_of_it_as_failed(server: Nereid) -> None:
    before, failed = stats(server, "merging"), failures(server, "merging").get("BACKEND", 0)
    assert ask_all(server, "merging", [[0, 1, 2], [3, 2, 99, 0], [1]]) == [None, None, None]
    after = stats(server, "merging")
    assert after["inference_stats"].pop("fail")["count"] - before["inference_stats"].pop("fail")["count"] == 3
    assert after == before, "no execution, no inference, no batch, and the last inference is the same"
    assert failures(server, "merging") == {"BACKEND": failed + 3}


def test_a_request_that_waited_too_long_is_rejected(server: Nereid) -> None:
    assert ask_all(server, "impatient", [[1]]) == [None]
    after = stats(server, "impatient")
    assert (after["inference_stats"]["fail"]["count"], after["execution_count"], after["batch_stats"]) == (1, 0, [])
    assert after["inference_stats"]["fail"]["ns"] >= 1_000_000
    assert failures(server, "impatient") == {"REJECTED": 1}


def test_what_is_refused_is_counted_nowhere(server: Nereid) -> None:
    before = stats(server, "plain")

    def refused(shape: list[int], datatype: str, data: list[int], name: str = "INPUT") -> None:
        body = {"inputs": [{"name": name, "shape": shape, "datatype": datatype, "data": data}]}
        assert server.post("/v2/models/plain/infer", body).status == 400, body

    refused([9, 1], "INT64", [0] * 9)
    refused([1, 2], "INT64", [0, 0])
    refused([1, 1], "INT32", [0])
    refused([1, 1], "INT64", [0], name="OTHER")
    assert server.post("/v2/models/plain/infer", b"{").status >= 400
    assert stats(server, "plain") == before
    assert failures(server, "plain") == {}


def test_the_same_over_grpc(server: Nereid) -> None:
    assert ask_all(server, "plain", [[1, 2]]) == [[10, 20]]
    with grpcclient.InferenceServerClient(server.grpc) as client:
        (entry,) = client.get_inference_statistics("plain").model_stats
        everything = client.get_inference_statistics().model_stats
    assert entry in everything and [e.name for e in everything] == ["impatient", "merging", "plain", "slow"]
    json = stats(server, "plain")
    assert (entry.version, entry.inference_count, entry.execution_count) == (json["version"], json["inference_count"], json["execution_count"])
    assert entry.last_inference == json["last_inference"]
    assert {b.batch_size: b.compute_infer.ns for b in entry.batch_stats} == {b["batch_size"]: b["compute_infer"]["ns"] for b in json["batch_stats"]}
    assert entry.inference_stats.success.ns == json["inference_stats"]["success"]["ns"]
    assert (len(entry.response_stats), len(entry.memory_usage)) == (0, 0)
