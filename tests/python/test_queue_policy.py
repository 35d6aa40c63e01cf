"""Priorities and queue policies with the real clients: who runs first, who waits how long, who is turned away.

The cases of Triton's `L0_model_queue` and `queue_timeout_test.py`, without their sleeps: what waits, waits until a preferred
size is reached or an instance is free, and a time-out of a microsecond has passed by the time that the next request comes.
"""

import contextlib
import pathlib
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

import models
from batches import WAIT_S, executions, metric, pending, wait_pending
from nereid_process import Nereid, serving

HOUR = 3_600_000_000
EXPIRED = "Request timeout expired"

CONFIG = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching {
  preferred_batch_size: [ 4, 8 ]
  max_queue_delay_microseconds: %d
  %s
}
"""

clients = pytest.mark.parametrize("module", [httpclient, grpcclient], ids=["http", "grpc"])


class Requests:
    """Requests that are sent one after the other, each on a thread of its own."""

    def __init__(self, server: Nereid, module, pool: ThreadPoolExecutor) -> None:
        self.server, self.module, self.pool = server, module, pool

    def send(self, rows: int, **options: int) -> Future:
        """Sends a request; it answers with its number of rows."""

        def infer() -> int:
            tensor = self.module.InferInput("INPUT0", [rows, 1], "FP32")
            tensor.set_data_from_numpy(np.full([rows, 1], rows, np.float32))
            with self.module.InferenceServerClient(self.server.http if self.module is httpclient else self.server.grpc) as client:
                result = client.infer("m", [tensor], **options).as_numpy("OUTPUT0")
            assert result.shape == (rows, 1) and (result == rows).all()
            return rows

        return self.pool.submit(infer)

    def queue(self, rows: int, waiting: int, **options: int) -> Future:
        """Sends a request, and waits until that many requests wait."""
        future = self.send(rows, **options)
        wait_pending(self.server, "m", waiting)
        return future


@pytest.fixture
def batching(tmp_path: pathlib.Path, module) -> Iterator[Callable[[str], Requests]]:
    """Starts a server whose model waits for 4 or 8 rows, with this queue policy."""
    with ThreadPoolExecutor(8) as pool:
        stack = []

        def start(policy: str, delay: int = HOUR) -> Requests:
            models.write(tmp_path / "repository", "m", models.identity("FP32"), CONFIG % (delay, policy))
            server = Nereid(tmp_path / "repository", tmp_path / "log").wait_ready()
            stack.append(server)
            return Requests(server, module, pool)

        yield start
        for server in stack:
            assert server.stop() == 0, server.log()  # what still waits is answered then


def error(future: Future) -> tuple[str, str]:
    """Status and message."""
    with pytest.raises(InferenceServerException) as caught:
        future.result(timeout=WAIT_S)
    return caught.value.status(), caught.value.message()


def unavailable(module) -> str:
    return "503" if module is httpclient else "StatusCode.UNAVAILABLE"


@clients
def test_what_is_delayed_goes_behind_the_others(batching, module) -> None:
    """test_policy_delay: the first request has timed out when the others come, which make a preferred size without it."""
    policy = f"timeout_action: DELAY allow_timeout_override: true default_timeout_microseconds: {HOUR}"
    requests = batching(f"default_queue_policy {{ {policy} }}")
    delayed = requests.queue(1, waiting=1, timeout=1)
    others = [requests.send(2), requests.send(2)]
    assert [other.result(timeout=WAIT_S) for other in others] == [2, 2]
    assert executions(requests.server, "m") == {4: 1} and pending(requests.server, "m") == 1
    assert requests.send(3).result(timeout=WAIT_S) == 3  # and with it the one that was delayed
    assert delayed.result(timeout=WAIT_S) == 1
    assert executions(requests.server, "m") == {4: 2}


@clients
def test_what_is_rejected_is_answered_at_once(batching, module) -> None:
    """test_policy_reject: and it counts as REJECTED."""
    requests = batching("default_queue_policy { default_timeout_microseconds: 1 }")
    assert error(requests.send(1)) == (unavailable(module), EXPIRED)
    assert metric(requests.server, "nv_inference_request_failure", model="m", reason="REJECTED") == 1
    assert (pending(requests.server, "m"), executions(requests.server, "m")) == (0, {})


@clients
def test_a_client_may_shorten_its_timeout_where_the_policy_allows_it(batching, module) -> None:
    """test_timeout_override: shorter ones count, longer ones do not."""
    requests = batching(f"default_queue_policy {{ allow_timeout_override: true default_timeout_microseconds: {HOUR} }}")
    first = requests.queue(2, waiting=1, timeout=0)
    assert error(requests.send(1, timeout=1)) == (unavailable(module), EXPIRED)
    assert pending(requests.server, "m") == 1
    assert requests.send(2, timeout=HOUR + 1).result(timeout=WAIT_S) == first.result(timeout=WAIT_S) == 2
    assert executions(requests.server, "m") == {4: 1}


@clients
@pytest.mark.parametrize("policy", [f"default_timeout_microseconds: {HOUR}", "allow_timeout_override: true"])
def test_a_clients_timeout_counts_for_nothing_elsewhere(batching, module, policy) -> None:
    """Not where the policy does not allow it, and not where there is no time-out to be shortened."""
    requests = batching(f"default_queue_policy {{ {policy} }}")
    first = requests.queue(2, waiting=1, timeout=1)
    assert [requests.send(2).result(timeout=WAIT_S), first.result(timeout=WAIT_S)] == [2, 2]


@clients
def test_a_timeout_longer_than_the_default_does_not_count(batching, module) -> None:
    requests = batching("default_queue_policy { allow_timeout_override: true default_timeout_microseconds: 1 }")
    assert error(requests.send(1, timeout=HOUR)) == (unavailable(module), EXPIRED)


@clients
@pytest.mark.parametrize(
    ("levels", "default", "low"), [(2, 2, 0), (2, 2, 7), (2**64 - 1, 2**32, 0), (2**64 - 1, 2**32, 2**32)], ids=["default", "unknown", "many", "named"]
)
def test_a_higher_priority_goes_first(batching, module, levels, default, low) -> None:
    """test_priority_levels, test_max_priority_levels: of 2, 1 and 2 rows, the last in level 1, the first and the last run."""
    requests = batching(f"priority_levels: {levels} default_priority_level: {default}")
    first = requests.queue(2, waiting=1)
    second = requests.queue(1, waiting=2, priority=low)
    urgent = requests.send(2, priority=1)
    assert [urgent.result(timeout=WAIT_S), first.result(timeout=WAIT_S)] == [2, 2]
    assert executions(requests.server, "m") == {4: 1} and pending(requests.server, "m") == 1
    assert [requests.send(3).result(timeout=WAIT_S), second.result(timeout=WAIT_S)] == [3, 1]


@clients
def test_each_level_has_its_policy(batching, module) -> None:
    """test_priority_with_policy: level 1 delays and level 2 rejects what has timed out."""
    default = f"default_queue_policy {{ timeout_action: DELAY allow_timeout_override: true default_timeout_microseconds: {HOUR} }}"
    second = f"priority_queue_policy {{ key: 2 value {{ timeout_action: REJECT allow_timeout_override: true default_timeout_microseconds: {HOUR} max_queue_size: 1 }} }}"
    requests = batching(f"priority_levels: 2 default_priority_level: 2 {default} {second}")
    delayed = requests.queue(1, waiting=1, priority=1, timeout=1)
    assert error(requests.send(3, priority=2, timeout=1)) == (unavailable(module), EXPIRED)
    last = requests.queue(2, waiting=2, priority=2)
    assert error(requests.send(1, priority=2)) == (unavailable(module), "[request id: <id_unknown>] Exceeds maximum queue size")
    third = requests.queue(2, waiting=3, priority=1)  # now 2, 1, 2 rows wait
    assert requests.send(2, priority=1).result(timeout=WAIT_S) == third.result(timeout=WAIT_S) == 2
    assert executions(requests.server, "m") == {4: 1} and pending(requests.server, "m") == 2
    assert requests.send(1, priority=1).result(timeout=WAIT_S) == 1  # 1, 1 and 2 rows
    assert [delayed.result(timeout=WAIT_S), last.result(timeout=WAIT_S)] == [1, 2]
    assert executions(requests.server, "m") == {4: 2}


class Busy:
    """A model whose only instance runs for weeks, while a second request waits."""

    def __init__(self, server: Nereid, client: grpcclient.InferenceServerClient) -> None:
        self.server, self.client = server, client
        self.calls = []
        for _ in range(2):
            self.infer()
        wait_pending(server, "m", 1)

    def infer(self, **options: int) -> Future:
        tensor = grpcclient.InferInput("INPUT0", [1, 1], "FP32")
        tensor.set_data_from_numpy(np.ones([1, 1], np.float32))
        future: Future = Future()

        def answered(result, error) -> None:
            future.set_exception(error) if error else future.set_result(result)

        self.calls.append(self.client.async_infer("m", [tensor], answered, **options))
        return future


@contextlib.contextmanager
def busy(folder: pathlib.Path, policy: str) -> Iterator[Busy]:
    more = f"instance_group [ {{ kind: KIND_CPU count: 1 }} ]\ndynamic_batching {{ {policy} }}"
    weeks = {"execute_delay_ms": 2_000_000_000}
    models.write_identity(folder / "repository", "m", [("FP32", [-1])], max_batch_size=1, parameters=weeks, more=more)
    with serving(folder / "repository", folder / "log") as server, grpcclient.InferenceServerClient(server.grpc) as client:
        model = Busy(server, client)
        yield model
        for call in model.calls:
            call.cancel()


def test_a_timeout_passes_while_every_instance_is_busy(tmp_path: pathlib.Path) -> None:
    """queue_timeout_test.py."""
    policy = f"default_queue_policy {{ allow_timeout_override: true default_timeout_microseconds: {HOUR} }}"
    with busy(tmp_path, policy) as model:
        assert error(model.infer(timeout=1)) == ("StatusCode.UNAVAILABLE", EXPIRED)
        assert pending(model.server, "m") == 1


def test_a_full_queue_counts_what_waits_and_not_what_runs(tmp_path: pathlib.Path) -> None:
    """test_max_queue_size."""
    with busy(tmp_path, "default_queue_policy { max_queue_size: 3 }") as model:
        for waiting in (2, 3):
            model.infer()
            wait_pending(model.server, "m", waiting)
        full = ("StatusCode.UNAVAILABLE", "[request id: <id_unknown>] Exceeds maximum queue size")
        assert error(model.infer()) == full
        assert pending(model.server, "m") == 3
        answer = model.server.post("/v2/models/m/infer", {"id": "7", "inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "data": [1]}]})
        assert (answer.status, answer.error()) == (503, "[request id: 7] Exceeds maximum queue size")
        assert answer.headers["Retry-After"] == "1"
        model.calls[0].cancel()  # what runs ends, and the first in the queue takes its place
        wait_pending(model.server, "m", 2)
        model.infer()
        wait_pending(model.server, "m", 3)
