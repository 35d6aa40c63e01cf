"""The log: its settings over both protocols, its formats and streams, and that clients cannot forge a line of it."""

import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

import digits
from nereid_process import Nereid, binary, serving, wait_until

DEFAULTS = {"log_file": "", "log_info": True, "log_warning": True, "log_error": True, "log_verbose_level": 0, "log_format": "default"}
NO_FILE = "log file location can not be updated through network protocol"
DEFAULT_LINE = re.compile(r'[IWE]\d{4} \d\d:\d\d:\d\d\.\d{6} \d+ \w+\.rs:\d+\] ".*"$')
ISO_LINE = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ [IWE] \d+ \w+\.rs:\d+\] ".*"$')


@pytest.fixture
def mnist(repository: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "one_model"
    shutil.copytree(repository / "mnist_mlp", folder / "mnist_mlp")
    return folder


@pytest.fixture
def logging_server(mnist: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[Nereid]:
    """A server whose log nobody else changes."""
    with serving(mnist, tmp_path / "log") as process:
        yield process


def over_grpc(client: grpcclient.InferenceServerClient, **settings: object) -> dict:
    answer = client.update_log_settings(settings, as_json=True) if settings else client.get_log_settings(as_json=True)
    return {name: next(iter(value.values())) for name, value in answer["settings"].items()}


def test_settings_over_http(logging_server: Nereid) -> None:
    with httpclient.InferenceServerClient(logging_server.http) as client:
        assert client.get_log_settings() == DEFAULTS
        changed = DEFAULTS | {"log_verbose_level": 1, "log_warning": False, "log_format": "ISO8601"}
        assert client.update_log_settings({"log_verbose_level": 1, "log_warning": False, "log_format": "ISO8601", "foo": 1}) == changed
        assert client.get_log_settings() == changed
        for settings, text in [
            ({"log_file": "/tmp/x"}, NO_FILE),
            ({"log_info": False, "log_format": "xml"}, "invalid argument for --log_format, got: xml"),
            ({"log_info": "no"}, "attempt to access JSON non-boolean as boolean"),
        ]:
            with pytest.raises(InferenceServerException, match=re.escape(text)):
                client.update_log_settings(settings)
        assert client.get_log_settings() == changed, "what is refused changes nothing"


def test_settings_over_grpc(logging_server: Nereid) -> None:
    # As JSON, protobuf leaves nothing out here: a choice that was made is shown, whatever its value.
    with grpcclient.InferenceServerClient(logging_server.grpc) as client:
        assert over_grpc(client) == DEFAULTS
        assert over_grpc(client, log_verbose_level=2, log_error=False, log_format="ISO8601") == DEFAULTS | {"log_verbose_level": 2, "log_error": False, "log_format": "ISO8601"}
        assert logging_server.get("/v2/logging").json()["log_verbose_level"] == 2, "one log for both protocols"
        for settings, text in [({"log_file": "/tmp/x"}, NO_FILE), ({"log_format": "xml"}, "invalid argument for log_format, got: xml")]:
            with pytest.raises(InferenceServerException, match=re.escape(text)):
                client.update_log_settings(settings)


def refused_over_grpc(server: Nereid, name: str, field: str, value: object) -> grpc.RpcError:
    """The answer to a value that tritonclient would not send."""
    request = service_pb2.LogSettingsRequest()
    request.settings["n\0\n"].bool_param = True
    setattr(request.settings[name], field, value)
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as error:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).LogSettings(request)
    return error.value


def test_types_over_grpc(logging_server: Nereid) -> None:
    for name, field, value, text in [
        ("log_info", "string_param", "no", "expect boolean for 'log_info'"),
        ("log_verbose_level", "bool_param", True, "expect int32 for 'log_verbose_level'"),
        ("log_format", "uint32_param", 1, "expect string for 'log_format'"),
        ("log_format", "string_param", "x\0\n", "invalid argument for log_format, got: x\0\n"),
    ]:
        error = refused_over_grpc(logging_server, name, field, value)
        assert (error.code(), error.details()) == (grpc.StatusCode.INVALID_ARGUMENT, text)
    refused_over_grpc(logging_server, "log_format", "string_param", "x\0\n" * 100_000)
    assert logging_server.get("/v2/logging").json() == DEFAULTS


def infer_with_id(server: Nereid, request_id: str) -> None:
    body = json.loads(digits.body("one")) | {"id": request_id}
    assert server.post("/v2/models/mnist_mlp/infer", body).status == 200


def test_verbose_lines_of_requests_in_both_formats(logging_server: Nereid) -> None:
    infer_with_id(logging_server, "before")
    logging_server.post("/v2/logging", {"log_verbose_level": 1})
    infer_with_id(logging_server, "verbose")
    logging_server.post("/v2/logging", {"log_format": "ISO8601"})
    infer_with_id(logging_server, "iso")
    logging_server.post("/v2/logging", {"log_verbose_level": 2, "log_format": "default"})
    infer_with_id(logging_server, "very verbose")
    logging_server.post("/v2/logging", {"log_verbose_level": 0})
    infer_with_id(logging_server, "after")
    lines = logging_server.log().splitlines()
    of = {name: [line for line in lines if f"[request id: {name}]" in line] for name in ("before", "verbose", "iso", "very verbose", "after")}
    assert [len(found) for found in of.values()] == [0, 1, 1, 2, 0], logging_server.log()
    assert DEFAULT_LINE.match(of["verbose"][0]) and "model 'mnist_mlp', version 1: queued " in of["verbose"][0]
    assert ISO_LINE.match(of["iso"][0])
    assert "'input' FP32[1,1,28,28] 3136 bytes" in of["very verbose"][0]


def test_a_failure_is_told_at_verbose_level_1(logging_server: Nereid) -> None:
    logging_server.post("/v2/logging", {"log_verbose_level": 1})
    wrong = {"id": "w", "inputs": [{"name": "input", "shape": [1], "datatype": "FP32", "data": [0]}]}
    assert logging_server.post("/v2/models/mnist_mlp/infer", wrong).status == 400
    assert "[request id: w] model 'mnist_mlp', version 1: Infer failed: [request id: w] unexpected shape" in logging_server.log()


def test_no_client_can_forge_a_line(logging_server: Nereid) -> None:
    logging_server.post("/v2/logging", {"log_verbose_level": 2})
    forged = 'E0101 00:00:00.000000 1 forged.rs:1] "forged"'
    with grpcclient.InferenceServerClient(logging_server.grpc) as client:
        tensor = grpcclient.InferInput("input", [1, 1, 28, 28], "FP32")
        tensor.set_data_from_numpy(digits.images()[:1])
        client.infer("mnist_mlp", [tensor], request_id=f"x\n{forged}\r\0")
        for model, name in [(f"m\n{forged}", "input"), ("mnist_mlp", f"i\n{forged}")]:
            other = grpcclient.InferInput(name, [1], "FP32")
            other.set_data_from_numpy(np.zeros(1, np.float32))
            with pytest.raises(InferenceServerException):
                client.infer(model, [other])
    infer_with_id(logging_server, f"y\n{forged}")
    lines = logging_server.log().splitlines()
    assert [line for line in lines if "[request id: x" in line and "forged.rs" in line]
    assert all(DEFAULT_LINE.match(line) for line in lines), logging_server.log()


def test_hostile_settings(logging_server: Nereid) -> None:
    deep = b'{"log_info":' + b"[" * 250_000 + b"]" * 250_000 + b"}"
    for body, text in [
        (deep, "JSON nesting depth exceeds maximum allowed limit (100)"),
        (b"[" * 250_000, "JSON nesting depth exceeds maximum allowed limit (100)"),
        (b'{"log_verbose_level":1e400}', "failed to parse the request JSON buffer: Number too big to be stored in double."),
        (b'{"log_verbose_level":99999999999999999999}', "attempt to access JSON non-unsigned-integer as unsigned-integer"),
        (b'{"log_format":"x\\u0000y\\nE0101"}', "invalid argument for --log_format, got: x\0y\nE0101"),
    ]:
        answer = logging_server.post("/v2/logging", body)
        assert answer.status >= 400 and answer.error().startswith(text), (body[:40], answer.body)
    assert logging_server.get("/v2/logging").json() == DEFAULTS


def test_a_log_file_takes_everything(mnist: pathlib.Path, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "server.log"
    file.write_text("what was there before\n")
    with serving(mnist, tmp_path / "streams", f"--log-file={file}", "--log-verbose=1", "--log-format=ISO8601") as server:
        settings = server.get("/v2/logging").json()
        assert (settings["log_file"], settings["log_verbose_level"], settings["log_format"]) == (str(file), 1, "ISO8601")
        infer_with_id(server, "filed")
        wait_until(lambda: "[request id: filed]" in file.read_text(), 10, "the request is in the file")
        assert server.log() == ""
    first, *lines = file.read_text().splitlines()
    assert first == "what was there before"
    assert lines and all(ISO_LINE.match(line) for line in lines)


def test_streams(mnist: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """INFO goes to the standard output, WARNING and ERROR to the standard error."""
    command = [binary(), f"--model-repository={mnist}/nowhere", "--http-port=0", "--grpc-port=0", "--metrics-port=0", "--trace-rate=5"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert [line[0] for line in result.stdout.splitlines() if DEFAULT_LINE.match(line)].count("I") == len(result.stdout.splitlines()) > 0
    assert "W" in [line[0] for line in result.stderr.splitlines() if DEFAULT_LINE.match(line)]
