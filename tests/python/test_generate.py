"""The generate extension, over plain HTTP as its users call it."""

import http.client
import json
import pathlib
import shutil
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest

import digits
import models
from nereid_process import Nereid, serving, wait_until

LIMIT = 1_000_000
ROUTES = ["generate", "generate_stream"]
NO_ID = "[request id: <id_unknown>] "


@pytest.fixture(scope="module")
def generating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    repository = tmp_path_factory.mktemp("generate")
    shutil.copytree(models.ROOT / "model_repository/mnist_mlp", repository / "mnist_mlp")
    models.write(repository, "echo", models.echo(), models.ECHO_CONFIG)
    models.write(repository, "gather", models.gather())
    models.write(repository, "slow", models.slow(), models.SLOW_CONFIG)
    models.write(repository, "add_sub", models.add_sub(), models.ADD_SUB_CONFIG)
    models.write(repository, "half", models.identity("FP16"))
    with serving(repository, tmp_path_factory.mktemp("server") / "log", f"--http-max-input-size={LIMIT}") as server:
        yield server


def url(model: str, route: str = "generate") -> str:
    return f"/v2/models/{model}/{route}"


def honest(server: Nereid) -> None:
    answer = server.post(url("echo"), {"PROMPT": "hi", "STREAM": False})
    assert (answer.status, answer.json()["TEXT"]) == (200, "hi")


def test_one_flat_object(generating: Nereid) -> None:
    answer = generating.post(url("echo"), {"id": "42", "PROMPT": "héllo \"w\"\n", "STREAM": True, "temperature": 0.7})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    text = '{"FLAG":true,"TEXT":"héllo \\"w\\"\\n","id":"42","model_name":"echo","model_version":"1"}'
    assert answer.body.decode() == text


@pytest.mark.parametrize("route", ["generate", "versions/1/generate"])
def test_members_in_every_place(generating: Nereid, route: str) -> None:
    for body in (
        {"PROMPT": ["hi"], "STREAM": [False]},
        {"PROMPT": "hi", "parameters": {"STREAM": False, "top_k": 3, "stop": "x"}},
        {"parameters": {"PROMPT": [["hi"]], "STREAM": [[False]]}, "sequence_id": 7, "triton_own": True},
        {"id": "", "PROMPT": "hi", "STREAM": False},
    ):
        answer = generating.post(url("echo", route), body)
        assert answer.json() == {"FLAG": False, "TEXT": "hi", "model_name": "echo", "model_version": "1"}, body


def test_shapes_follow_from_the_model(generating: Nereid, expected: np.ndarray) -> None:
    pixels = digits.images()
    for rows in (1, 3):
        answer = generating.post(url("mnist_mlp"), {"input": pixels[:rows].flatten().tolist()})
        assert answer.status == 200, answer.body
        assert np.allclose(np.reshape(answer.json()["output"], (rows, 10)), expected[:rows], atol=1e-4)
    answer = generating.post(url("add_sub"), {"INPUT0": list(range(16)), "INPUT1": [1] * 16})
    assert answer.json()["OUTPUT1"] == list(range(-1, 15))
    assert generating.post(url("gather"), {"INPUT": [2, 0]}).json()["OUTPUT"] == [20, 0]
    assert generating.post(url("gather"), {"INPUT": 1}).json()["OUTPUT"] == 10


def test_a_stream_of_one_event(generating: Nereid) -> None:
    answer = generating.post(url("echo", "generate_stream"), {"id": "1", "PROMPT": "hi", "STREAM": True})
    assert (answer.status, answer.headers["Content-Type"]) == (200, "text/event-stream; charset=utf-8")
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert answer.body == b'data: {"FLAG":true,"TEXT":"hi","id":"1","model_name":"echo","model_version":"1"}\n\n'


def test_errors_of_the_model(generating: Nereid) -> None:
    """They have the status of the error; in a stream they are events, since inference had begun."""
    answer = generating.post(url("gather"), {"INPUT": 7})
    assert (answer.status, answer.headers["Content-Type"]) == (500, "application/json")
    assert "out of data bounds" in answer.error()
    stream = generating.post(url("gather", "generate_stream"), {"INPUT": 7})
    assert (stream.status, stream.headers["Content-Type"]) == (500, "text/event-stream; charset=utf-8")
    assert stream.body == b"data: " + answer.body + b"\n\n"
    honest(generating)


WRONG_TYPE = "parameter '{}' has invalid type. It should be either 'int', 'bool', or 'string'."
# model, body, status, start of the text
REFUSALS = [
    ("echo", {}, 400, f"{NO_ID}expected 2 inputs but got 0 inputs for model 'echo'."),
    ("echo", {"PROMPT": "hi", "other": 1}, 400, f"{NO_ID}expected 2 inputs but got 1 inputs for model 'echo'."),
    ("echo", {"PROMPT": 123, "STREAM": False}, 500, "Unable to parse JSON bytes array: attempt to access JSON non-string as string"),
    ("echo", {"PROMPT": "hi", "STREAM": "false"}, 500, "Unable to parse 'data': attempt to access JSON non-boolean as boolean"),
    ("echo", {"STREAM": 123, "PROMPT": True}, 500, "Unable to parse 'data': attempt to access JSON non-boolean as boolean"),
    ("echo", {"PROMPT": {"USER": "x"}, "STREAM": True}, 500, "Unable to parse JSON bytes array: attempt to access JSON non-string as string"),
    ("echo", {"PROMPT": "x", "STREAM": True, "PARAMS": {"a": 0}}, 400, WRONG_TYPE.format("PARAMS")),
    ("echo", {"PROMPT": "x", "STREAM": True, "p": None}, 400, WRONG_TYPE.format("p")),
    ("echo", {"PROMPT": "x", "STREAM": True, "parameters": 1}, 500, "Expected JSON object for keyword: 'parameters': attempt to access JSON non-object as object"),
    ("echo", {"PROMPT": "x", "parameters": {"n": {"t": 1}}}, 400, "Converting keyword: 'parameters': " + WRONG_TYPE.format("n")),
    ("echo", b'{"PROMPT":"x","STREAM":false,"PROMPT":"y"}', 400, f"{NO_ID}input 'PROMPT' already exists in request"),
    ("echo", {"PROMPT": ["a", "b"], "STREAM": True}, 400, "The schema can not convert input 'PROMPT' to tensor with proper shape"),
    ("echo", {"PROMPT": [["a", "b"]], "STREAM": True}, 400, f"{NO_ID}unexpected number of string elements 2 for inference input 'PROMPT' for model 'echo', expecting 1"),
    ("echo", {"PROMPT": [], "STREAM": True}, 400, f"{NO_ID}unexpected shape for input 'PROMPT' for model 'echo'. Expected [1], got []. "),
    ("mnist_mlp", {"input": 1}, 400, "The schema can not convert input 'input' to tensor with proper shape"),
    ("mnist_mlp", {"input": []}, 400, f"{NO_ID}input 'input' has no shape but model requires batch dimension for 'mnist_mlp'"),
    ("mnist_mlp", {"input": [0] * 784 * 9}, 400, f"{NO_ID}inference request batch-size must be <= 8 for 'mnist_mlp'"),
    ("mnist_mlp", {"input": [[0] * 28] * 784}, 500, "Unable to parse 'data': Shape does not match true shape of 'data' field"),
    ("half", {"INPUT0": [1]}, 400, "receiving FP16 data via JSON is not supported. Please use the binary data format for input INPUT0"),
    ("echo", {"id": 7}, 500, "Unable to parse 'id': attempt to access JSON non-string as string"),
    ("echo", b"", 500, "failed to parse the request JSON buffer: The document is empty. at 0"),
    ("echo", b"[1]", 500, "attempt to get members for non-object"),
    ("echo", b'{"PROMPT":', 500, "failed to parse the request JSON buffer: "),
    ("nope", {}, 404, "Request for unknown model: 'nope' is not found"),
    ("echo/versions/9", {}, 404, "Request for unknown model: 'echo' version 9 is not found"),
    ("gather", {"INPUT": [0] * 130_000}, 400, f"request size of 0 bytes with input 'INPUT' of size 1040000 bytes exceeds the maximum allowed input size of {LIMIT}. Use --http-max-input-size to increase the limit."),
    ("echo", {"PROMPT": "x" * LIMIT}, 400, f"request JSON size of {LIMIT + 14} bytes exceeds the maximum allowed input size of {LIMIT} bytes. Use --http-max-input-size to increase the limit."),
]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(("model", "body", "status", "text"), REFUSALS)
def test_refusals(generating: Nereid, route: str, model: str, body: dict | bytes, status: int, text: str) -> None:
    answer = generating.post(url(model, route), body)
    assert (answer.status, answer.headers["Content-Type"]) == (status, "application/json"), answer.body
    assert answer.error().startswith(text), answer.error()
    honest(generating)


@pytest.mark.parametrize("route", ROUTES)
def test_methods_and_encodings(generating: Nereid, route: str) -> None:
    answer = generating.get(url("echo", route))
    assert (answer.status, answer.headers["Content-Type"], answer.error()) == (405, "application/json", "Method Not Allowed")
    for encoding in ("gzip", "deflate", "br"):
        answer = generating.post(url("echo", route), {}, {"Content-Encoding": encoding})
        assert (answer.status, answer.error()) == (400, "Unsupported content-encoding, only 'identity' is supported.")
    body = {"PROMPT": "hi", "STREAM": True}
    assert generating.post(url("echo", route), body, {"Content-Encoding": "identity", "Accept-Encoding": "gzip"}).status == 200


def chunked(server: Nereid, path: str, chunks: Iterator[bytes]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)
    try:
        connection.request("POST", path, chunks, encode_chunked=True, headers={"Transfer-Encoding": "chunked"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def test_a_long_body_in_chunks_is_counted(generating: Nereid) -> None:
    size = 50 * LIMIT
    status, body = chunked(generating, url("echo"), (b"[" * LIMIT for _ in range(50)))
    assert status == 400
    assert json.loads(body)["error"].startswith(f"request JSON size of {size} bytes exceeds")
    honest(generating)


HOSTILE = {
    "deep_tensor": '{"INPUT":' + "[" * 250_000 + "1" + "]" * 250_000 + "}",
    "deep_parameter": '{"p":' + "[" * 250_000 + "]" * 250_000 + "}",
    "deep_and_open": '{"INPUT":' + "[" * 900_000,
    "deep_objects": '{"parameters":' * 50_000 + "1" + "}" * 50_000,
    "many_values": '{"INPUT":[' + "0," * 400_000 + "0]}",
    "many_members": "{" + ",".join(f'"{i}":0' for i in range(90_000)) + "}",
    "huge_integers": '{"INPUT":[99999999999999999999,-99999999999999999999]}',
    "long_number": '{"INPUT":' + "9" * 100_000 + "}",
    "wrong_types": '{"INPUT":[null,true,{},"a"]}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_bodies(generating: Nereid, name: str) -> None:
    for route in ROUTES:
        answer = generating.post(url("gather", route), HOSTILE[name].encode())
        assert answer.status in (400, 500) and answer.error(), answer.body[:1000]
    honest(generating)


def test_strings_keep_their_bytes(generating: Nereid) -> None:
    answer = generating.post(url("echo"), b'{"PROMPT":"a\\u0000b\xff","STREAM":true}')
    assert answer.status == 200
    assert b'"TEXT":"a\\u0000b\xff"' in answer.body
    answer = generating.post(url("echo"), ('{"PROMPT":[' + '"",' * 200_000 + '""],"STREAM":true}').encode())
    assert answer.error() == "The schema can not convert input 'PROMPT' to tensor with proper shape"


@pytest.mark.parametrize("route", ROUTES)
def test_a_client_that_goes_cancels_its_request(generating: Nereid, route: str) -> None:
    """Two requests come first, so that the one instance is busy; the third one's client is gone before its turn."""

    def count(what: str) -> int:
        return generating.get("/v2/models/slow/stats").json()["model_stats"][0]["inference_stats"][what]["count"]

    def pending(requests: int) -> bool:
        return f'nv_inference_pending_request_count{{model="slow",version="1"}} {requests}\n' in generating.metrics()

    done, failed = count("success"), count("fail")
    first = [threading.Thread(target=generating.post, args=(url("slow"), {"ROUNDS": 700})) for _ in range(2)]
    for request in first:
        request.start()
    wait_until(lambda: pending(1), 20, "one request runs and one is queued")
    body = b'{"ROUNDS":1000000}'
    with socket.create_connection(("127.0.0.1", generating.http_port), 10) as gone:
        head = f"POST {url('slow', route)} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        gone.sendall(head.encode() + body)
        wait_until(lambda: pending(2), 20, "the third request is queued")
    for request in first:
        request.join(30)
    wait_until(lambda: count("fail") == failed + 1, 20, "the request is given up")
    assert count("success") == done + 2
    assert generating.post(url("slow"), {"ROUNDS": 1}).json()["OUTPUT"] == 1
