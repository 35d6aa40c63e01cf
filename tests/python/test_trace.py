"""Traces: the settings over both protocols, and the files, read as Triton's own tools read them."""

import contextlib
import json
import pathlib
import queue
import re
import shutil
import time
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

import digits
from models import write_nested_ensembles
from nereid_process import Nereid, serving, wait_until

NO_FILE = "trace file location can not be updated through network protocol"
INVALID = "Attempting to set invalid trace setting :"
REQUEST = ["REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END", "REQUEST_END", "INFER_RESPONSE_COMPLETE"]
HTTP = ["HTTP_RECV_START", "HTTP_RECV_END", *REQUEST, "HTTP_SEND_START", "HTTP_SEND_END"]
GRPC = ["GRPC_WAITREAD_START", "GRPC_WAITREAD_END", *REQUEST, "GRPC_SEND_START", "GRPC_SEND_END"]
RATE_1 = ("--trace-config=rate=1", "--trace-config=level=TIMESTAMPS")


@pytest.fixture
def models(repository: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """A repository with three models, so that a start is quick."""
    folder = tmp_path / "models"
    for name in ("mnist_mlp", "add_sub", "identity_bytes"):
        shutil.copytree(repository / name, folder / name)
    return folder


def tracing(models: pathlib.Path, path: pathlib.Path, *flags: str) -> contextlib.AbstractContextManager[Nereid]:
    """A server that traces every request into `t` and, after it has ended, has written it."""
    return serving(models, path / "log", *RATE_1, f"--trace-config=triton,file={path}/t", *flags)


@pytest.fixture
def traced(models: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Nereid]:
    with tracing(models, tmp_path) as process:
        yield process


def settings(path: pathlib.Path, **changes: object) -> dict:
    return {"trace_level": ["TIMESTAMPS"], "trace_rate": "1", "trace_count": "-1", "log_frequency": "0", "trace_file": f"{path}/t", "trace_mode": "triton"} | changes


def over_grpc(answer: dict) -> dict:
    """Settings in the form of HTTP."""
    value = {name: setting["value"] for name, setting in answer["settings"].items()}
    return {name: v if name == "trace_level" else v[0] for name, v in value.items()}


def objects(path: pathlib.Path) -> list[dict]:
    return json.loads(path.read_text())


def written(path: pathlib.Path) -> list[dict]:
    """The objects of a file that the server is about to write."""

    def whole() -> list[dict] | None:
        try:
            return objects(path)
        except (OSError, json.JSONDecodeError):
            return None

    return wait_until(whole, 20, f"{path} is there")


def traces(found: list[dict]) -> dict[int, dict]:
    """By id: the head, the moments in their order, the tensors."""
    by_id: dict[int, dict] = {}
    for item in found:
        trace = by_id.setdefault(item["id"], {"moments": [], "tensors": []})
        if "timestamps" in item:
            trace["moments"] += [(moment["name"], moment["ns"]) for moment in item["timestamps"]]
        elif "activity" in item:
            trace["tensors"].append((item["activity"], item["tensor"]))
        else:
            trace |= {k: v for k, v in item.items() if k != "id"}
    return by_id


def names(trace: dict) -> list[str]:
    return [name for name, _ in trace["moments"]]


def digit_input(name: str) -> grpcclient.InferInput:
    tensor = grpcclient.InferInput("input", [1, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(digits.image(name)[None])
    return tensor


def infer_http(server: Nereid, request_id: str = "") -> None:
    body = digits.request("one") | ({"id": request_id} if request_id else {})
    assert server.post("/v2/models/mnist_mlp/infer", body).status == 200


def infer_everywhere(server: Nereid) -> None:
    """One request each over HTTP, gRPC and a stream."""
    infer_http(server, "over http")
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.infer("mnist_mlp", [digit_input("two")], request_id="over grpc")
        answers: queue.Queue = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("mnist_mlp", [digit_input("three")], request_id="over a stream")
        result, error = answers.get(timeout=30)
        assert error is None and np.argmax(result.as_numpy("output")) == 3
        client.stop_stream()


def test_a_file_of_every_protocol_and_the_rest_at_exit(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    before = time.monotonic_ns()
    with tracing(models, tmp_path, "--trace-config=triton,log-frequency=3") as server:
        infer_everywhere(server)
        found = traces(written(tmp_path / "t.0"))
        after = time.monotonic_ns()
        infer_http(server)
    assert sorted(found) == [1, 2, 3]
    for trace, request_id, expected in zip(found.values(), ["over http", "over grpc", "over a stream"], [HTTP, GRPC, GRPC]):
        assert (trace["model_name"], trace["model_version"], trace["request_id"]) == ("mnist_mlp", 1, request_id)
        assert "parent_id" not in trace
        assert names(trace) == expected
        moments = [ns for _, ns in trace["moments"]]
        assert before <= moments[0] and moments == sorted(moments) and moments[-1] <= after, "nanoseconds of the monotonic clock"
    ((number, rest),) = traces(objects(tmp_path / "t.1")).items()
    assert (number, names(rest), "request_id" in rest) == (4, HTTP, False)
    assert sorted(p.name for p in tmp_path.glob("t*")) == ["t.0", "t.1"]


def test_one_file_without_a_frequency(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with tracing(models, tmp_path) as server:
        infer_everywhere(server)
    text = (tmp_path / "t").read_text()
    assert text.startswith('[{"id":1,"timestamps":[{"name":"HTTP_RECV_START","ns":') and text.endswith("}]}]")
    assert [names(trace) for trace in traces(json.loads(text)).values()] == [HTTP, GRPC, GRPC]


def test_generate_is_traced(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with tracing(models, tmp_path) as server:
        for route in ("generate", "generate_stream"):
            body = {"id": route, "input": digits.image("one").flatten().tolist()}
            assert server.post(f"/v2/models/mnist_mlp/{route}", body).status == 200
    found = traces(objects(tmp_path / "t")).values()
    assert [(trace["request_id"], names(trace)) for trace in found] == [("generate", HTTP), ("generate_stream", HTTP)]


def test_the_count_runs_out(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with tracing(models, tmp_path, "--trace-config=count=2") as server:
        for number in range(4):
            infer_http(server, str(number))
        assert [t["request_id"] for t in traces(written(tmp_path / "t.0")).values()] == ["0", "1"]
        assert server.get("/v2/trace/setting").json() == settings(tmp_path, trace_count="0")
    assert not (tmp_path / "t").exists()


def test_every_third_request(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with tracing(models, tmp_path, "--trace-config=rate=3") as server:
        for number in range(1, 8):
            infer_http(server, str(number))
    assert [t["request_id"] for t in traces(objects(tmp_path / "t")).values()] == ["3", "6"]


def test_tensors(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with tracing(models, tmp_path, "--trace-config=level=TENSORS") as server:
        numbers = [{"name": name, "shape": [1, 16], "datatype": "INT32", "data": list(range(16))} for name in ("INPUT0", "INPUT1")]
        assert server.post("/v2/models/add_sub/infer", {"inputs": numbers}).status == 200
        with grpcclient.InferenceServerClient(server.grpc) as client:
            words = grpcclient.InferInput("INPUT0", [1, 2], "BYTES")
            words.set_data_from_numpy(np.array([[b'say "a,b"\n', b""]], np.object_))
            client.infer("identity_bytes", [words])
            client.infer("mnist_mlp", [digit_input("four")])
    first, second, third = traces(objects(tmp_path / "t")).values()
    count = ",".join(map(str, range(16)))
    assert first["tensors"] == [
        ("TENSOR_QUEUE_INPUT", {"name": "INPUT0", "data": count, "shape": "1,16", "dtype": "INT32"}),
        ("TENSOR_QUEUE_INPUT", {"name": "INPUT1", "data": count, "shape": "1,16", "dtype": "INT32"}),
        ("TENSOR_BACKEND_OUTPUT", {"name": "OUTPUT0", "data": ",".join(str(2 * n) for n in range(16)), "shape": "1,16", "dtype": "INT32"}),
        ("TENSOR_BACKEND_OUTPUT", {"name": "OUTPUT1", "data": ",".join(["0"] * 16), "shape": "1,16", "dtype": "INT32"}),
    ]
    assert names(first) == HTTP and names(second) == GRPC
    assert [(tensor["data"], tensor["dtype"]) for _, tensor in second["tensors"]] == [('"say ""a,b""\n",""', "BYTES")] * 2
    (_, pixels), (_, logits) = third["tensors"]
    assert np.allclose(np.array(pixels["data"].split(","), np.float32), digits.image("four").ravel(), rtol=1e-5)
    assert np.argmax(np.array(logits["data"].split(","), np.float32)) == 4


def test_tensors_too_large_to_read_are_left_out(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with tracing(models, tmp_path, "--trace-config=level=TENSORS") as server, grpcclient.InferenceServerClient(server.grpc) as client:
        word = grpcclient.InferInput("INPUT0", [1, 1], "BYTES")
        word.set_data_from_numpy(np.array([[b"x" * (40 << 20)]], np.object_))
        client.infer("identity_bytes", [word])  # with its answer more than 64 MiB
        client.infer("mnist_mlp", [digit_input("four")])
        assert "trace 1: no tensors, they have more than 67108864 bytes" in server.log()
    first, second = traces(objects(tmp_path / "t")).values()
    assert (names(first), len(first["tensors"])) == (GRPC, 0)
    assert len(second["tensors"]) == 2


def test_requests_that_fail_have_what_happened(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    wrong = {"inputs": [{"name": "input", "shape": [1], "datatype": "FP32", "data": [0]}]}
    with tracing(models, tmp_path) as server:
        assert server.post("/v2/models/mnist_mlp/infer", wrong).status == 400
        assert server.post("/v2/models/mnist_mlp/infer", b"{").status == 500
        assert server.post("/v2/models/nobody/infer", wrong).status == 404
        with grpcclient.InferenceServerClient(server.grpc) as client:
            short = grpcclient.InferInput("input", [1], "FP32")
            short.set_data_from_numpy(np.zeros(1, np.float32))
            for model in ("mnist_mlp", "nobody"):
                with pytest.raises(InferenceServerException):
                    client.infer(model, [short])
        infer_http(server)
    http, over_grpc = ["HTTP_RECV_START", "HTTP_RECV_END", "HTTP_SEND_START", "HTTP_SEND_END"], GRPC[:2] + GRPC[-2:]
    found = traces(objects(tmp_path / "t"))
    assert [names(trace) for trace in found.values()] == [http, http, over_grpc, HTTP]
    assert ["model_name" in trace for trace in found.values()] == [False, False, False, True]


def test_settings_over_http(traced: Nereid, tmp_path: pathlib.Path) -> None:
    start = settings(tmp_path)
    with httpclient.InferenceServerClient(traced.http) as client:
        assert client.get_trace_settings() == client.get_trace_settings("mnist_mlp") == start
        client.update_trace_settings("mnist_mlp", {"trace_rate": "12", "log_frequency": "34"})
        client.update_trace_settings(settings={"trace_rate": "56", "trace_count": "78", "trace_level": ["OFF"]})
        assert client.update_trace_settings(settings={"trace_rate": None, "trace_count": None}) == start | {"trace_level": ["OFF"]}
        assert client.get_trace_settings("mnist_mlp") == start | {"trace_level": ["OFF"], "trace_rate": "12", "log_frequency": "34"}
        assert client.update_trace_settings("mnist_mlp", {"trace_rate": None, "trace_level": None}) == start | {"trace_level": ["OFF"], "log_frequency": "34"}
        levels = ["TIMESTAMPS", "TENSORS"]
        assert client.update_trace_settings("mnist_mlp", {"trace_level": levels}) == start | {"trace_level": levels, "log_frequency": "34"}
        for model, change, text in [
            ("mnist_mlp", {"trace_file": "model.log"}, NO_FILE),
            (None, {"trace_file": None}, NO_FILE),
            ("nobody", {}, "Request for unknown model: 'nobody' is not found"),
            (None, {"trace_level": ["OFF", "TENSORS"]}, "Expect only one trace level 'OFF' is specified"),
            ("mnist_mlp", {"trace_rate": "0"}, f"{INVALID}sample rate must be non-zero"),
            (None, {"trace_count": "-2"}, "Unable to parse 'trace_count'. Expecting value >= -1, got:-2"),
        ]:
            with pytest.raises(InferenceServerException, match=re.escape(text)):
                client.update_trace_settings(model, change)
        with pytest.raises(InferenceServerException, match="Request for unknown model: 'nobody'"):
            client.get_trace_settings("nobody")
    assert traced.get("/v2/models/mnist_mlp/versions/1/trace/setting").status == 404
    assert traced.request("PUT", "/v2/trace/setting").status == 405


def test_settings_over_grpc(traced: Nereid, tmp_path: pathlib.Path) -> None:
    start = settings(tmp_path)
    with grpcclient.InferenceServerClient(traced.grpc) as client:

        def update(model: str | None, **changes: object) -> dict:
            return over_grpc(client.update_trace_settings(model, changes, as_json=True))

        assert over_grpc(client.get_trace_settings(as_json=True)) == over_grpc(client.get_trace_settings("mnist_mlp", as_json=True)) == start
        update("mnist_mlp", trace_rate="12", log_frequency="34")
        update(None, trace_rate="56", trace_count="78", trace_level=["OFF"])
        assert update(None, trace_rate=None, trace_count=None) == start | {"trace_level": ["OFF"]}
        assert update("mnist_mlp", trace_rate=None, trace_level=None) == start | {"trace_level": ["OFF"], "log_frequency": "34"}
        assert traced.get("/v2/models/mnist_mlp/trace/setting").json()["log_frequency"] == "34", "the same settings over both protocols"
        for model, change, text in [
            ("mnist_mlp", {"trace_file": "model.log"}, NO_FILE),
            ("nobody", {}, "Request for unknown model: 'nobody' is not found"),
            (None, {"trace_rate": ["1", "2"]}, "expect only 1 value for 'trace_rate'"),
            (None, {"trace_count": "-2"}, "Unable to parse 'trace_count'. Expecting value >= -1, got: -2"),
            (None, {"trace_level": ["TENSORS"], "trace_rate": "0"}, f"{INVALID}sample rate must be non-zero"),
        ]:
            with pytest.raises(InferenceServerException, match=re.escape(text)):
                client.update_trace_settings(model, change)


def test_a_models_settings_outlive_an_unload(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with tracing(models, tmp_path, "--model-control-mode=explicit", "--load-model=mnist_mlp") as server:
        path = "/v2/models/mnist_mlp/trace/setting"
        changed = server.post(path, {"trace_rate": "7"}).json()
        assert changed == settings(tmp_path, trace_rate="7")
        assert server.post("/v2/repository/models/mnist_mlp/unload").status == 200
        wait_until(lambda: server.get(path).status == 404, 20, "the model is gone")
        assert server.post("/v2/repository/models/mnist_mlp/load").status == 200
        assert server.get(path).json() == changed


def test_without_a_file_nothing_can_be_traced(server: Nereid) -> None:
    answer = server.post("/v2/trace/setting", {"trace_level": ["TIMESTAMPS"]})
    assert (answer.status, answer.error()) == (400, f"{INVALID}trace file name is not given")
    assert server.get("/v2").json()["extensions"][-2:] == ["trace", "logging"]


@pytest.mark.parametrize("file", ["/nowhere/at/all", "/dev/full"])
def test_a_file_that_cannot_be_written_fails_no_request(models: pathlib.Path, tmp_path: pathlib.Path, file: str) -> None:
    with serving(models, tmp_path / "log", *RATE_1, f"--trace-config=triton,file={file}") as server:
        for _ in range(3):
            infer_everywhere(server)
        wait_until(lambda: "failed creating trace file" in server.log(), 20, "the log says so")
    assert server.log().count("failed creating trace file") == 1, "and says so once"


def test_an_ensemble_has_traces_of_its_models(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    write_nested_ensembles(models)
    numbers = {"name": "x", "shape": [1, 16], "datatype": "INT32", "data": list(range(16))}
    with tracing(models, tmp_path, "--trace-config=level=TENSORS") as server:
        assert server.post("/v2/models/outer/infer", {"inputs": [numbers], "id": "r"}).status == 200
        infer_http(server)
        assert server.post("/v2/models/outer/infer", {"inputs": [numbers | {"shape": [99, 16]}]}).status >= 400
    found = traces(objects(tmp_path / "t"))
    parents = {trace["model_name"]: trace.get("parent_id") for trace in found.values() if trace.get("request_id") == "r"}
    ids = {trace["model_name"]: number for number, trace in found.items() if trace.get("request_id") == "r"}
    assert parents == {"outer": None, "inner": ids["outer"], "a": ids["inner"], "b": ids["inner"], "c": ids["outer"]}
    assert sorted(found) == [*range(1, 8)] and all(ids[name] > (parent or 0) for name, parent in parents.items()), "parents come first"
    count = ",".join(map(str, range(16)))
    for name, number in ids.items():
        computes = ["COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END"] if name in "abc" else []
        expected = ["REQUEST_START", "QUEUE_START", *computes, "REQUEST_END"]
        if name == "outer":
            expected = [*HTTP[:2], *expected, "INFER_RESPONSE_COMPLETE", *HTTP[-2:]]
        assert names(found[number]) == expected
        assert [(activity, tensor["data"]) for activity, tensor in found[number]["tensors"]] == [("TENSOR_QUEUE_INPUT", count), ("TENSOR_BACKEND_OUTPUT", count)]
    assert [trace["model_name"] for trace in found.values() if "request_id" not in trace and "model_name" in trace] == ["mnist_mlp"]


def test_hostile_settings(traced: Nereid, tmp_path: pathlib.Path) -> None:
    deep = "JSON nesting depth exceeds maximum allowed limit (100)"
    for path in ("/v2/trace/setting", "/v2/models/mnist_mlp/trace/setting"):
        for body, text in [
            (b'{"trace_level":' + b"[" * 250_000 + b"]" * 250_000 + b"}", deep),
            (b"[" * 250_000, deep),
            (b'{"trace_rate":' + b"9" * 400 + b"}", "failed to parse the request JSON buffer: Number too big"),
            (b'{"trace_rate":"' + b"9" * 400 + b'"}', "Unable to parse 'trace_rate', value is out of range [ 0, 4294967295 ], got: 9"),
            (b'{"trace_rate":"\\u0000\\n"}', "Unable to parse 'trace_rate', got: \0\n"),
        ]:
            answer = traced.post(path, body)
            assert answer.status >= 400 and answer.error().startswith(text), (body[:40], answer.body)
    request = service_pb2.TraceSettingRequest(model_name="m\0\n" * 1000)
    with grpc.insecure_channel(traced.grpc) as channel, pytest.raises(grpc.RpcError) as error:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).TraceSetting(request)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert traced.get("/v2/trace/setting").json() == settings(tmp_path)


def test_the_file_is_json_whatever_ids_clients_send(models: pathlib.Path, tmp_path: pathlib.Path) -> None:
    ids = ['"},{"id":7,"x":"', "a\nb\0c", "\\", "\u2028\U0001f600", "i" * 100_000]
    with tracing(models, tmp_path) as server:
        for request_id in ids:
            infer_http(server, request_id)
    assert [t["request_id"] for t in traces(objects(tmp_path / "t")).values()] == ids
