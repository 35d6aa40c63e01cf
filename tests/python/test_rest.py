"""HTTP on the wire, without a client library: binary tensors, the raw binary request, paths and methods."""

import http.client
import json
import re

import numpy as np
import pytest

import digits
from nereid_process import Answer, Nereid

INFER = "/v2/models/mnist_mlp/infer"


def binary_request(name: str, outputs: list[dict] | None = None) -> tuple[bytes, dict[str, str]]:
    tensor = digits.image(name).tobytes()
    header: dict = {"inputs": [{"name": "input", "shape": [1, 1, 28, 28], "datatype": "FP32", "parameters": {"binary_data_size": len(tensor)}}]}
    if outputs is not None:
        header["outputs"] = outputs
    text = json.dumps(header).encode()
    return text + tensor, {"Inference-Header-Content-Length": str(len(text))}


def binary_logits(answer: Answer) -> np.ndarray:
    assert answer.status == 200, answer.body
    length = int(answer.headers["Inference-Header-Content-Length"])
    (output,) = json.loads(answer.body[:length])["outputs"]
    assert output["parameters"]["binary_data_size"] == len(answer.body) - length
    return np.frombuffer(answer.body[length:], np.float32).reshape(output["shape"])


def test_binary_in_json_out(server: Nereid, expected: np.ndarray) -> None:
    answer = server.post(INFER, *binary_request("zero"))
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Inference-Header-Content-Length"] is None
    np.testing.assert_allclose(answer.json()["outputs"][0]["data"], expected[0], rtol=1e-4, atol=1e-4)


def test_binary_in_binary_out(server: Nereid, expected: np.ndarray) -> None:
    answer = server.post(INFER, *binary_request("one", [{"name": "output", "parameters": {"binary_data": True}}]))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    np.testing.assert_allclose(binary_logits(answer), expected[1:2], rtol=1e-4, atol=1e-4)


def test_json_in_binary_out_for_all_outputs(server: Nereid, expected: np.ndarray) -> None:
    request = digits.request("two") | {"parameters": {"binary_data_output": True}}
    assert binary_logits(server.post(INFER, request)).argmax() == 2


def test_raw_binary_request(server: Nereid, expected: np.ndarray) -> None:
    answer = server.post(INFER, digits.image("three").tobytes(), {"Inference-Header-Content-Length": "0"})
    np.testing.assert_allclose(binary_logits(answer), expected[3:4], rtol=1e-4, atol=1e-4)


def test_nested_data_is_read_row_by_row(server: Nereid) -> None:
    request = digits.request("four")
    request["inputs"][0]["data"] = np.reshape(request["inputs"][0]["data"], (1, 1, 28, 28)).tolist()
    flat, nested = (server.post(INFER, r).json()["outputs"][0]["data"] for r in (digits.request("four"), request))
    assert flat == nested


def test_a_connection_is_kept_for_the_next_request(server: Nereid) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)
    connection.connect()
    socket = connection.sock
    for digit, name in enumerate(digits.NAMES):
        connection.request("POST", INFER, digits.body(name))
        data = json.loads(connection.getresponse().read())["outputs"][0]["data"]
        assert int(np.argmax(data)) == digit
        assert connection.sock is socket
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "body"),
    [
        ("GET", "/v2/health/live", 200, b""),
        ("GET", "/v2/health/ready", 200, b""),
        ("GET", "/v2/models/mnist_mlp/ready", 200, b""),
        ("GET", "/v2/models/mnist_mlp/versions/1/ready", 200, b""),
        ("GET", "/v2/models/mnist_mlp/versions/9/ready", 404, b"{\"error\":\"Request for unknown model: 'mnist_mlp' version 9 is not found\"}"),
        ("GET", "/v2/models/absent/ready", 404, b"{\"error\":\"Request for unknown model: 'absent' is not found\"}"),
        ("GET", "/v2/models/mnist_mlp/versions/latest", 404, b'{"error":"Not Found"}'),
        ("GET", "/v2/models/mnist_mlp/", 404, b'{"error":"Not Found"}'),
        ("GET", "/", 404, b'{"error":"Not Found"}'),
        ("GET", "/v3", 404, b'{"error":"Not Found"}'),
        ("POST", "/v2/health/live", 405, b'{"error":"Method Not Allowed"}'),
        ("GET", INFER, 405, b'{"error":"Method Not Allowed"}'),
        ("DELETE", "/v2", 405, b'{"error":"Method Not Allowed"}'),
        ("GET", "/v2/models/mnist_mlp/versions/2", 404, b"{\"error\":\"Request for unknown model: 'mnist_mlp' version 2 is not found\"}"),
    ],
)
def test_paths_and_methods(server: Nereid, method: str, path: str, status: int, body: bytes) -> None:
    answer = server.request(method, path)
    assert (answer.status, answer.body) == (status, body)


def test_the_config_is_printed_as_triton_prints_it(server: Nereid) -> None:
    text = server.get("/v2/models/mnist_mlp/config").body.decode()
    assert text.startswith('{"name":"mnist_mlp","platform":"onnxruntime_onnx","backend":"onnxruntime","runtime":"","version_policy":{"latest":{"num_versions":1}},"max_batch_size":8,')
    assert re.search(r'"dims":\[1,28,28\]', text), "64-bit numbers are numbers, not strings"
    assert '"instance_group":[{"name":"mnist_mlp","kind":"KIND_CPU","count":2,' in text
