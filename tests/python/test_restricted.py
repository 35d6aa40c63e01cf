"""Restricted APIs: only who sends the header gets in, over both protocols, with real clients."""

import contextlib
import pathlib
import queue
import subprocess
from collections.abc import Iterator

import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

import digits
from nereid_process import Nereid, binary, serving

HTTP_KEY = {"infer-key": "open sesame"}
GRPC_KEY = {"triton-grpc-protocol-infer-key": "open sesame"}
FLAGS = [
    "--model-control-mode=explicit",
    "--load-model=mnist_mlp",
    "--log-verbose=2",
    "--http-restricted-api=inference,model-repository:infer-key=open sesame",
    "--http-restricted-api=statistics:admin-key=a=b:c",
    "--grpc-restricted-protocol=inference,model-repository:infer-key=open sesame",
    "--grpc-restricted-protocol=health:admin-key=a=b:c",
]


@pytest.fixture(scope="module")
def restricted(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    with serving(repository, tmp_path_factory.mktemp("restricted") / "log", *FLAGS) as server:
        yield server


def infer_input(client: object) -> list:
    tensor = client.InferInput("input", [1, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(digits.images()[:1])
    return [tensor]


@pytest.mark.parametrize("headers", [None, {"infer-key": "Open Sesame"}, {"infer-key": ""}, {"other-key": "open sesame"}])
def test_http_without_the_key(restricted: Nereid, headers: dict[str, str] | None) -> None:
    with httpclient.InferenceServerClient(restricted.http) as client:
        for call in (
            lambda: client.infer("mnist_mlp", infer_input(httpclient), headers=dict(headers or {})),
            lambda: client.get_model_repository_index(headers=dict(headers or {})),
            lambda: client.load_model("mnist_mlp", headers=dict(headers or {})),
        ):
            with pytest.raises(InferenceServerException, match="This API is restricted, expecting header 'infer-key'") as refused:
                call()
            assert refused.value.status() == "403"


def test_http_with_the_key(restricted: Nereid) -> None:
    with httpclient.InferenceServerClient(restricted.http) as client:
        result = client.infer("mnist_mlp", infer_input(httpclient), headers=dict(HTTP_KEY))
        assert result.as_numpy("output").shape == (1, 10)
        assert client.get_model_repository_index(headers=dict(HTTP_KEY))
        assert client.is_server_live() and client.get_model_metadata("mnist_mlp"), "the rest is open"
        statistics = client.get_inference_statistics("mnist_mlp", headers={"Admin-Key": "a=b:c"})
        assert statistics["model_stats"]
        with pytest.raises(InferenceServerException, match="expecting header 'admin-key'"):
            client.get_inference_statistics("mnist_mlp", headers=dict(HTTP_KEY))


def test_http_restrictions_come_before_the_method(restricted: Nereid) -> None:
    for method in ("GET", "PUT", "DELETE", "POST"):
        answer = restricted.request(method, "/v2/models/mnist_mlp/infer")
        assert (answer.status, answer.error()) == (403, "This API is restricted, expecting header 'infer-key'")
    assert restricted.request("GET", "/v2/models/mnist_mlp/infer", headers=dict(HTTP_KEY)).status == 405
    for kind in ("generate", "generate_stream"):
        assert restricted.post(f"/v2/models/mnist_mlp/{kind}", {}).status == 403


@pytest.mark.parametrize("headers", [None, {"triton-grpc-protocol-infer-key": "x"}, {"infer-key": "open sesame"}])
def test_grpc_without_the_key(restricted: Nereid, headers: dict[str, str] | None) -> None:
    with grpcclient.InferenceServerClient(restricted.grpc) as client:
        for call in (
            lambda: client.infer("mnist_mlp", infer_input(grpcclient), headers=dict(headers or {})),
            lambda: client.get_model_repository_index(headers=dict(headers or {})),
        ):
            with pytest.raises(InferenceServerException) as refused:
                call()
            assert refused.value.status() == "StatusCode.UNAVAILABLE"
            assert refused.value.message() == "This protocol is restricted, expecting header 'triton-grpc-protocol-infer-key'"


def test_grpc_with_the_key(restricted: Nereid) -> None:
    with grpcclient.InferenceServerClient(restricted.grpc) as client:
        result = client.infer("mnist_mlp", infer_input(grpcclient), headers=dict(GRPC_KEY))
        assert result.as_numpy("output").shape == (1, 10)
        assert client.get_model_metadata("mnist_mlp").name == "mnist_mlp", "the rest is open"
        assert client.is_server_ready(headers={"triton-grpc-protocol-admin-key": "a=b:c"})
        for probe in (client.is_server_live, client.is_server_ready, lambda: client.is_model_ready("mnist_mlp")):
            with pytest.raises(InferenceServerException, match="expecting header 'triton-grpc-protocol-admin-key'"):
                probe()


def stream(server: Nereid, headers: dict[str, str] | None) -> tuple:
    """The first answer of a stream: a result and an error, one of them `None`."""
    answers = queue.Queue()
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)), headers=dict(headers or {}))
        with contextlib.suppress(InferenceServerException):  # refused already; the answer says why
            client.async_stream_infer("mnist_mlp", infer_input(grpcclient))
        return answers.get(timeout=30)


def test_grpc_streams(restricted: Nereid) -> None:
    result, error = stream(restricted, None)
    assert result is None and "This protocol is restricted, expecting header 'triton-grpc-protocol-infer-key'" in error.message()
    result, error = stream(restricted, GRPC_KEY)
    assert error is None and result.as_numpy("output").shape == (1, 10)


def test_values_are_not_logged(restricted: Nereid) -> None:
    assert restricted.request("GET", "/v2/repository/index", headers=dict(HTTP_KEY)).status == 405
    assert "open sesame" not in restricted.log()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--http-restricted-api=health,x:k=v"], "unknown restricted api 'x'"),
        (["--grpc-restricted-protocol=x:k=v"], "unknown restricted protocol 'x'"),
        (["--http-restricted-api=health:a=b", "--http-restricted-api=trace,health:c=d"], "restricted api 'health' can not be specified in multiple config groups"),
        (["--grpc-restricted-protocol=trace,trace:a=b"], "restricted protocol 'trace' can not be specified in multiple config groups"),
        (["--http-restricted-api=health"], "--http-restricted-api option format is '<config name>:<setting>=<value>'. Got health"),
    ],
)
def test_wrong_flags(repository: pathlib.Path, flags: list[str], message: str) -> None:
    result = subprocess.run([binary(), f"--model-repository={repository}", *flags], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1
    assert message in result.stdout + result.stderr
