"""The cases of Triton's `L0_batcher`, without its sleeps: `TRITONSERVER_DELAY_SCHEDULER` holds the first batch until all
requests are there, a stream keeps their order, and what waits is let go by one more request instead of by time.
"""

import os
import pathlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient

import models
from batches import executions, metric, streaming, wait_pending
from nereid_process import Nereid, serving, wait_until

HOUR = 3_600_000_000
"""A queue delay that never passes."""

WIDE, NARROW = 16, 8

CONFIG = """
backend: "onnxruntime"
max_batch_size: %d
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] %s } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { preferred_batch_size: %s max_queue_delay_microseconds: %d }
"""


def request(rows: int, width: int) -> list[grpcclient.InferInput]:
    tensor = grpcclient.InferInput("INPUT0", [rows, width], "FP32")
    tensor.set_data_from_numpy(np.full([rows, width], rows + width / 100, np.float32))
    return [tensor]


def wide(*rows: int) -> list[tuple[int, int]]:
    return [(count, WIDE) for count in rows]


def narrow(*rows: int) -> list[tuple[int, int]]:
    return [(count, NARROW) for count in rows]


CASES = {
    # requests that are held, of what they wait is sent in the end, and the batches that all of them make
    "static_batch_preferred": ([2, 6], HOUR, wide(2), wide(6), {2: 1, 6: 1}),
    "static_batch_lt_any_preferred": ([2, 6], HOUR, wide(1), wide(1), {2: 1}),
    "static_batch_not_preferred": ([2, 6], HOUR, wide(3), wide(3), {6: 1}),
    "static_batch_gt_max_preferred": ([2, 6], HOUR, wide(7), [], {7: 1}),
    "multi_batch_different_shape": ([2, 6], HOUR, wide(1) + narrow(1), narrow(1), {1: 1, 2: 1}),
    "multi_batch_not_preferred": ([2, 6], HOUR, wide(1, 3), wide(2), {6: 1}),
    "multi_batch_not_preferred_different_shape": ([2, 6], HOUR, wide(1, 3) + narrow(1), narrow(1), {4: 1, 2: 1}),
    "multi_batch_preferred_different_shape": ([2, 6], HOUR, wide(1, 3) + narrow(1, 5), [], {4: 1, 6: 1}),
    "multi_batch_gt_max_preferred": ([2, 6], HOUR, wide(3, 7), [], {3: 1, 7: 1}),
    "multi_batch_sum_gt_max_preferred": ([2, 6], HOUR, wide(3, 4), wide(2), {3: 1, 6: 1}),
    "multi_batch_use_max_batch": ([2, 6], 1, wide(3, 4, 1), [], {8: 1}),
    "multi_batch_use_biggest_preferred": ([2, 6], HOUR, wide(*[1] * 6), [], {6: 1}),
    "multi_batch_use_best_preferred": ([2, 6], HOUR, wide(1, 1, 1), wide(1), {2: 2}),
    "preferred_batch_only_aligned": ([4, 6], 0, wide(*[1] * 4), [], {4: 1}),
    "preferred_batch_only_unaligned": ([4, 6], 0, wide(*[1] * 5), [], {4: 1, 1: 1}),
    "preferred_batch_only_use_biggest_preferred": ([4, 6], 0, wide(*[1] * 7), [], {6: 1, 1: 1}),
    "preferred_batch_only_use_no_preferred_size": ([4, 6], 0, wide(*[1] * 3), [], {3: 1}),
    "max_queue_delay_only_non_default": ([], 20_000, wide(*[1] * 8), [], {8: 1}),
    "max_queue_delay_only_default": ([], 0, wide(*[1] * 12), [], {8: 1, 4: 1}),
}


@pytest.mark.parametrize("name", CASES)
def test_batcher(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    preferred, delay, held, later, expected = CASES[name]
    monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", str(len(held)))
    models.write(tmp_path / "repository", "m", models.identity("FP32"), CONFIG % (8, "", preferred, delay))
    with serving(tmp_path / "repository", tmp_path / "log") as server, streaming(server) as requests:
        for rows, width in held + later:
            requests.send("m", request(rows, width))
        for (rows, width), result in zip(held + later, requests.results(len(held + later)), strict=True):
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), np.full([rows, width], rows + width / 100, np.float32))
        assert executions(server, "m") == expected


@pytest.mark.parametrize("module", [httpclient, grpcclient], ids=["http", "grpc"])
def test_requests_of_one_batch_that_want_different_outputs(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, module) -> None:
    """test_multi_same_output0 and 1, test_multi_different_outputs, test_multi_different_output_order."""
    wanted = [["OUTPUT0"], ["OUTPUT1"], ["OUTPUT0", "OUTPUT1"], ["OUTPUT1", "OUTPUT0"], ["OUTPUT0"], []]
    monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", str(len(wanted)))
    models.write(tmp_path / "repository", "add_sub", models.add_sub(), models.ADD_SUB_CONFIG + "dynamic_batching { }")
    with serving(tmp_path / "repository", tmp_path / "log") as server:

        def one(number: int) -> dict[str, int]:
            """Outputs by name, each with its only value."""
            tensors = [module.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
            for tensor, value in zip(tensors, (10 * number, number)):
                tensor.set_data_from_numpy(np.full([1, 16], value, np.int32))
            outputs = [module.InferRequestedOutput(name) for name in wanted[number]] or None
            with module.InferenceServerClient(server.http if module is httpclient else server.grpc) as client:
                result = client.infer("add_sub", tensors, outputs=outputs)
            values = {name: result.as_numpy(name) for name in ("OUTPUT0", "OUTPUT1")}
            return {name: int(value[0, 0]) for name, value in values.items() if value is not None and (value == value[0, 0]).all()}

        with ThreadPoolExecutor(len(wanted)) as pool:
            answers = list(pool.map(one, range(len(wanted))))
        for number, answer in enumerate(answers):
            both = {"OUTPUT0": 11 * number, "OUTPUT1": 9 * number}
            assert answer == {name: both[name] for name in wanted[number] or both}
        assert executions(server, "add_sub") == {len(wanted): 1}


RESHAPED = """
backend: "onnxruntime"
max_batch_size: 8
input [
  { name: "PLAIN" data_type: TYPE_INT32 dims: [ 1 ] reshape: { shape: [ ] } },
  { name: "SQUARE" data_type: TYPE_FP32 dims: [ 2, 2, -1, 3 ] reshape: { shape: [ 4, -1, 3 ] } }
]
output [
  { name: "SCALAR" data_type: TYPE_INT32 dims: [ 1 ] reshape: { shape: [ ] } },
  { name: "LONG" data_type: TYPE_FP32 dims: [ 4, -1, 1, 3 ] reshape: { shape: [ 4, -1, 3 ] } }
]
dynamic_batching { }
"""


def test_reshaped_requests_of_several_rows_share_a_batch(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets its own rows, in the shape that the config shows."""
    rows = [1, 3, 2]
    monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", str(len(rows)))
    inputs = {"PLAIN": ("INT32", ["N"]), "SQUARE": ("FP32", ["N", 4, "M", 3])}
    outputs = {"SCALAR": ("PLAIN", "INT32", ["N"]), "LONG": ("SQUARE", "FP32", ["N", 4, "M", 3])}
    models.write(tmp_path / "repository", "m", models.passes(inputs, outputs), RESHAPED)
    with serving(tmp_path / "repository", tmp_path / "log") as server, streaming(server) as requests:
        given = [(np.arange(n, dtype=np.int32).reshape(n, 1) + 10 * n, np.arange(n * 60, dtype=np.float32).reshape(n, 2, 2, 5, 3) + n) for n in rows]
        for plain, square in given:
            tensors = [grpcclient.InferInput("PLAIN", list(plain.shape), "INT32"), grpcclient.InferInput("SQUARE", list(square.shape), "FP32")]
            for tensor, values in zip(tensors, (plain, square)):
                tensor.set_data_from_numpy(values)
            requests.send("m", tensors)
        for (plain, square), result in zip(given, requests.results(len(rows)), strict=True):
            np.testing.assert_array_equal(result.as_numpy("SCALAR"), plain)
            np.testing.assert_array_equal(result.as_numpy("LONG"), square.reshape(len(plain), 4, 5, 1, 3))
        assert executions(server, "m") == {6: 1}


def test_answers_keep_their_order_over_several_instances(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """test_multi_batch_preserve_ordering: what overtakes a slow request is answered after it."""
    monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", "2")
    config = models.SLOW_CONFIG.replace("count: 1", "count: 2") + "dynamic_batching { preserve_ordering: true }"
    models.write(tmp_path / "repository", "slow", models.slow(), config)
    with serving(tmp_path / "repository", tmp_path / "log") as server, grpcclient.InferenceServerClient(server.grpc) as client:

        def infer(rounds: int, answers: list[int]):
            tensor = grpcclient.InferInput("ROUNDS", [1], "INT64")
            tensor.set_data_from_numpy(np.array([rounds], np.int64))
            return client.async_infer("slow", [tensor], lambda result, error: answers.append(rounds))

        def done() -> int:
            return metric(server, "nv_inference_request_success", model="slow")

        slow, fast = [], []
        running = infer(10_000_000, slow)
        wait_pending(server, "slow", 1)  # hence the next one is behind it
        infer(2, fast)
        wait_until(lambda: done() == 1, 30, "the second request has run")
        infer(3, fast)
        wait_until(lambda: done() == 2, 30, "the third request has run")
        assert fast == [], "the second answer waits for the first, though the third request was sent after it"
        running.cancel()
        wait_until(lambda: len(fast) == 2, 30, "both answers")
        assert fast == [2, 3]


def test_requests_that_arrive_while_the_instance_is_busy_make_the_next_batch(tmp_path: pathlib.Path) -> None:
    """A batch that waits for an instance goes on growing, also without a queue delay."""
    delayed = 'instance_group [ { kind: KIND_CPU count: 1 } ]\ndynamic_batching { }'
    parameters = {"execute_delay_ms": 3_600_000}
    models.write_identity(tmp_path / "repository", "m", [("FP32", [-1])], max_batch_size=8, parameters=parameters, more=delayed)
    with serving(tmp_path / "repository", tmp_path / "log") as server, streaming(server) as requests:
        with streaming(server) as running:
            # Only a stream keeps an order, and two that are as large share no batch: once the second waits, the first one runs.
            for _ in range(2):
                running.send("m", request(8, WIDE))
            wait_pending(server, "m", 1)
            for rows in (2, 3, 1):
                requests.send("m", request(rows, WIDE))
            wait_pending(server, "m", 4)
        wait_pending(server, "m", 0)  # all of the others run, because they run together


def held(server: Nereid, model: str) -> tuple[ThreadPoolExecutor, object]:
    """A request over HTTP that waits."""
    pool = ThreadPoolExecutor(1)
    body = {"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [7]}]}
    future = pool.submit(server.post, f"/v2/models/{model}/infer", body)
    wait_pending(server, model, 1)
    return pool, future


@pytest.fixture
def waiting(tmp_path: pathlib.Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> pathlib.Path:
    """A repository whose model waits: for more requests to come at all, or for its queue delay to pass."""
    delay = HOUR if request.param == "delay" else 0
    if request.param == "hook":
        monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", "2")
    models.write(tmp_path / "repository", "m", models.identity("FP32"), CONFIG % (8, "", [8], delay))
    return tmp_path / "repository"


both = pytest.mark.parametrize("waiting", ["hook", "delay"], indirect=True)
EXPLICIT = ["--model-control-mode=explicit", "--load-model=m"]


@both
def test_an_unload_lets_waiting_requests_run(waiting: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(waiting, tmp_path / "log", *EXPLICIT) as server:
        pool, future = held(server, "m")
        assert server.post("/v2/repository/models/m/unload").status == 200
        answer = future.result(timeout=30)
        assert (answer.status, answer.json()["outputs"][0]["data"]) == (200, [7])
        pool.shutdown()
        unloaded = [{"name": "m", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}]
        wait_until(lambda: server.post("/v2/repository/index", {}).json() == unloaded, 30, "the model is gone")


@both
def test_a_reload_lets_waiting_requests_run(waiting: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(waiting, tmp_path / "log", *EXPLICIT) as server:
        pool, future = held(server, "m")
        os.utime(waiting / "m/1/model.onnx", (0, 0))
        assert server.post("/v2/repository/models/m/load").status == 200
        answer = future.result(timeout=30)
        assert (answer.status, answer.json()["outputs"][0]["data"]) == (200, [7])
        pool.shutdown()


@both
def test_waiting_requests_do_not_hold_the_end(waiting: pathlib.Path, tmp_path: pathlib.Path) -> None:
    server = Nereid(waiting, tmp_path / "log", "--exit-timeout-secs=3600").wait_ready()
    pool, future = held(server, "m")
    assert server.stop() == 0, server.log()
    answer = future.result(timeout=30)
    assert (answer.status, answer.json()["outputs"][0]["data"]) == (200, [7])
    pool.shutdown()
