"""The rate limiter with the real clients: what is refused at load, who runs, who waits, and that resources come back."""

import contextlib
import pathlib
import threading
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

import models
from nereid_process import Nereid, serving, wait_until

ON = "--rate-limit=execution_count"
EXPLICIT = "--model-control-mode=explicit"
WEEKS_MS = 2_000_000_000
WAIT_S = 30
LIMITED = (
    'Resource count for "{}" is limited to {} which will prevent scheduling of one or more model instances, '
    "the minimum required count is {}"
)
BOTH = 'Resource "{}" is present as both global and device-specific resource in the model configuration.'


def group(*resources: str, priority: int = 0, count: int = 1) -> str:
    """An instance group that needs, say, `R:4` and `*S:1`, where S is global."""
    entries = []
    for resource in resources:
        name, copies = resource.split(":")
        entries.append(f'{{ name: "{name.lstrip("*")}" global: {str(name.startswith("*")).lower()} count: {copies} }}')
    return f"instance_group [ {{ kind: KIND_CPU count: {count} rate_limiter {{ resources [ {', '.join(entries)} ] priority: {priority} }} }} ]\n"


def write(folder: pathlib.Path, name: str, groups: str, delay_ms: int = 0, **named: object) -> None:
    models.write_identity(folder, name, parameters={"execute_delay_ms": delay_ms}, **{"more": groups, **named})


def regroup(folder: pathlib.Path, name: str, groups: str) -> None:
    path = folder / name / "config.pbtxt"
    path.write_text(path.read_text().split("instance_group")[0] + groups)


def tensor(rows: int = 0) -> grpcclient.InferInput:
    shape = [rows, 1] if rows else [1]
    result = grpcclient.InferInput("INPUT0", shape, "FP32")
    result.set_data_from_numpy(np.ones(shape, np.float32))
    return result


class Request:
    """A request on its way. `error` is `None` when it was answered well."""

    def __init__(self, client: grpcclient.InferenceServerClient, model: str, rows: int = 0, then=lambda: None) -> None:
        self.ended, self.error = threading.Event(), None

        def end(result, error) -> None:  # noqa: ARG001
            self.error = error
            then()
            self.ended.set()

        self.call = client.async_infer(model, [tensor(rows)], callback=end)

    def wait(self) -> "Request":
        assert self.ended.wait(WAIT_S), "the request is answered"
        return self

    def answered(self) -> None:
        assert self.wait().error is None, self.error

    def cancel(self) -> None:
        self.call.cancel()
        self.wait()


class Server(Nereid):
    """What the tests below ask a server."""

    def waiting(self, model: str, count: int) -> None:
        """Until that many requests of the model wait."""
        line = f'nv_inference_pending_request_count{{model="{model}",version="1"}} {count}\n'
        wait_until(lambda: line in self.metrics(), WAIT_S, line)


@contextlib.contextmanager
def limited(folder: pathlib.Path, log: pathlib.Path, *flags: str) -> Iterator[tuple[Server, grpcclient.InferenceServerClient]]:
    with serving(folder, log, *flags) as server, grpcclient.InferenceServerClient(server.grpc) as client:
        server.__class__ = Server
        yield server, client


@pytest.fixture
def folder(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


class Occupied:
    """`holder` runs until it is told to stop, and so holds its resources: it has one request that runs and one that waits."""

    def __init__(self, server: Server, client: grpcclient.InferenceServerClient, holder: str = "holder") -> None:
        self.requests = [Request(client, holder) for _ in range(2)]
        server.waiting(holder, 1)

    def free(self) -> None:
        for request in self.requests:
            request.cancel()


# instance groups of models `a` and `b`, flags, and how the load of `b` is refused
REFUSED = {
    "too few": (group("R:2"), group("R:4"), ["R:3"], LIMITED.format("R", 3, 4)),
    "one of two groups": (group("R:2"), group("R:2") + group("R:4"), ["R:2"], LIMITED.format("R", 2, 4)),
    "of another device": (group(), group("R:4"), ["R:10:10"], LIMITED.format("R", 0, 4)),
    "not listed": (group("S:1"), group("R:1"), ["S:1"], LIMITED.format("R", 0, 1)),
    "the least counts": (group("R:2"), group("R:4"), ["R:8", "R:3", "R:5"], LIMITED.format("R", 3, 4)),
    "global, too few": (group(), group("*R:4"), ["R:3:1", "R:1"], LIMITED.format("R", 3, 4)),
    "global here, of devices there": (group("*R:2"), group("R:2"), [], BOTH.format("R")),
    "of devices here, global there": (group("R:2"), group("*R:2"), [], BOTH.format("R")),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_never_run_is_refused(folder: pathlib.Path, tmp_path: pathlib.Path, case: str) -> None:
    first, second, resources, expected = REFUSED[case]
    write(folder, "a", first)
    write(folder, "b", second)
    flags = [f"--rate-limit-resource={resource}" for resource in resources]
    with limited(folder, tmp_path / "log", ON, EXPLICIT, "--load-model=a", *flags) as (server, client):
        with pytest.raises(InferenceServerException) as error:
            client.load_model("b")
        assert expected in error.value.message()
        answer = server.post("/v2/repository/models/b/load")
        assert (answer.status, expected in answer.error()) == (400, True)
        client.infer("a", [tensor()])


def test_a_server_without_enough_of_something_does_not_start(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write(folder, "a", group("resource1:4"))
    server = Nereid(folder, tmp_path / "log", ON, "--rate-limit-resource=resource1:1")
    assert server.ended() == 1
    assert LIMITED.format("resource1", 1, 4) in server.log().replace('\\"', '"')


@pytest.mark.parametrize("flags", [[], ["--rate-limit=off", "--rate-limit-resource=R:0"]])
def test_without_the_flag_nothing_waits_and_nothing_is_refused(folder: pathlib.Path, tmp_path: pathlib.Path, flags: list[str]) -> None:
    write(folder, "holder", group("R:1"), WEEKS_MS)
    write(folder, "other", group("*R:1"))
    with limited(folder, tmp_path / "log", *flags) as (server, client):
        occupied = Occupied(server, client)
        client.infer("other", [tensor()])
        occupied.free()


def test_enough_for_two_models(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write(folder, "holder", group("R:4"), WEEKS_MS)
    write(folder, "other", group("R:2", "*S:2"))
    with limited(folder, tmp_path / "log", ON, "--rate-limit-resource=R:6", "--rate-limit-resource=S:2") as (server, client):
        occupied = Occupied(server, client)
        client.infer("other", [tensor()])
        occupied.free()


@pytest.mark.parametrize("flags", [[], ["--rate-limit-resource=R:4", "--rate-limit-resource=S:2"]])
def test_models_that_do_not_fit_together_run_by_priority(folder: pathlib.Path, tmp_path: pathlib.Path, flags: list[str]) -> None:
    """As in L0_rate_limiter: twice the priority, half the executions."""
    write(folder, "holder", group("R:4"), WEEKS_MS)
    write(folder, "first", group("R:4", priority=1), 5)
    write(folder, "second", group("R:2", "*S:2", priority=2), 5)
    with limited(folder, tmp_path / "log", ON, *flags) as (server, client):
        occupied = Occupied(server, client)
        order: list[str] = []
        requests = []
        for model in ("first", "second"):
            requests += [Request(client, model, then=lambda model=model: order.append(model)) for _ in range(60)]
            server.waiting(model, 60)
        occupied.free()
        for request in requests:
            request.answered()
        ratio = order[:75].count("first") / order[:75].count("second")
        assert 1.8 < ratio < 2.2, order


def test_batches_fill_while_they_wait(folder: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in L0_rate_limiter: of two instances one always waits, so that every batch is full though each size is preferred."""
    batching = "dynamic_batching { preferred_batch_size: [ 1, 2, 3, 4 ] max_queue_delay_microseconds: 60000000 }"
    write(folder, "batches", group("R:4") + group("R:2", "*S:2", priority=2) + batching, 100, max_batch_size=4)
    monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", "32")
    with limited(folder, tmp_path / "log", ON) as (server, client):
        for request in [Request(client, "batches", rows=1) for _ in range(32)]:
            request.answered()
        (stats,) = server.get("/v2/models/batches/stats").json()["model_stats"]
        assert {batch["batch_size"]: batch["compute_infer"]["count"] for batch in stats["batch_stats"]} == {4: 8}


def test_resources_come_back(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write(folder, "holder", group("R:1"), WEEKS_MS)
    write(folder, "other", group("R:1"))
    models.write(folder, "pick", models.pick(), 'backend: "onnxruntime"\n' + group("R:1"))
    with limited(folder, tmp_path / "log", ON, EXPLICIT, "--load-model=*") as (server, client):
        # after a batch that failed
        index = grpcclient.InferInput("INDEX", [1], "INT64")
        index.set_data_from_numpy(np.array([7], np.int64))
        for _ in range(3):
            with pytest.raises(InferenceServerException, match="onnx runtime error"):
                client.infer("pick", [index])
        client.infer("other", [tensor()])
        # after one that was cancelled, and another whose client went while it waited for its turn
        occupied = Occupied(server, client)
        gone, waits = Request(client, "other"), Request(client, "other")
        server.waiting("other", 2)
        gone.cancel()
        server.waiting("other", 1)
        assert not waits.ended.is_set()
        occupied.free()
        waits.answered()
        # after an unload in the middle, of the one that runs and of the one that waits
        occupied = Occupied(server, client)
        waits = Request(client, "other")
        server.waiting("other", 1)
        client.unload_model("other")
        client.unload_model("holder")
        client.load_model("pick")
        index.set_data_from_numpy(np.array([1], np.int64))
        last = threading.Event()
        client.async_infer("pick", [index], callback=lambda result, error: error or last.set())
        server.waiting("pick", 1)
        assert not waits.ended.is_set()
        occupied.free()
        waits.answered()
        assert last.wait(WAIT_S)


def test_a_server_ends_while_requests_wait_for_their_turn(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write(folder, "first", group("R:1"), 500)
    write(folder, "second", group("R:1"))
    server = Server(folder, tmp_path / "log", ON).wait_ready()
    try:
        with grpcclient.InferenceServerClient(server.grpc) as client:
            requests = [Request(client, "first") for _ in range(2)]
            server.waiting("first", 1)
            requests.append(Request(client, "second"))
            server.waiting("second", 1)
            server.process.terminate()
            for request in requests:
                request.answered()
        assert server.ended() == 0, server.log()
    finally:
        server.process.kill()


def test_groups_with_other_needs_take_over_in_place(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """As in L0_model_update: needs that grow, that grow beyond what there is, and that shrink."""
    write(folder, "holder", group("R:2"), WEEKS_MS)
    write(folder, "changes", group("R:2"))
    flags = [ON, EXPLICIT, "--load-model=*", "--rate-limit-resource=R:10"]
    with limited(folder, tmp_path / "log", *flags) as (server, client):
        successes = lambda: client.get_inference_statistics("changes").model_stats[0].inference_stats.success.count
        occupied = Occupied(server, client)
        for groups in (group("R:8"), group("R:3")):
            regroup(folder, "changes", groups)
            client.load_model("changes")
            client.infer("changes", [tensor()])
        regroup(folder, "changes", group("R:32"))
        with pytest.raises(InferenceServerException) as error:
            client.load_model("changes")
        assert LIMITED.format("R", 10, 32) in error.value.message()
        client.infer("changes", [tensor()])
        regroup(folder, "changes", group("R:10"))
        client.load_model("changes")
        waits = Request(client, "changes")
        server.waiting("changes", 1)
        assert not waits.ended.is_set()
        occupied.free()
        waits.answered()
        assert successes() == 4, "statistics go on"


def test_the_copies_follow_the_models_that_are_there(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write(folder, "large", group("R:2"))
    write(folder, "holder", group("R:1"), WEEKS_MS)
    write(folder, "small", group("R:1"))
    with limited(folder, tmp_path / "log", ON, EXPLICIT, "--load-model=*") as (server, client):
        occupied = Occupied(server, client)
        client.infer("small", [tensor()])  # the large one makes two copies
        client.unload_model("large")
        gone = lambda: any(m.name == "large" and m.reason == "unloaded" for m in client.get_model_repository_index().models)
        wait_until(gone, WAIT_S, "the large one is gone")
        waits = Request(client, "small")
        server.waiting("small", 1)
        client.load_model("large")
        waits.answered()
        occupied.free()
