"""`--log-format=json`: each line that the process writes is a JSON object, from the first one to the last."""

import json
import pathlib
import re
import shutil
import subprocess
from collections.abc import Iterable

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

import digits
import models
from nereid_process import Nereid, binary, serving

JSON = "--log-format=json"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
FORGED = 'x"}\n{"level":"ERROR","message":"forged"}\r\0\x1b[31m'


def records(text: str) -> list[dict]:
    """Each line as an object, which has what each has."""
    assert text == "" or text.endswith("\n")
    found = [json.loads(line) for line in text.split("\n")[:-1]]
    for record in found:
        assert TIME.fullmatch(record["time"]) and re.fullmatch(r"[\w-]+\.rs:\d+", record["source"]), record
        assert record["level"] in ("ERROR", "WARNING", "INFO", "DEBUG", "TRACE") and record["process"] > 0, record
        assert ("verbose_level" in record) == (record["level"] in ("DEBUG", "TRACE")), record
        assert isinstance(record["message"], str), record
    return found


def messages(found: Iterable[dict], level: str) -> list[str]:
    return [record["message"] for record in found if record["level"] == level]


@pytest.fixture
def mnist(repository: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "one_model"
    shutil.copytree(repository / "mnist_mlp", folder / "mnist_mlp")
    return folder


def test_every_line_of_a_life(mnist: pathlib.Path, tmp_path: pathlib.Path) -> None:
    models.write(mnist, "broken", b"this is no model\n")
    models.write(mnist, "wrong", models.identity("FP32"), 'platform: "onnxruntime_onnx" oops: "\n"')
    flags = [JSON, "--log-verbose=2", "--exit-on-error=false", "--strict-readiness=false", "--model-control-mode=explicit", "--load-model=*"]
    log = tmp_path / "log"
    with serving(mnist, log, *flags) as server:
        with grpcclient.InferenceServerClient(server.grpc) as client:
            tensor = grpcclient.InferInput("input", [1, 1, 28, 28], "FP32")
            tensor.set_data_from_numpy(digits.images()[:1])
            client.infer("mnist_mlp", [tensor], request_id=FORGED)
            other = grpcclient.InferInput(FORGED, [1], "FP32")
            other.set_data_from_numpy(np.zeros(1, np.float32))
            with pytest.raises(InferenceServerException):
                client.infer("mnist_mlp", [other], request_id="a failure")
        assert server.post("/v2/repository/models/broken/load").status == 400
        assert server.post("/v2/repository/models/mnist_mlp/unload").status == 200
    found = records(log.read_text())
    assert any(message.startswith("nereid ") for message in messages(found, "INFO"))
    assert "All models are stopped" in messages(found, "INFO")
    failures = messages(found, "ERROR")
    assert any("'broken'" in message for message in failures) and any("'wrong'" in message for message in failures), failures
    assert any(f"[request id: {FORGED}]" in message for message in messages(found, "DEBUG"))
    assert not [record for record in found if record["message"] == "forged"]


def run(*flags: str) -> subprocess.CompletedProcess[str]:
    ports = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]
    return subprocess.run([binary(), *ports, *flags], capture_output=True, text=True, timeout=60)


def test_servers_that_never_start(mnist: pathlib.Path, tmp_path: pathlib.Path) -> None:
    models.write(mnist, "broken", b"this is no model\n")
    (tmp_path / "file").write_text("")
    for flags, expected in [
        ([f"--model-repository={mnist}/nowhere"], "creating server: "),
        ([f"--model-repository={mnist}"], "creating server: Internal - failed to load all models"),
        ([f"--model-repository={mnist}", "--log-error=false"], "error: creating server: "),
        ([f"--model-repository={mnist}", f"--log-file={tmp_path}/log"], "error: creating server: "),
        ([f"--model-repository={mnist}", f"--log-file={tmp_path}/file/log"], "error: "),
        ([f"--model-repository={mnist}", "--nope=\n"], 'Bad option: "--nope".\n'),
        ([], "--model-repository must be specified"),
    ]:
        result = run(JSON, *flags)
        assert result.returncode == 1, flags
        records(result.stdout)
        last = records(result.stderr)[-1]
        assert last["level"] == "ERROR" and last["message"].startswith(expected), (flags, result.stderr)
        assert result.stderr.count("creating server: ") <= 1, "the reason is told once"
    records((tmp_path / "log").read_text())


def test_the_format_changes_while_the_server_runs(mnist: pathlib.Path, tmp_path: pathlib.Path) -> None:
    log = tmp_path / "log"

    def lines_of(server: Nereid, request_id: str) -> list[str]:
        body = json.loads(digits.body("one")) | {"id": request_id}
        assert server.post("/v2/models/mnist_mlp/infer", body).status == 200
        return [line for line in server.log().splitlines() if f"[request id: {request_id}]" in line]

    with serving(mnist, log, "--log-verbose=1") as server:
        (before,) = lines_of(server, "before")
        assert before.startswith("I")
        assert server.post("/v2/logging", {"log_format": "json"}).json()["log_format"] == "json"
        (record,) = records("".join(line + "\n" for line in lines_of(server, "as-json")))
        assert (record["level"], record["verbose_level"]) == ("DEBUG", 1)
        with grpcclient.InferenceServerClient(server.grpc) as client:
            assert client.get_log_settings(as_json=True)["settings"]["log_format"] == {"string_param": "json"}
            client.update_log_settings({"log_format": "default"})
            assert lines_of(server, "default")[0].startswith("I")
            client.update_log_settings({"log_format": "json"})
        records("".join(line + "\n" for line in lines_of(server, "again")))
        assert server.post("/v2/logging", {"log_format": "JSON"}).error() == "invalid argument for --log_format, got: JSON"
