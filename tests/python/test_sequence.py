"""Sequences with the real clients: both strategies, every control, state, idle time-out, backlog, cancellation.

Answers are sums over a sequence, so that a request that ran on another sequence's state, or out of order, is seen.
"""

import contextlib
import json
import pathlib
import queue
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

import sequences
from nereid_process import Nereid, serving, wait_until

WAIT_S = 30
OLDEST = "oldest { max_candidate_sequences: 4 max_queue_delay_microseconds: 0 }"
MODELS = {
    "direct": {},
    "oldest": {"strategy": OLDEST},
    "single": {"max_batch_size": 0},
    "two": {"instances": 2, "max_batch_size": 2},
    "narrow": {"max_batch_size": 1},
    "narrow_oldest": {"max_batch_size": 4, "strategy": "oldest { max_candidate_sequences: 1 }"},
    "hasty": {"max_batch_size": 1, "idle_us": 50_000},
    "hasty_oldest": {"strategy": "oldest { max_candidate_sequences: 1 }", "idle_us": 50_000},
    "numbers": {"corrid": "TYPE_INT32"},
    "strings": {"corrid": "TYPE_STRING", "strategy": OLDEST},
    "visible": {"outputs": ', { name: "OUT_STATE" data_type: TYPE_INT32 dims: [ 1 ] }'},
    "iterative": {"more": "iterative_sequence: true", "max_batch_size": 1},
    "grows": {"more": "", "initial": "use_same_buffer_for_input_output: true use_growable_memory: true"},
    "warm": {"warm_up": 'inputs { key: "START" value { data_type: TYPE_INT32 dims: [ 1 ] zero_data: true } }'},
    "warm_id": {"warm_up": "", "corrid": "TYPE_STRING"},
    "from_file": {
        "start": False,
        "initial": 'initial_state: [ { data_type: TYPE_INT32 dims: [ 1 ] data_file: "hundred" name: "hundred" } ]',
    },
    "from_zero": {
        "start": False,
        "strategy": OLDEST,
        "initial": 'initial_state: [ { data_type: TYPE_INT32 dims: [ 1 ] zero_data: true name: "zero" } ]',
    },
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    repository = tmp_path_factory.mktemp("sequences")
    for name, options in MODELS.items():
        folder = sequences.write(repository, name, **options)
        if name == "from_file":
            (folder / "initial_state").mkdir()
            (folder / "initial_state" / "hundred").write_bytes(np.array([100], np.int32).tobytes())
    with serving(repository, tmp_path_factory.mktemp("log") / "log") as process:
        yield process


def infer_input(module: object, value: int, rows: int | None = 1) -> object:
    shape = [1] if rows is None else [rows, 1]
    tensor = module.InferInput("INPUT", shape, "INT32")
    tensor.set_data_from_numpy(np.full(shape, value, np.int32))
    return tensor


class Client:
    """Sends requests of sequences over one of the protocols."""

    def __init__(self, protocol: str, server: Nereid, model: str) -> None:
        self.module = httpclient if protocol == "http" else grpcclient
        options = {"concurrency": 16} if protocol == "http" else {}
        self.client = self.module.InferenceServerClient(getattr(server, protocol), **options)
        self.model = model
        self.rows: int | None = None if model == "single" else 1

    def send(self, sequence: int | str, value: int, start: bool = False, end: bool = False, **options: object) -> object:
        rows = options.pop("rows", self.rows)
        return self.client.infer(
            self.model,
            [infer_input(self.module, value, rows)],
            sequence_id=sequence,
            sequence_start=start,
            sequence_end=end,
            **options,
        )

    def total(self, *args: object, **options: object) -> int:
        return int(self.send(*args, **options).as_numpy("OUTPUT").item())

    def refused(self, *args: object, **options: object) -> str:
        with pytest.raises(InferenceServerException) as refused:
            self.send(*args, **options)
        return refused.value.message()


@pytest.fixture(params=["http", "grpc"])
def connect(request: pytest.FixtureRequest, server: Nereid):
    return lambda model: Client(request.param, server, model)


def statistics(server: Nereid, model: str) -> tuple[dict[int, int], int, int]:
    """How many executions of which size, how many in all, and how many inferences."""
    found = json.loads(server.get(f"/v2/models/{model}/stats").body)["model_stats"][0]
    sizes = {batch["batch_size"]: batch["compute_infer"]["count"] for batch in found["batch_stats"]}
    return sizes, found["execution_count"], found["inference_count"]


def pending(server: Nereid, model: str) -> float:
    label = f'model="{model}"'
    lines = server.metrics().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("nv_inference_pending_request_count{") and label in line)


class Stream:
    """A gRPC stream, which is how sequences are usually sent. Answers come in any order among sequences."""

    def __init__(self, server: Nereid, model: str, rows: int | None = 1) -> None:
        self.model, self.rows = model, rows
        self.client = grpcclient.InferenceServerClient(server.grpc)
        self.answers: queue.Queue[tuple[object, object]] = queue.Queue()
        self.client.start_stream(lambda result, error: self.answers.put((result, error)))

    def send(self, sequence: int | str, value: int, start: bool = False, end: bool = False, **options: object) -> None:
        self.client.async_stream_infer(
            self.model,
            [infer_input(grpcclient, value, self.rows)],
            sequence_id=sequence,
            sequence_start=start,
            sequence_end=end,
            **options,
        )

    def send_all(self, sequence: int | str, values: list[int]) -> None:
        last = len(values) - 1
        for place, value in enumerate(values):
            self.send(sequence, value, place == 0, place == last, request_id=f"{sequence}/{place}")

    def take(self, count: int) -> dict[str, int]:
        totals = {}
        for _ in range(count):
            result, error = self.answers.get(timeout=WAIT_S)
            assert error is None, error
            totals[result.get_response().id] = int(result.as_numpy("OUTPUT").item())
        return totals

    def error(self) -> str:
        _, error = self.answers.get(timeout=WAIT_S)
        return error.message()


@contextlib.contextmanager
def streaming(server: Nereid, model: str, rows: int | None = 1) -> Iterator[Stream]:
    stream = Stream(server, model, rows)
    try:
        yield stream
    finally:
        stream.client.stop_stream()


@pytest.mark.parametrize("model", ["direct", "oldest", "single", "two", "narrow", "visible", "grows"])
def test_a_sequence_adds_up(connect, model: str) -> None:
    client = connect(model)
    assert [client.total(7, 1, start=True), client.total(7, 2), client.total(7, 3, end=True)] == [1, 3, 6]
    assert client.total(7, 10, start=True, end=True) == 10, "the same id begins anew"


@pytest.mark.parametrize("model", ["direct", "oldest", "two"])
def test_sequences_do_not_mix(connect, model: str) -> None:
    client = connect(model)
    ids = [11, 12, 13, 14]
    totals = {n: [client.total(n, n, start=True)] for n in ids}
    for _ in range(5):
        for n in reversed(ids):
            totals[n].append(client.total(n, n))
    for n in ids:
        totals[n].append(client.total(n, 0, end=True))
    assert totals == {n: [n, *(n * k for k in range(2, 7)), 6 * n] for n in ids}


def test_control_inputs_say_where_a_request_stands(connect) -> None:
    client = connect("direct")
    flags = [client.send(1, 0, *ends).as_numpy("FLAGS")[0].tolist() for ends in [(True, False), (False, False), (False, True), (True, True)]]
    assert flags == [[1, 0, 1], [0, 0, 1], [0, 1, 1], [1, 1, 1]]


def test_correlation_ids(connect) -> None:
    numbers, strings = connect("numbers"), connect("strings")
    assert numbers.send(12345, 1, start=True, end=True).as_numpy("ID").tolist() == [[12345]]
    assert strings.send("über", 1, start=True).as_numpy("ID")[0, 0].decode() == "über"
    assert strings.total("über", 2, end=True) == 3
    wrong = "[request id: <id_unknown>] sequence batching control 'CORRID' data-type is '{}', but model '{}' expects '{}'"
    assert numbers.refused("text", 1, start=True) == wrong.format("BYTES", "numbers", "INT32")
    assert strings.refused(5, 1, start=True) == wrong.format("UINT64", "strings", "BYTES")
    plain = connect("direct")
    assert (plain.total("text", 1, start=True), plain.total("text", 2, end=True)) == (1, 3), "nobody looks at the id"


def test_what_is_refused(connect) -> None:
    client = connect("direct")
    start = "inference request for sequence {} to model 'direct' must specify the START flag on the first request of the sequence"
    assert client.refused(99, 1) == start.format(99)
    assert client.refused("x", 1) == start.format("x")
    assert client.refused(0, 1, start=True) == "inference request to model 'direct' must specify a non-zero or non-empty correlation ID"
    one = "inference request to model 'direct' must specify batch-size 1 due to requirements of sequence batcher"
    assert client.refused(3, 1, start=True, rows=2) == one
    assert client.total(4, 1, start=True, end=True) == 1
    assert client.refused(4, 1) == start.format(4), "the sequence has ended"


def test_a_repeated_start_begins_anew(connect) -> None:
    client = connect("oldest")
    assert [client.total(5, 1, start=True), client.total(5, 2), client.total(5, 7, start=True), client.total(5, 1, end=True)] == [1, 3, 7, 8]


def test_initial_states(connect) -> None:
    for model, first in [("from_file", 100), ("from_zero", 0)]:
        client = connect(model)
        assert [client.total(1, 1, start=True), client.total(1, 2), client.total(1, 3, start=True), client.total(1, 0, end=True)] == [
            first + 1,
            first + 3,
            first + 3,
            first + 3,
        ]


def test_a_state_is_shown_only_if_it_is_an_output(connect) -> None:
    for model, shown in [("visible", True), ("direct", False)]:
        result = connect(model).send(1, 4, start=True, end=True)
        state = result.as_numpy("OUT_STATE")
        assert (state is not None) == shown, model
        assert not shown or state.tolist() == [[4]]
    refused = connect("direct").refused(1, 1, start=True, outputs=[connect("direct").module.InferRequestedOutput("OUT_STATE")])
    assert "unexpected inference output 'OUT_STATE' for model 'direct'" in refused


def test_models_with_sequences_are_warmed_up(server: Nereid) -> None:
    for model in ["warm", "warm_id"]:
        assert statistics(server, model) == ({1: 1}, 1, 1)


def test_iterative_requests_need_no_id(connect) -> None:
    client = connect("iterative")
    assert [client.total(0, value) for value in [3, 4]] == [3, 4]
    assert client.send(0, 1).as_numpy("FLAGS").tolist() == [[1, 0, 1]]


@pytest.mark.parametrize("model", ["direct", "oldest", "single", "two", "narrow", "narrow_oldest"])
def test_many_sequences_on_one_stream(server: Nereid, model: str) -> None:
    """More than there are slots, so that some wait in the backlog."""
    with streaming(server, model, None if model == "single" else 1) as stream:
        for sequence in range(1, 11):
            stream.send_all(sequence, [sequence] * 5)
        totals = stream.take(50)
        assert totals == {f"{s}/{place}": s * (place + 1) for s in range(1, 11) for place in range(5)}


def test_two_streams_interleave(server: Nereid) -> None:
    with streaming(server, "two") as one, streaming(server, "two") as other:
        for place in range(20):
            for stream, sequence in [(one, "one"), (other, "other")]:
                stream.send(sequence, 1, place == 0, place == 19, request_id=f"{place}")
        expected = {f"{place}": place + 1 for place in range(20)}
        assert (one.take(20), other.take(20)) == (expected, expected)


def test_answers_of_a_sequence_keep_their_order(server: Nereid) -> None:
    with streaming(server, "oldest") as stream:
        stream.send_all(1, [1] * 50)
        assert list(stream.take(50).values()) == list(range(1, 51))


@pytest.mark.parametrize("model", ["hasty", "hasty_oldest"])
def test_an_idle_sequence_ends_and_its_slot_goes_to_the_backlog(server: Nereid, model: str) -> None:
    with streaming(server, model) as stream:
        stream.send(1, 1, start=True)
        stream.send(2, 2, start=True, end=True)
        result = [stream.answers.get(timeout=WAIT_S)[0].as_numpy("OUTPUT").item() for _ in range(2)]
        assert result == [1, 2], "the only slot was free in time"
        stream.send(1, 1)
        assert "must specify the START flag" in stream.error()


def test_a_backlogged_sequence_times_out(server: Nereid) -> None:
    with streaming(server, "narrow") as stream:
        stream.send(1, 1, start=True, request_id="first")
        assert stream.take(1) == {"first": 1}
        stream.send(2, 2, start=True, timeout=50_000)
        stream.send(2, 2, end=True)
        expired = "timeout of the corresponding sequence has been expired"
        assert (expired in stream.error(), expired in stream.error()) == (True, True)
        stream.send(1, 1, end=True, request_id="last")
        assert stream.take(1) == {"last": 2}


def test_pending_requests_are_counted(server: Nereid) -> None:
    with streaming(server, "narrow") as stream:
        stream.send(1, 1, start=True, request_id="first")
        stream.take(1)
        for sequence in [2, 3]:
            stream.send_all(sequence, [1, 1])
        wait_until(lambda: pending(server, "narrow") == 4, WAIT_S, "four requests wait in the backlog")
        stream.send(1, 1, end=True, request_id="last")
        assert len(stream.take(5)) == 5
        assert pending(server, "narrow") == 0


@pytest.mark.parametrize("model", ["narrow", "narrow_oldest"])
def test_a_client_that_goes_gives_up_its_place_in_the_backlog(server: Nereid, model: str) -> None:
    client = grpcclient.InferenceServerClient(server.grpc)
    with streaming(server, model) as holder:
        holder.send(1, 1, start=True, request_id="first")
        holder.take(1)
        answers: queue.Queue[object] = queue.Queue()
        tensor = infer_input(grpcclient, 1)
        call = client.async_infer(model, [tensor], lambda result, error: answers.put(error), sequence_id=2, sequence_start=True)
        wait_until(lambda: pending(server, model) == 1, WAIT_S, "the request waits in the backlog")
        call.cancel()
        assert answers.get(timeout=WAIT_S) is not None
        wait_until(lambda: pending(server, model) == 0, WAIT_S, "it has left")
        assert "must specify the START flag" in Client("grpc", server, model).refused(2, 1)
        holder.send(1, 1, end=True, request_id="last")
        holder.send(3, 5, start=True, end=True, request_id="next")
        assert holder.take(2) == {"last": 2, "next": 5}


def held(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, queued: int, backlogged: int, **options: object):
    """A server whose model `held` runs nothing before so many requests wait."""
    monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", str(queued))
    monkeypatch.setenv("TRITONSERVER_BACKLOG_DELAY_SCHEDULER", str(backlogged))
    repository = tmp_path / "repository"
    sequences.write(repository, "held", **options)
    return serving(repository, tmp_path / "log")


def test_four_sequences_share_batches(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """L0_sequence_batcher's `test_multi_sequence`: sequences of three, three, three and three requests."""
    with held(tmp_path, monkeypatch, 12, 0) as server, streaming(server, "held") as stream:
        for sequence in range(1, 5):
            stream.send_all(sequence, [1, 1, 1])
        stream.take(12)
        assert statistics(server, "held") == ({4: 3}, 3, 12)


def test_null_requests_fill_the_slots_of_short_sequences(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """L0_sequence_batcher's `test_multi_sequence_different_size`: the lower slots run dry first."""
    with held(tmp_path, monkeypatch, 8, 0) as server, streaming(server, "held") as stream:
        for sequence, length in [(1, 1), (2, 1), (3, 2), (4, 4)]:
            stream.send_all(sequence, [1] * length)
        totals = stream.take(8)
        assert (totals["3/1"], totals["4/3"]) == (2, 4)
        assert statistics(server, "held") == ({4: 4}, 4, 8)


def test_the_backlog_fills_slots_as_they_become_free(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """L0_sequence_batcher's `test_backlog`: a fifth sequence gets the slot of the first that ends."""
    with held(tmp_path, monkeypatch, 10, 2) as server, streaming(server, "held") as stream:
        for sequence, length in [(1, 3), (2, 2), (3, 2), (4, 3)]:
            stream.send_all(sequence, [1] * length)
        stream.send_all(5, [10, 10])
        totals = stream.take(12)
        assert (totals["5/0"], totals["5/1"]) == (10, 20)
        # Rows: 1 2 3 4, 1 2 3 4, 1 5 - 4, - 5.
        assert statistics(server, "held") == ({4: 3, 2: 1}, 4, 12)


def test_the_oldest_strategy_sends_no_null_requests(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with held(tmp_path, monkeypatch, 4, 0, strategy=OLDEST) as server, streaming(server, "held") as stream:
        for sequence, length in [(1, 1), (2, 1), (3, 2), (4, 3)]:
            stream.send_all(sequence, [1] * length)
        assert stream.take(7)["4/2"] == 3
        sizes, executions, inferences = statistics(server, "held")
        assert (inferences, sum(size * count for size, count in sizes.items()), sizes[4]) == (7, 7, 1)
        assert executions == sum(sizes.values())


def test_an_idle_sequence_does_not_hold_the_server(tmp_path: pathlib.Path) -> None:
    repository = tmp_path / "repository"
    sequences.write(repository, "direct")
    with serving(repository, tmp_path / "log") as server:
        client = httpclient.InferenceServerClient(server.http)

        def send(value: int, **flags: bool) -> int:
            result = client.infer("direct", [infer_input(httpclient, value)], sequence_id=1, **flags)
            return int(result.as_numpy("OUTPUT").item())

        assert send(1, sequence_start=True) == 1
    # `serving` has ended the server, though its sequence is not over.


def test_bad_configs_are_refused(tmp_path: pathlib.Path) -> None:
    repository = tmp_path / "repository"
    cases = {
        "two_starts": ('name: "END" control [ { kind: CONTROL_SEQUENCE_END', 'name: "END" control [ { kind: CONTROL_SEQUENCE_START'),
        "three_values": ("kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1 ]", "kind: CONTROL_SEQUENCE_END int32_false_true: [ 0, 1, 2 ]"),
        "no_input": ('name: "END" control', 'name: "FIN" control'),
        "wrong_type": ("kind: CONTROL_SEQUENCE_END int32_false_true", "kind: CONTROL_SEQUENCE_END fp32_false_true"),
        "no_state": ('state [ { input_name: "IN_STATE" output_name: "OUT_STATE" data_type: TYPE_INT32 dims: [ 1 ]  } ]', ""),
        "two_strategies": ("state [", "direct { } oldest { } state ["),
    }
    for name, (old, new) in cases.items():
        folder = sequences.write(repository, name)
        path = folder / "config.pbtxt"
        text = path.read_text()
        assert old in text, name
        path.write_text(text.replace(old, new))
    expected = {
        "two_starts": "sequence batching specifies multiple CONTROL_SEQUENCE_START tensors for two_starts",
        "three_values": "sequence batching control 'int32_false_true' must have exactly 2 entries for CONTROL_SEQUENCE_END for three_values",
        "no_input": "configuration specified sequence control 'FIN', but model does not provide that input",
        "wrong_type": "unable to load model 'wrong_type', sequence control 'END', the model expects data-type INT32 but the model configuration specifies data-type TYPE_FP32",
        "no_state": "unable to load model 'no_state', configuration expects 4 inputs, model provides 5",
        "two_strategies": "field 'oldest' excludes 'direct', which is given already",
    }
    with serving(repository, tmp_path / "log", "--exit-on-error=false", "--strict-readiness=false") as server:
        log = server.log()
        missing = [reason for reason in expected.values() if reason not in log]
        assert not missing, log
        index = {entry["name"]: entry for entry in server.request("POST", "/v2/repository/index").json()}
        assert {entry.get("state", "") for entry in index.values()} <= {"", "UNAVAILABLE"}
