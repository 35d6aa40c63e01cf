"""The response cache in memory, end to end: what hits, what does not, what is counted, and what is refused."""

import pathlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient

import models
from exposition import families, shown, value
from nereid_process import Nereid, serving

CACHED = "response_cache { enable: true }\n"
BATCHING = "dynamic_batching { }\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    repository = tmp_path_factory.mktemp("cached")
    models.write_identity(repository, "cached", max_batch_size=8, more=CACHED + BATCHING)
    models.write_identity(repository, "plain", max_batch_size=8)
    models.write_identity(repository, "slow", parameters={"execute_delay_ms": 1000}, more=CACHED)
    models.write_identity(repository, "pair", [("FP32", [-1]), ("BYTES", [-1])], more=CACHED)
    with serving(
        repository,
        tmp_path_factory.mktemp("log") / "log",
        "--cache-config=local,size=1048576",
        "--metrics-config=summary_latencies=true",
    ) as process:
        yield process


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


def ask(server: Nereid, protocol: str, model: str, *inputs: np.ndarray, outputs: list[str] | None = None, **options: object) -> list[np.ndarray]:
    """What the model gives, in order."""
    api = httpclient if protocol == "http" else grpcclient
    tensors = []
    for n, array in enumerate(inputs):
        tensor = api.InferInput(f"INPUT{n}", array.shape, "BYTES" if array.dtype == object else "FP32")
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    names = outputs or [f"OUTPUT{n}" for n in range(len(inputs))]
    wanted = [api.InferRequestedOutput(name) for name in names]
    with api.InferenceServerClient(server.http if protocol == "http" else server.grpc) as client:
        result = client.infer(model, tensors, outputs=wanted, **options)
    return [result.as_numpy(name) for name in names]


def stats(server: Nereid, model: str) -> dict:
    (entry,) = server.get(f"/v2/models/{model}/stats").json()["model_stats"]
    with grpcclient.InferenceServerClient(server.grpc) as client:
        (same,) = client.get_inference_statistics(model, as_json=True)["model_stats"]
    for what in ("cache_hit", "cache_miss"):
        assert int(same["inference_stats"][what].get("count", 0)) == entry["inference_stats"][what]["count"]
    return entry


def counts(server: Nereid, model: str) -> tuple[int, int, int, int]:
    """Successes, inferences, hits and misses."""
    entry = stats(server, model)
    inner = entry["inference_stats"]
    assert inner["queue"]["count"] == inner["success"]["count"]
    assert inner["compute_infer"]["count"] == inner["success"]["count"] - inner["cache_hit"]["count"]
    for what in ("cache_hit", "cache_miss"):
        assert (inner[what]["ns"] > 0) == (inner[what]["count"] > 0)
    return inner["success"]["count"], entry["inference_count"], inner["cache_hit"]["count"], inner["cache_miss"]["count"]


def rows(*numbers: float) -> np.ndarray:
    return np.array([numbers], dtype=np.float32)


def added(after: tuple[int, ...], before: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a - b for a, b in zip(after, before, strict=True))


def test_the_second_time_a_request_is_answered_from_the_cache(server: Nereid, protocol: str) -> None:
    before = counts(server, "cached")
    data = rows(*range(100)) + (0.5 if protocol == "http" else 0.25)
    for request_id in ("a", "b", "c"):
        (answer,) = ask(server, protocol, "cached", data, request_id=request_id)
        np.testing.assert_array_equal(answer, data)
    assert added(counts(server, "cached"), before) == (3, 1, 2, 1)


def test_both_protocols_share_the_cache(server: Nereid) -> None:
    before = counts(server, "cached")
    data = rows(3.0, 2.0)
    for protocol in ("http", "grpc"):
        np.testing.assert_array_equal(ask(server, protocol, "cached", data)[0], data)
    assert added(counts(server, "cached"), before) == (2, 1, 1, 1)


def test_shapes_outputs_and_parameters_tell_requests_apart(server: Nereid, protocol: str) -> None:
    seed = 100.0 if protocol == "http" else 200.0
    before = counts(server, "cached")
    for shape in ([1, 6], [2, 3], [3, 2], [6, 1]):
        data = np.arange(6, dtype=np.float32).reshape(shape) + seed
        (answer,) = ask(server, protocol, "cached", data)
        np.testing.assert_array_equal(answer, data)
    for parameters in ({"p": 1}, {"p": 2}, {"q": 1}):
        ask(server, protocol, "cached", rows(*np.arange(6) + seed), parameters=parameters)
    assert added(counts(server, "cached"), before) == (7, 1 + 2 + 3 + 6 + 3, 0, 7)
    before = counts(server, "pair")
    numbers, words = np.array([seed], dtype=np.float32), np.array([b"a", b""], dtype=object)
    for outputs in (["OUTPUT0"], ["OUTPUT1"], ["OUTPUT0", "OUTPUT1"], ["OUTPUT1", "OUTPUT0"]):
        answers = dict(zip(outputs, ask(server, protocol, "pair", numbers, words, outputs=outputs), strict=True))
        assert answers.get("OUTPUT0", numbers).tolist() == numbers.tolist()
        assert answers.get("OUTPUT1", words).tolist() == words.tolist()
    assert added(counts(server, "pair"), before) == (4, 3, 1, 3)


def test_a_model_that_does_not_ask_for_it_is_not_cached(server: Nereid, protocol: str) -> None:
    before = counts(server, "plain")
    for _ in range(3):
        ask(server, protocol, "plain", rows(1.0))
    assert added(counts(server, "plain"), before) == (3, 3, 0, 0)
    assert not {name for name in shown(server, "plain") if name.startswith("nv_cache")}


def test_identical_requests_at_the_same_time_run_once(server: Nereid, protocol: str) -> None:
    before = counts(server, "slow")
    data = np.array([7.0 if protocol == "http" else 8.0], dtype=np.float32)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: ask(server, protocol, "slow", data)[0], range(8)))
    assert all(answer.tolist() == data.tolist() for answer in answers)
    assert added(counts(server, "slow"), before) == (8, 1, 7, 1)


def test_metrics_and_statistics_say_the_same(server: Nereid) -> None:
    for _ in range(2):
        ask(server, "http", "cached", rows(42.0))
    success, inferences, hits, misses = counts(server, "cached")
    labels = {"model": "cached", "version": "1"}
    for name, expected in (
        ("nv_inference_request_success", success),
        ("nv_inference_count", inferences),
        ("nv_cache_num_hits_per_model", hits),
        ("nv_cache_num_misses_per_model", misses),
    ):
        assert value(server, name, **labels) == expected, name
    assert value(server, "nv_cache_miss_duration_per_model", **labels) <= stats(server, "cached")["inference_stats"]["cache_miss"]["ns"] / 1000
    page = families(server)
    summary = {s.name: s.value for s in page["nv_cache_hit_summary_per_model"].samples if s.labels == labels}
    assert summary["nv_cache_hit_summary_per_model_count"] == hits
    of_model = shown(server, "cached")
    assert "nv_inference_queue_summary_us" in of_model and "nv_cache_miss_summary_per_model" in of_model
    assert "nv_inference_request_summary_us" not in of_model and "nv_inference_request_summary_us" in shown(server, "plain")
    gauges = {name: value(server, name) for name in page if name.startswith("nv_cache") and not name.endswith("per_model")}
    assert set(gauges) == {
        f"nv_cache_{what}"
        for what in ("util", "num_entries", "num_lookups", "num_hits", "num_misses", "num_evictions", "lookup_duration", "insertion_duration")
    }
    assert gauges["nv_cache_num_lookups"] == gauges["nv_cache_num_hits"] + gauges["nv_cache_num_misses"]
    assert gauges["nv_cache_num_hits"] >= hits and gauges["nv_cache_num_entries"] > 0 and 0 < gauges["nv_cache_util"] < 1
    assert all(page[name].type == "gauge" for name in gauges)


def test_the_oldest_answers_leave_and_what_does_not_fit_is_not_stored(tmp_path: pathlib.Path) -> None:
    repository = tmp_path / "models"
    models.write_identity(repository, "cached", max_batch_size=8, more=CACHED)
    with serving(repository, tmp_path / "log", "--response-cache-byte-size=8192") as server:
        fill = [rows(*[float(n)] * 500) for n in range(5)]
        for data in fill:  # 2000 bytes each
            ask(server, "http", "cached", data)
        assert value(server, "nv_cache_num_evictions") == 2 and value(server, "nv_cache_num_entries") == 3
        before = counts(server, "cached")
        ask(server, "grpc", "cached", fill[4])
        assert added(counts(server, "cached"), before) == (1, 0, 1, 0)
        ask(server, "grpc", "cached", fill[0])
        assert added(counts(server, "cached"), before) == (2, 1, 1, 1)
        before = counts(server, "cached")
        for _ in range(2):
            ask(server, "http", "cached", rows(*[1.0] * 2100))
        assert added(counts(server, "cached"), before) == (2, 2, 0, 2)
        assert server.log().count("Failed to insert key [") == 1
        assert "is greater than total cache size: 8192" in server.log()
        assert "'--response-cache-byte-size' has been deprecated!" in server.log()


def test_what_is_loaded_again_is_asked_again(tmp_path: pathlib.Path) -> None:
    repository = tmp_path / "models"
    models.write_identity(repository, "cached", more=CACHED)
    flags = ["--model-control-mode=explicit", "--load-model=*", "--cache-config=local,size=100000"]
    with serving(repository, tmp_path / "log", *flags) as server:
        data = np.array([1.0], dtype=np.float32)
        ask(server, "http", "cached", data)
        config = repository / "cached/config.pbtxt"
        config.write_text(config.read_text() + 'parameters { key: "execute_delay_ms" value { string_value: "1" } }\n')
        assert server.post("/v2/repository/models/cached/load").status == 200
        before = counts(server, "cached")
        for _ in range(2):
            ask(server, "http", "cached", data)
        assert added(counts(server, "cached"), before) == (2, 1, 1, 1)


def test_without_a_cache_the_models_run(tmp_path: pathlib.Path) -> None:
    repository = tmp_path / "models"
    models.write_identity(repository, "cached", more=CACHED)
    with serving(repository, tmp_path / "log") as server:
        for _ in range(2):
            ask(server, "http", "cached", np.array([1.0], dtype=np.float32))
        assert counts(server, "cached") == (2, 2, 0, 0)
        assert value(server, "nv_cache_num_hits_per_model", model="cached", version="1") == 0
        assert "nv_cache_util" not in families(server)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (
            "sequence_batching { }",
            "Response Cache does not currently support model bad with sequence batching scheduler. Please disable the response cache.",
        ),
        (
            "model_transaction_policy { decoupled: true }",
            "Response Cache does not currently support model bad with 'decoupled' transaction policy. Please disable the response cache.",
        ),
    ],
)
def test_what_cannot_be_cached_is_refused(tmp_path: pathlib.Path, more: str, reason: str) -> None:
    repository = tmp_path / "models"
    models.write_identity(repository, "bad", max_batch_size=4, more=CACHED + more)
    server = Nereid(repository, tmp_path / "log", "--cache-config=local,size=10480")
    assert server.ended() == 1
    assert reason in server.log()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--cache-config=local,size=8192", "--cache-config=redis,key=value"], "found multiple cache configurations, but only a single cache is currently supported"),
        (["--response-cache-byte-size=12345", "--cache-config=local,size=67890"], "Incompatible flags --response-cache-byte-size and --cache-config both provided."),
        (["--cache-config=local,sice=1"], "Failed to initialize LocalCache: config didn't contain a valid 'size' field."),
        (["--cache-config=other,size=1"], "unable to find 'libtritoncache_other.so' for cache."),
        (["--cache-config=size=1"], "No cache specified. --cache-config option format is <cache name>,<setting>=<value>. Got size=1"),
    ],
)
def test_a_cache_that_cannot_be_had_ends_the_server(tmp_path: pathlib.Path, flags: list[str], reason: str) -> None:
    (tmp_path / "models").mkdir()
    server = Nereid(tmp_path / "models", tmp_path / "log", *flags)
    assert server.ended() == 1
    assert reason in server.log()


ENSEMBLE = """
platform: "ensemble"
max_batch_size: 8
input [ { name: "IN" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ -1 ] } ]
ensemble_scheduling {
  step [
    { model_name: "first" model_version: -1 input_map { key: "INPUT0" value: "IN" } output_map { key: "OUTPUT0" value: "middle" } },
    { model_name: "second" model_version: -1 input_map { key: "INPUT0" value: "middle" } output_map { key: "OUTPUT0" value: "OUT" } }
  ]
}
"""


def ask_ensemble(server: Nereid, protocol: str, data: np.ndarray) -> None:
    api = httpclient if protocol == "http" else grpcclient
    tensor = api.InferInput("IN", data.shape, "FP32")
    tensor.set_data_from_numpy(data)
    with api.InferenceServerClient(server.http if protocol == "http" else server.grpc) as client:
        np.testing.assert_array_equal(client.infer("whole", [tensor]).as_numpy("OUT"), data)


@pytest.mark.parametrize(
    ("cached", "expected"),
    [
        # Of the ensemble and its two models after three requests: successes, inferences, hits and misses.
        (("whole",), [(3, 1, 2, 1), (1, 1, 0, 0), (1, 1, 0, 0)]),
        (("whole", "first", "second"), [(3, 1, 2, 1), (1, 1, 0, 1), (1, 1, 0, 1)]),
        (("second",), [(3, 3, 0, 0), (3, 3, 0, 0), (3, 1, 2, 1)]),
    ],
    ids=["ensemble", "all", "second"],
)
def test_ensembles_and_their_models_are_cached_each(tmp_path: pathlib.Path, protocol: str, cached: tuple[str, ...], expected: list) -> None:
    repository = tmp_path / "models"
    for name in ("first", "second"):
        models.write_identity(repository, name, max_batch_size=8, more=CACHED if name in cached else "")
    (repository / "whole/1").mkdir(parents=True)
    (repository / "whole/config.pbtxt").write_text(ENSEMBLE + (CACHED if "whole" in cached else ""))
    with serving(repository, tmp_path / "log", "--cache-config=local,size=100000") as server:
        for _ in range(3):
            ask_ensemble(server, protocol, rows(1.0, 2.0))
        assert [counts(server, name) for name in ("whole", "first", "second")] == expected
