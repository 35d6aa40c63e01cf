"""The access log: a line for each request for inference or model control, in every format, whatever becomes of it."""

import json
import os
import pathlib
import queue
import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

import models
from nereid_process import Nereid, serving, wait_until

WAIT_S = 30
HOUR_MS = 3_600_000
HEAD = re.compile(r"(?:I\d{4} \d\d:\d\d:\d\d\.\d{6}|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ I) \d+ [\w-]+\.rs:\d+\] access ")
MEMBER = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^ "]+)(?: |$)')
NUMBERS = re.compile(r"version|(grpc_)?status|bytes_\w+|rows|\w+_us")
FIRST = {"time", "level", "message", "source", "process"}
PHASES = ["queue_us", "compute_input_us", "compute_infer_us", "compute_output_us"]
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}


def members(text: str) -> dict:
    """A line of text, whose every character belongs to the head or a member."""
    found, at = {}, 0
    while at < len(text):
        member = MEMBER.match(text, at)
        assert member, (text, at)
        name, value = member.groups()
        assert name not in found, text
        if value.startswith('"'):
            found[name] = json.loads(value)
        elif name == "cache_hit":
            found[name] = {"true": True, "false": False}[value]
        else:
            found[name] = int(value) if NUMBERS.fullmatch(name) else value
        at = member.end()
    return found


def lines(log: str) -> list[dict]:
    """The lines of the access log so far, and that each is a whole one."""
    found = []
    for line in log.split("\n"):
        if head := HEAD.match(line):
            found.append(members(line[head.end() :]))
        elif line.startswith("{"):
            record = json.loads(line)
            if record["message"] == "access":
                assert FIRST <= record.keys() and record["level"] == "INFO", line
                found.append({name: value for name, value in record.items() if name not in FIRST})
    for line in found:
        known = [line[name] for name in PHASES if name in line]
        assert len(known) in (0, len(PHASES)) and sum(known) <= line["total_us"], line
        assert ("cache_hit" in line) == bool(known), line
        assert line["client"].startswith("127.0.0.1:"), line
        assert ("status" in line) == (line["protocol"] == "http") != ("grpc_status" in line), line
    return found


def next_lines(server: Nereid, before: int, count: int) -> list[dict]:
    """`count` lines beyond the first `before`, which come when their answers have left."""
    wait_until(lambda: len(lines(server.log())) >= before + count, WAIT_S, f"{count} lines\n{server.log()}")
    found = lines(server.log())[before:]
    assert len(found) == count, found
    return found


def stable(line: dict) -> dict:
    """Without what changes from run to run."""
    return {name: value for name, value in line.items() if name not in ("client", "total_us", *PHASES)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    repository = tmp_path_factory.mktemp("access") / "repository"
    models.write_identity(repository, "rows", max_batch_size=8)
    models.write_identity(repository, "plain")
    models.write_identity(repository, "cached", max_batch_size=8, more="response_cache { enable: true }\n")
    models.write_identity(repository, "hour", max_batch_size=8, parameters={"execute_delay_ms": HOUR_MS})
    models.write_identity(repository, "moment", max_batch_size=8, parameters={"execute_delay_ms": 300})
    models.write(repository, "broken", b"this is no model")
    return repository


FLAGS = ["--access-log=true", "--model-control-mode=explicit", "--load-model=rows", "--load-model=plain", "--load-model=hour", "--load-model=moment"]


@pytest.fixture(scope="module", params=["json", "default", "ISO8601"])
def server(request: pytest.FixtureRequest, folder: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    with serving(folder, tmp_path_factory.mktemp("server") / "log", f"--log-format={request.param}", *FLAGS) as process:
        yield process


@pytest.fixture
def quiet(folder: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Nereid]:
    """A server without an access log."""
    flags = [flag for flag in FLAGS if not flag.startswith("--access-log")]
    with serving(folder, tmp_path / "log", "--log-format=json", *flags) as process:
        yield process


def body(rows: int, request_id: str = "") -> dict:
    tensor = {"name": "INPUT0", "shape": [rows, 2], "datatype": "FP32", "data": [1.0] * 2 * rows}
    return {"id": request_id, "inputs": [tensor]} if request_id else {"inputs": [tensor]}


def tensors(api, shape: list[int]) -> list:
    tensor = api.InferInput("INPUT0", shape, "FP32")
    tensor.set_data_from_numpy(np.zeros(shape, np.float32))
    return [tensor]


def message(model: str, request_id: str, shape: list[int]) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name=model, id=request_id)
    request.inputs.add(name="INPUT0", datatype="FP32", shape=shape)
    request.raw_input_contents.append(bytes(4 * int(np.prod(shape))))
    return request


def test_success_over_both_protocols(server: Nereid) -> None:
    before = len(lines(server.log()))
    sent = json.dumps(body(3, "h 1")).encode()
    answer = server.request("POST", "/v2/models/rows/infer", sent, TRACEPARENT)
    (over_http,) = next_lines(server, before, 1)
    told = {"version": 1, "rows": 3, "cache_hit": False, "trace_id": TRACE_ID}
    expected = {"protocol": "http", "call": "infer", "id": "h 1", "model": "rows", "status": 200}
    assert stable(over_http) == expected | told | {"bytes_in": len(sent), "bytes_out": len(answer.body)}
    request = message("rows", "7", [2, 1])
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        response = stub.ModelInfer(request, metadata=tuple(TRACEPARENT.items()))
    (over_grpc,) = next_lines(server, before + 1, 1)
    expected = {"protocol": "grpc", "call": "ModelInfer", "id": "7", "model": "rows", "grpc_status": 0, "rows": 2}
    assert stable(over_grpc) == told | expected | {"bytes_in": request.ByteSize(), "bytes_out": response.ByteSize()}


def test_phases_are_where_the_time_goes(server: Nereid) -> None:
    before = len(lines(server.log()))
    assert server.post("/v2/models/moment/infer", body(1)).status == 200
    (line,) = next_lines(server, before, 1)
    assert line["compute_infer_us"] >= 300_000 and "id" not in line and line["rows"] == 1


def test_generate(server: Nereid) -> None:
    before = len(lines(server.log()))
    for route in ("generate", "generate_stream"):
        sent = json.dumps({"id": "g", "INPUT0": [1.0, 2.0]}).encode()
        answer = server.post(f"/v2/models/plain/versions/1/{route}", sent)
        assert answer.status == 200
        before += 1
        (line,) = next_lines(server, before - 1, 1)
        expected = {"protocol": "http", "call": route, "id": "g", "model": "plain", "version": 1, "status": 200, "rows": 1, "cache_hit": False}
        assert stable(line) == expected | {"bytes_in": len(sent), "bytes_out": len(answer.body)}


def test_each_request_of_a_stream(server: Nereid) -> None:
    before = len(lines(server.log()))
    requests = [message("rows", "s0", [1, 1]), message("absent", "s1", [1]), message("rows", "s2", [4, 4]), message("rows", "s3", [9, 1])]
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        answers = list(stub.ModelStreamInfer(iter(requests), metadata=tuple(TRACEPARENT.items())))
    found = next_lines(server, before, 4)
    assert [line["id"] for line in found] == ["s0", "s1", "s2", "s3"]
    assert all((line["call"], line["trace_id"]) == ("ModelStreamInfer", TRACE_ID) for line in found)
    assert [(line["model"], line["grpc_status"]) for line in found] == [("rows", 0), ("absent", 5), ("rows", 0), ("rows", 3)]
    assert [line.get("error", "") for line in found] == [answer.error_message for answer in answers]
    assert [line["bytes_in"] for line in found] == [request.ByteSize() for request in requests]
    assert [line["bytes_out"] for line in found] == [answer.ByteSize() for answer in answers]


def test_failures_over_http(server: Nereid) -> None:
    before = len(lines(server.log()))
    for method, path, sent, call, model in [
        ("POST", "/v2/models/absent/infer", body(1), "infer", "absent"),
        ("POST", "/v2/models/rows/versions/7/infer", body(1), "infer", "rows"),
        ("POST", "/v2/models/rows/infer", body(9, "nine"), "infer", "rows"),
        ("POST", "/v2/models/rows/infer", {"inputs": 1}, "infer", "rows"),
        ("GET", "/v2/models/rows/infer", {}, "infer", "rows"),
        ("POST", "/v2/models/plain/generate", {"INPUT0": "x"}, "generate", "plain"),
        ("POST", "/v2/models/plain/generate_stream", {"INPUT0": "x"}, "generate_stream", "plain"),
        ("POST", "/v2/models/plain/generate_stream", {}, "generate_stream", "plain"),
        ("POST", "/v2/repository/models/broken/load", {}, "load", "broken"),
        ("POST", "/v2/repository/x/models/rows/unload", {}, "unload", "rows"),
    ]:
        answer = server.request(method, path, json.dumps(sent).encode())
        (line,) = next_lines(server, before, 1)
        before += 1
        assert answer.status >= 400 and line["bytes_out"] == len(answer.body)
        assert (line["call"], line["model"], line["status"], line["error"]) == (call, model, answer.status, answer.error()), line
        assert "queue_us" not in line
    assert server.get("/v2/health/ready").status in (200, 400)
    assert server.get("/v2/models/rows").status == server.post("/v2/repository/index").status == 200
    assert len(lines(server.log())) == before, "the rest is not logged"


def test_failures_over_grpc(server: Nereid) -> None:
    before = len(lines(server.log()))
    with grpcclient.InferenceServerClient(server.grpc) as client:
        for call, model, act in [
            ("ModelInfer", "absent", lambda: client.infer("absent", tensors(grpcclient, [1]), request_id="a")),
            ("ModelInfer", "rows", lambda: client.infer("rows", tensors(grpcclient, [9, 1]), request_id="a")),
            ("RepositoryModelLoad", "broken", lambda: client.load_model("broken")),
        ]:
            with pytest.raises(InferenceServerException) as error:
                act()
            (line,) = next_lines(server, before, 1)
            before += 1
            assert (line["call"], line["model"], line["error"]) == (call, model, error.value.message()), line
            assert grpc.StatusCode[error.value.status().removeprefix("StatusCode.")].value[0] == line["grpc_status"]
            assert line.get("id") == ("a" if call == "ModelInfer" else None)
        client.is_server_ready()
        client.get_model_metadata("rows")
        client.load_model("cached")
        client.unload_model("cached")
    found = next_lines(server, before, 2)
    assert [(line["call"], line["model"], line["grpc_status"]) for line in found] == [("RepositoryModelLoad", "cached", 0), ("RepositoryModelUnload", "cached", 0)]


def test_clients_that_go(server: Nereid) -> None:
    before = len(lines(server.log()))
    sent = json.dumps(body(1, "gone")).encode()
    connection = socket.create_connection(("127.0.0.1", server.http_port), WAIT_S)
    connection.sendall(b"POST /v2/models/hour/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent)
    pending = re.compile(r'nv_inference_pending_request_count\{model="hour",version="1"\} (\d+)')
    # It runs when the next one waits, and so it has been read.
    with grpcclient.InferenceServerClient(server.grpc) as client:
        errors: queue.Queue = queue.Queue()
        call = client.async_infer("hour", tensors(grpcclient, [1, 2]), lambda result, error: errors.put(error), request_id="cancelled")
        wait_until(lambda: pending.search(server.metrics()).group(1) == "1", WAIT_S, "one runs, one waits")
        call.cancel()
        assert errors.get(timeout=WAIT_S) is not None
        (cancelled,) = next_lines(server, before, 1)
        with pytest.raises(InferenceServerException, match="Deadline Exceeded"):
            client.infer("hour", tensors(grpcclient, [1, 2]), request_id="late", client_timeout=0.5)
        (late,) = next_lines(server, before + 1, 1)
    connection.close()
    (gone,) = next_lines(server, before + 2, 1)
    assert (gone["id"], gone["status"], "bytes_out" in gone) == ("gone", 499, False)
    assert (cancelled["id"], cancelled["grpc_status"]) == ("cancelled", 1)
    assert late["id"] == "late" and late["grpc_status"] in (1, 4), "who of the two was first"
    assert gone["error"] == cancelled["error"] == "nobody waits for the answer any more"
    assert all((line["model"], line["version"]) == ("hour", 1) for line in (gone, cancelled, late))


def test_a_stream_that_is_cancelled(server: Nereid) -> None:
    before = len(lines(server.log()))
    held: queue.Queue = queue.Queue()
    for name in ("first", "second"):
        held.put(message("hour", name, [1, 1]))
    with grpc.insecure_channel(server.grpc) as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(held.get, None))
        wait_until(lambda: 'pending_request_count{model="hour",version="1"} 1' in server.metrics(), WAIT_S, "one runs, one waits")
        call.cancel()
        found = next_lines(server, before, 2)
    held.put(None)
    assert sorted((line["id"], line["grpc_status"]) for line in found) == [("first", 1), ("second", 1)]


def test_no_client_can_forge_a_line(server: Nereid) -> None:
    before = len(lines(server.log()))
    forged = [
        'x\nI0101 00:00:00.000000 1 forged.rs:1] access protocol=http call=infer status=200 total_us=1 client=127.0.0.1:1\r',
        'x"}\n{"time":"","level":"INFO","message":"access","source":"","process":1,"total_us":0}',
        "x status=200 error=none \\",
        '" status=200 id="\0\x1b[31m',
        "ünï ",
    ]
    with httpclient.InferenceServerClient(server.http) as over_http, grpcclient.InferenceServerClient(server.grpc) as over_grpc:
        for text in forged:
            over_http.infer("rows", tensors(httpclient, [1, 1]), request_id=text)
            over_grpc.infer("rows", tensors(grpcclient, [1, 1]), request_id=text)
            with pytest.raises(InferenceServerException):
                over_grpc.infer(text, tensors(grpcclient, [1, 1]), request_id="i")
    found = next_lines(server, before, 3 * len(forged))
    assert [line["id"] for line in found if line["model"] == "rows"] == [text for text in forged for _ in "12"]
    assert [line["model"] for line in found if line["id"] == "i"] == forged
    assert all(text in line["error"] for text, line in zip(forged, (line for line in found if line["id"] == "i"), strict=True))


def test_long_texts_are_cut(server: Nereid) -> None:
    before = len(lines(server.log()))
    with grpcclient.InferenceServerClient(server.grpc) as client, pytest.raises(InferenceServerException):
        client.infer("m" * 1_000_000, tensors(grpcclient, [1]), request_id="i" * 1_000_000)
    (line,) = next_lines(server, before, 1)
    assert (line["id"], line["model"]) == ("i" * 1024 + "…", "m" * 1024 + "…") and len(line["error"]) == 1025


def test_the_response_cache(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    flags = ["--model-control-mode=explicit", "--load-model=cached", "--access-log", "--log-info=false", "--cache-config=local,size=1048576"]
    with serving(folder, tmp_path / "log", *flags) as server:
        for _ in range(2):
            assert server.post("/v2/models/cached/infer", body(1)).status == 200
        assert [line["cache_hit"] for line in next_lines(server, 0, 2)] == [False, True]


def test_it_is_off_and_can_be_switched(quiet: Nereid) -> None:
    assert quiet.post("/v2/models/rows/infer", body(1, "before")).status == 200
    shown = quiet.get("/v2/logging").json()
    assert "access_log" not in shown, "the answer is Triton's"
    assert quiet.post("/v2/logging", {"access_log": True}).json() == shown | {"access_log": True}
    with grpcclient.InferenceServerClient(quiet.grpc) as client:
        answers: queue.Queue = queue.Queue()
        client.start_stream(lambda result, error: answers.put(error))
        client.async_stream_infer("rows", tensors(grpcclient, [1, 1]), request_id="one")
        assert answers.get(timeout=WAIT_S) is None
        assert client.get_log_settings(as_json=True)["settings"]["access_log"] == {"bool_param": True}
        assert quiet.post("/v2/models/rows/infer", body(1, "two")).status == 200
        assert "access_log" not in client.update_log_settings({"access_log": False}, as_json=True)["settings"]
        assert quiet.post("/v2/models/rows/infer", body(1, "three")).status == 200
        client.async_stream_infer("rows", tensors(grpcclient, [1, 1]), request_id="four")
        assert answers.get(timeout=WAIT_S) is None
        client.update_log_settings({"access_log": True})
        client.async_stream_infer("rows", tensors(grpcclient, [1, 1]), request_id="five")
        assert answers.get(timeout=WAIT_S) is None
    assert [line["id"] for line in next_lines(quiet, 0, 3)] == ["one", "two", "five"]
    for wrong in ({"access_log": 1}, {"access_log": False, "log_format": "xml"}):
        assert quiet.post("/v2/logging", wrong).status >= 400
    assert quiet.get("/v2/logging").json()["access_log"] is True


def test_lines_of_the_end(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What is in flight when the server is told to end has its line, in front of the last words."""
    server = Nereid(folder, tmp_path / "log", "--log-format=json", *FLAGS)
    try:
        server.wait_ready()
        with ThreadPoolExecutor(6) as pool:
            answers = [pool.submit(server.post, "/v2/models/moment/infer", body(1, f"last {n}")) for n in range(6)]
            wait_until(lambda: re.search(r'pending_request_count\{model="moment",version="1"\} [1-9]', server.metrics()), WAIT_S, "some wait")
            assert server.stop() == 0
            assert [answer.result().status for answer in answers] == [200] * 6
    finally:
        if server.alive():
            server.process.kill()
            server.process.wait()
    assert sorted(line["id"] for line in lines(server.log())) == [f"last {n}" for n in range(6)]
    assert json.loads(server.log().splitlines()[-1])["message"] == "All models are stopped"


class Piped(Nereid):
    """A server whose output goes into a pipe that nobody reads."""

    def log(self) -> str:
        return ""


def test_a_log_that_nobody_reads_stops_no_request(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    server = Piped(folder, pipe, "--log-format=json", *FLAGS)
    count = 300
    try:
        server.wait_ready()
        with httpclient.InferenceServerClient(server.http) as client:
            for n in range(count):
                client.infer("rows", tensors(httpclient, [1, 1]), request_id=f"{n} " + "x" * 1000)
        os.set_blocking(reader, True)
        with open(reader, "rb", buffering=0) as output:
            text = b""
            while b'"id":"%d ' % (count - 1) not in text:
                piece = output.read(1 << 16)
                assert piece, "the server still writes"
                text += piece
            found = lines(text[: text.rfind(b"\n") + 1].decode())
            rest = threading.Thread(target=output.readall)
            rest.start()
            assert server.stop() == 0
            rest.join(WAIT_S)
        assert [line["id"].split()[0] for line in found] == [str(n) for n in range(len(found))] and len(text) > 1 << 16
    finally:
        if server.alive():
            server.process.kill()
            server.process.wait()
