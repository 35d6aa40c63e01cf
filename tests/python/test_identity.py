"""The identity backend with the real clients: every datatype over both protocols, delays that end with their client."""

import pathlib
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

import models
from nereid_process import Nereid, serving, wait_until
from test_datatypes import VALUES, same

PARAMETERS = {"param0": "an example string parameter", "param1": 42, "param2": False, "param3": 123.123}
CLIENTS = {"http": httpclient, "grpc": grpcclient}
WEEKS_MS = 2_000_000_000
WAIT_S = 30


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    repository = tmp_path_factory.mktemp("identity")
    for datatype in VALUES:
        models.write_identity(repository, f"batches_{datatype}", [(datatype, [-1])], max_batch_size=8)
        models.write_identity(repository, f"plain_{datatype}", [(datatype, [-1, 3])])
    models.write_identity(repository, "two", [("INT32", [2]), ("BYTES", [-1])], more="dynamic_batching {}")
    together = "dynamic_batching { preferred_batch_size: [8] max_queue_delay_microseconds: 60000000 }"
    models.write_identity(repository, "together", [("UINT32", [-1])], max_batch_size=8, more=together)
    alone = "instance_group [ { count: 1 kind: KIND_CPU } ]"
    models.write_identity(repository, "slow", parameters={"execute_delay_ms": WEEKS_MS}, more=alone)
    with serving(repository, tmp_path_factory.mktemp("log") / "log") as process:
        yield process


def infer(server: Nereid, protocol: str, model: str, **inputs: np.ndarray):
    library = CLIENTS[protocol]
    tensors = []
    for name, value in inputs.items():
        tensors.append(library.InferInput(name, list(value.shape), np_to_triton_dtype(value.dtype)))
        tensors[-1].set_data_from_numpy(value)
    with library.InferenceServerClient(getattr(server, protocol)) as client:
        return client.infer(model, tensors)


@pytest.mark.parametrize("protocol", CLIENTS)
@pytest.mark.parametrize("datatype", VALUES)
def test_every_datatype(server: Nereid, protocol: str, datatype: str) -> None:
    value = VALUES[datatype]
    for model in (f"batches_{datatype}", f"plain_{datatype}"):
        result = infer(server, protocol, model, INPUT0=value)
        same(result.as_numpy("OUTPUT0"), value)
        response = result.get_response()
        if protocol == "http":
            parameters = response["parameters"]
        else:
            parameters = {k: getattr(v, v.WhichOneof("parameter_choice")) for k, v in response.parameters.items()}
        assert parameters == PARAMETERS


@pytest.mark.parametrize("protocol", CLIENTS)
def test_empty_tensors(server: Nereid, protocol: str) -> None:
    for datatype, shape in (("FP32", [1, 0]), ("UINT32", [4, 0]), ("BYTES", [2, 0]), ("BF16", [1, 0])):
        value = np.empty(shape, VALUES[datatype].dtype)
        same(infer(server, protocol, f"batches_{datatype}", INPUT0=value).as_numpy("OUTPUT0"), value)


@pytest.mark.parametrize("protocol", CLIENTS)
def test_several_inputs(server: Nereid, protocol: str) -> None:
    numbers, strings = np.array([7, -7], np.int32), np.array([b"a\0b", b"", b"\xff"], np.object_)
    result = infer(server, protocol, "two", INPUT1=strings, INPUT0=numbers)
    same(result.as_numpy("OUTPUT0"), numbers)
    same(result.as_numpy("OUTPUT1"), strings)
    with pytest.raises(InferenceServerException, match=r"expected 2 inputs but got 1 inputs for model 'two'"):
        infer(server, protocol, "two", INPUT0=numbers)


def test_requests_that_run_together(server: Nereid) -> None:
    """As in Triton's own test of the backend: four requests of two rows make one execution, and each gets its rows."""
    values = [np.arange(4 * n, 4 * n + 4, dtype=np.uint32).reshape(2, 2) for n in range(4)]
    with httpclient.InferenceServerClient(server.http, concurrency=4) as client:
        pending = []
        for value in values:
            tensor = httpclient.InferInput("INPUT0", [2, 2], "UINT32")
            tensor.set_data_from_numpy(value)
            pending.append(client.async_infer("together", [tensor]))
        for value, request in zip(values, pending):
            same(request.get_result().as_numpy("OUTPUT0"), value)
        (stats,) = client.get_inference_statistics("together")["model_stats"]
    assert (stats["inference_count"], stats["execution_count"]) == (8, 1)
    page = server.metrics()
    assert "# TYPE input_byte_size_counter counter\n" in page
    assert 'input_byte_size_counter{model="together",version="1"} 64\n' in page


@pytest.fixture
def pairs(tmp_path: pathlib.Path) -> Iterator[Nereid]:
    """Models that wait for two requests, or four, that may run together."""
    repository = tmp_path / "repository"
    wait = "dynamic_batching { preferred_batch_size: [%d] max_queue_delay_microseconds: 60000000 }"
    models.write_identity(repository, "ragged", [("INT8", [-1])], max_batch_size=8, more=wait % 2)
    models.write_identity(repository, "optional", [("INT8", [1]), ("INT8", [2])], max_batch_size=8, more=wait % 4)
    for name, field in (("ragged", "allow_ragged_batch"), ("optional", "optional")):
        path = repository / name / "config.pbtxt"
        path.write_text(re.sub(r'(name: "INPUT\d")', rf"\1 {field}: true", path.read_text()))
    with serving(repository, tmp_path / "log") as process:
        yield process


def batches(server: Nereid, model: str) -> dict[int, int]:
    """How often each batch size ran."""
    (stats,) = server.get(f"/v2/models/{model}/stats").json()["model_stats"]
    return {batch["batch_size"]: batch["compute_infer"]["count"] for batch in stats["batch_stats"]}


@pytest.mark.parametrize("protocol", CLIENTS)
def test_ragged_requests_run_together(pairs: Nereid, protocol: str) -> None:
    values = [np.array([[1, 2, 3]], np.int8), np.array([[4]], np.int8)]
    with ThreadPoolExecutor() as pool:
        for value, result in zip(values, pool.map(lambda value: infer(pairs, protocol, "ragged", INPUT0=value), values)):
            same(result.as_numpy("OUTPUT0"), value)
    assert batches(pairs, "ragged") == {2: 1}


@pytest.mark.parametrize("protocol", CLIENTS)
def test_optional_inputs(pairs: Nereid, protocol: str) -> None:
    """What is left out comes back as zeros; a request with other inputs than the one before starts a batch of its own."""
    zero, one, two = (np.array([value], np.int8) for value in ([0], [7], [8, 9]))
    with ThreadPoolExecutor() as pool:
        first = pool.submit(infer, pairs, protocol, "optional", INPUT0=one)
        metric(pairs, 'pending_request_count{model="optional",version="1"}', 1)
        others = [pool.submit(infer, pairs, protocol, "optional", INPUT1=two) for _ in range(4)]
        same(first.result().as_numpy("OUTPUT0"), one)
        same(first.result().as_numpy("OUTPUT1"), np.zeros_like(two))
        for other in others:
            same(other.result().as_numpy("OUTPUT0"), zero)
            same(other.result().as_numpy("OUTPUT1"), two)
    assert batches(pairs, "optional") == {1: 1, 4: 1}


def metric(server: Nereid, name: str, value: int) -> None:
    line = f"nv_inference_{name} {value}\n"
    wait_until(lambda: line in server.metrics(), WAIT_S, line)


def test_a_delay_ends_with_its_client(server: Nereid) -> None:
    """It would last for weeks, and there is one instance: it runs again because it was stopped."""
    tensor = grpcclient.InferInput("INPUT0", [1], "FP32")
    tensor.set_data_from_numpy(np.array([1], np.float32))
    for times in (1, 2):
        with grpcclient.InferenceServerClient(server.grpc) as client:
            ended = [threading.Event(), threading.Event()]
            calls = [client.async_infer("slow", [tensor], callback=lambda result, error, event=event: event.set()) for event in ended]
            metric(server, 'pending_request_count{model="slow",version="1"}', 1)  # hence the other one runs
            for call, event in zip(calls, ended):
                call.cancel()
                assert event.wait(WAIT_S)
            metric(server, 'request_failure{model="slow",reason="CANCELED",version="1"}', 2 * times)


def test_a_delay_is_time_that_the_model_takes(tmp_path: pathlib.Path) -> None:
    models.write_identity(tmp_path / "repository", "slow", [("FP32", [1])], parameters={"execute_delay_ms": 20})
    with serving(tmp_path / "repository", tmp_path / "log") as server:
        infer(server, "http", "slow", INPUT0=np.array([1], np.float32))
        (stats,) = server.get("/v2/models/slow/stats").json()["model_stats"]
    infer_ns = stats["inference_stats"]["compute_infer"]["ns"]
    assert infer_ns >= 20_000_000 and stats["inference_stats"]["success"]["ns"] >= infer_ns


REFUSED = {
    "unequal": ('input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ]', "model configuration must have equal input/output pairs"),
    "types": (
        'input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ 1 ] } ] output [ { name: "OUTPUT0" data_type: TYPE_STRING dims: [ 1 ] } ]',
        "expected input and output datatype to match, got TYPE_FP32 and TYPE_STRING",
    ),
    "delay": ('parameters { key: "execute_delay_ms" value { string_value: "soon" } }', "parameter 'execute_delay_ms' of model 'delay' must be a number"),
}


def test_configs_that_are_refused_and_one_that_takes_its_time(tmp_path: pathlib.Path) -> None:
    for name, (config, _) in REFUSED.items():
        (tmp_path / "repository" / name / "1").mkdir(parents=True)
        (tmp_path / "repository" / name / "config.pbtxt").write_text(f'backend: "identity"\n{config}')
    models.write_identity(tmp_path / "repository", "late", parameters={"creation_delay_sec": 1})
    with serving(tmp_path / "repository", tmp_path / "log", "--exit-on-error=false", "--strict-readiness=false") as server:
        reasons = {entry["name"]: entry.get("reason", "") for entry in server.post("/v2/repository/index").json()}
        assert server.get("/v2/models/late/ready").status == 200
        assert "Creation delay is set to: 1" in server.log()
    for name, (_, text) in REFUSED.items():
        assert text in reasons[name], reasons
