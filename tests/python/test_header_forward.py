"""Header forwarding. No model of ours shows its parameters, so what is seen here is which headers are looked at: one
with a reserved name is refused if it matches, and only then. (The clients write into the headers they are given, hence the copies.)"""

import pathlib
import queue
import subprocess
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

from nereid_process import Nereid, binary, serving

FLAGS = [
    "--model-control-mode=explicit",
    "--load-model=identity_fp32",
    "--http-header-forward-pattern=^(MY_|prio|triton_)",
    "--grpc-header-forward-pattern=^(MY_|prio|triton_)",
]


@pytest.fixture(scope="module")
def forwarding(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    with serving(repository, tmp_path_factory.mktemp("forwarding") / "log", *FLAGS) as server:
        yield server


def inputs(client: object) -> list:
    tensor = client.InferInput("INPUT0", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 1), np.float32))
    return [tensor]


def refusal(name: str) -> str:
    return f"Header '{name}' is reserved for Triton usage and cannot be forwarded."


# headers, and the reserved one that is refused
HEADERS = [
    ({"my_header": "value", "My-Other": "value"}, None),
    ({"timeout": "1", "sequence_id": "1", "other": "x"}, None),
    ({"my_header": "value", "priority": "1"}, "priority"),
    ({"triton_x": ""}, "triton_x"),
    ({"priority_of_mine": "1"}, None),
]


@pytest.mark.parametrize(("headers", "refused"), HEADERS)
def test_http(forwarding: Nereid, headers: dict[str, str], refused: str | None) -> None:
    with httpclient.InferenceServerClient(forwarding.http) as client:
        if refused is None:
            assert client.infer("identity_fp32", inputs(httpclient), headers=dict(headers)).as_numpy("OUTPUT0") == [[1]]
            return
        with pytest.raises(InferenceServerException) as error:
            client.infer("identity_fp32", inputs(httpclient), headers=dict(headers))
        assert (error.value.status(), error.value.message()) == ("400", refusal(refused))


@pytest.mark.parametrize(("headers", "refused"), HEADERS)
def test_grpc(forwarding: Nereid, headers: dict[str, str], refused: str | None) -> None:
    headers = {name.lower(): value for name, value in headers.items()}
    with grpcclient.InferenceServerClient(forwarding.grpc) as client:
        if refused is None:
            assert client.infer("identity_fp32", inputs(grpcclient), headers=dict(headers)).as_numpy("OUTPUT0") == [[1]]
            return
        with pytest.raises(InferenceServerException) as error:
            client.infer("identity_fp32", inputs(grpcclient), headers=dict(headers))
        assert (error.value.status(), error.value.message()) == ("StatusCode.INVALID_ARGUMENT", refusal(refused))


@pytest.mark.parametrize(("headers", "refused"), HEADERS)
def test_grpc_stream(forwarding: Nereid, headers: dict[str, str], refused: str | None) -> None:
    headers = {name.lower(): value for name, value in headers.items()}
    answers = queue.Queue()
    with grpcclient.InferenceServerClient(forwarding.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)), headers=dict(headers))
        for _ in range(2):  # the stream goes on
            client.async_stream_infer("identity_fp32", inputs(grpcclient))
            result, error = answers.get(timeout=30)
            assert (error is None) == (refused is None)
            assert error is None or error.message() == refusal(refused)


def test_values_that_are_not_text(forwarding: Nereid) -> None:
    body = b'{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"FP32","data":[1]}]}'
    answer = forwarding.post("/v2/models/identity_fp32/infer", body, {"my_header": b"caf\xe9\xff"})
    assert answer.status == 200
    headers = {"my_header-bin": b"\xff\x00\xfe"}
    with grpcclient.InferenceServerClient(forwarding.grpc) as client:
        assert client.infer("identity_fp32", inputs(grpcclient), headers=dict(headers)).as_numpy("OUTPUT0") == [[1]]


def test_all_headers_of_an_honest_client(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    flags = [*FLAGS[:2], "--http-header-forward-pattern=.*", "--grpc-header-forward-pattern=.*"]
    with serving(repository, tmp_path / "log", *flags) as server:
        with httpclient.InferenceServerClient(server.http) as client:
            assert client.infer("identity_fp32", inputs(httpclient)).as_numpy("OUTPUT0") == [[1]]
        with grpcclient.InferenceServerClient(server.grpc) as client:
            assert client.infer("identity_fp32", inputs(grpcclient), client_timeout=20).as_numpy("OUTPUT0") == [[1]]


@pytest.mark.parametrize("flag", ["http-header-forward-pattern", "grpc-header-forward-pattern"])
def test_a_broken_pattern_ends_the_start(repository: pathlib.Path, flag: str) -> None:
    result = subprocess.run([binary(), f"--model-repository={repository}", f"--{flag}=(x"], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert f"invalid argument for --{flag}: regex parse error" in result.stdout + result.stderr
