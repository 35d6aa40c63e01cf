"""Malformed HTTP requests: each gets its status and text, and the next honest request is answered."""

import json
import socket

import pytest

import honest
from honest import INFER
from nereid_process import Nereid

PIXELS = [0] * 784
NO_ID = "[request id: <id_unknown>] "


def tensor(**changes: object) -> bytes:
    """A request with one input, changed; a value of None leaves the field out."""
    fields = {"name": "input", "shape": [1, 1, 28, 28], "datatype": "FP32", "data": PIXELS} | changes
    return json.dumps({"inputs": [{k: v for k, v in fields.items() if v is not None}]}).encode()


def with_outputs(outputs: object) -> bytes:
    return json.dumps(json.loads(tensor()) | {"outputs": outputs}).encode()


def binary(size: object, sent: int) -> tuple[bytes, dict[str, str]]:
    header = tensor(data=None, parameters={"binary_data_size": size})
    return header + bytes(sent), {"Inference-Header-Content-Length": str(len(header))}


# name: (body, headers, status, text that the message holds)
CASES = {
    "malformed_json": (b'{"inputs":[{"name":"input",}]}', {}, 500, "failed to parse the request JSON buffer"),
    "trailing_garbage": (tensor() + b"x", {}, 500, "failed to parse the request JSON buffer"),
    "root_is_a_list": (b"[1]", {}, 500, "Unable to parse 'inputs'"),
    "no_inputs_field": (b"{}", {}, 500, "Unable to parse 'inputs': attempt to access non-existing object member 'inputs'"),
    "inputs_not_a_list": (b'{"inputs":1}', {}, 500, "Unable to parse 'inputs': attempt to access JSON non-array as array"),
    "deep_nesting": (b'{"inputs":[{"name":"input","shape":[1],"datatype":"FP32","data":' + b"[" * 100_000, {}, None, None),
    "deep_nesting_closed": (tensor().replace(b"[0, 0", b"[" * 5000 + b"0" + b"]" * 5000 + b", 0"), {}, None, None),
    "no_name": (tensor(name=None), {}, 500, "Unable to parse 'name': attempt to access non-existing object member 'name'"),
    "no_shape": (tensor(shape=None), {}, 500, "Unable to parse 'shape': attempt to access non-existing object member 'shape'"),
    "shape_not_a_list": (tensor(shape=3), {}, 500, "Unable to parse 'shape': attempt to access JSON non-array as array"),
    "no_data": (tensor(data=None), {}, 400, "Input must set only one of the following fields: 'data', 'binary_data_size' in 'parameters', 'shared_memory_region' in 'parameters'. But no field is set"),
    "unknown_input": (tensor(name="nope"), {}, 400, "unexpected inference input 'nope' for model 'mnist_mlp'"),
    "no_inputs": (b'{"inputs":[]}', {}, 400, f"{NO_ID}expected 1 inputs but got 0 inputs for model 'mnist_mlp'. Got input(s) [], but missing required input(s) ['input']. Please provide all required input(s)."),
    "wrong_datatype": (tensor(datatype="INT32"), {}, 400, f"{NO_ID}inference input 'input' data-type is 'INT32', but model 'mnist_mlp' expects 'FP32'"),
    "wrong_shape": (tensor(shape=[1, 28, 28]), {}, 400, f"{NO_ID}unexpected shape for input 'input' for model 'mnist_mlp'. Expected [-1,1,28,28], got [1,28,28]. NOTE: "),
    "empty_shape": (tensor(shape=[], data=[0]), {}, 400, f"{NO_ID}input 'input' has no shape but model requires batch dimension for 'mnist_mlp'"),
    "batch_of_zero": (tensor(shape=[0, 1, 28, 28], data=[]), {}, 400, f"{NO_ID}input byte size mismatch for input 'input' for model 'mnist_mlp'. Expected 3136, got 0"),
    "batch_too_large": (tensor(shape=[9, 1, 28, 28], data=PIXELS * 9), {}, 400, f"{NO_ID}inference request batch-size must be <= 8 for 'mnist_mlp'"),
    "too_little_data": (tensor(data=PIXELS[1:]), {}, 500, "Failed to parse 'data' field: shape does not match true shape"),
    "too_much_data": (tensor(data=PIXELS + [0]), {}, 500, "Unable to parse 'data': Shape does not match true shape of 'data' field"),
    "text_for_a_number": (tensor(data=["0"] * 784), {}, 500, "Unable to parse 'data'"),
    "shape_overflows": (tensor(shape=[2**62, 2**62, 2, 2]), {}, 400, "invalid shape for input 'input': shape [4611686018427387904,4611686018427387904,2,2] causes total element count to exceed maximum size"),
    "shape_is_huge": (tensor(shape=[2**40, 1, 28, 28]), {}, None, None),
    "negative_dimension": (tensor(shape=[-1, 1, 28, 28]), {}, None, None),
    "unknown_output": (with_outputs([{"name": "nope"}]), {}, 400, "unexpected inference output 'nope' for model 'mnist_mlp'"),
    "duplicate_input_with_bad_data": (tensor().replace(b"]}]}", b"]}," + tensor(data=["x"])[12:-2] + b"]}"), {}, 400, f"{NO_ID}input 'input' already exists in request"),
    "duplicate_output": (with_outputs([{"name": "output"}, {"name": "output"}]), {}, 400, f"{NO_ID}output 'output' already exists in request"),
    "output_without_name": (with_outputs([{}]), {}, 500, "Unable to parse 'name'"),
    "outputs_not_a_list": (with_outputs(1), {}, 500, "Unable to parse 'outputs': attempt to access JSON non-array as array"),
    "reserved_parameter": (json.dumps(json.loads(tensor()) | {"parameters": {"triton_x": 1}}).encode(), {}, 400, "parameter keys starting with 'triton_' are reserved for Triton usage and should not be specified."),
    "binary_short": (*binary(3136, 3000), 400, "unexpected size for input 'input', expecting 136 additional bytes for model 'mnist_mlp'"),
    "binary_surplus": (*binary(3136, 3140), 400, "unexpected additional input data for model 'mnist_mlp'"),
    "binary_claims_4_gib": (*binary(2**32, 3136), 400, "unexpected size for input 'input'"),
    "binary_claims_exabytes": (*binary(2**63 - 1, 3136), 400, "unexpected size for input 'input'"),
    "binary_size_is_text": (*binary("3136", 3136), 500, "Unable to parse 'binary_data_size': attempt to access JSON non-unsigned-integer as unsigned-integer"),
    "binary_size_is_negative": (*binary(-1, 3136), 500, "Unable to parse 'binary_data_size': attempt to access JSON non-unsigned-integer as unsigned-integer"),
    "binary_of_another_size": (*binary(3140, 3140), 400, f"{NO_ID}input byte size mismatch for input 'input' for model 'mnist_mlp'. Expected 3136, got 3140"),
    "header_length_beyond_body": (tensor(), {"Inference-Header-Content-Length": "999999"}, 400, "inference header size should be in range (0, "),
    "header_length_negative": (tensor(), {"Inference-Header-Content-Length": "-1"}, 400, "inference header size should be in range (0, "),
    "header_length_no_number": (tensor(), {"Inference-Header-Content-Length": "abc"}, 400, "Unable to parse Inference-Header-Content-Length, got: abc"),
    "header_length_beyond_32_bits": (tensor(), {"Inference-Header-Content-Length": "99999999999"}, 400, "Unable to parse Inference-Header-Content-Length, value is out of range [ -2147483648, 2147483647 ], got: 99999999999"),
    "raw_binary_of_wrong_size": (bytes(3000), {"Inference-Header-Content-Length": "0"}, 400, "input byte size mismatch for input 'raw_input' for model 'mnist_mlp'. Expected 3136, got 3000"),
    "unknown_encoding": (tensor(), {"Content-Encoding": "br"}, 501, "Unsupported compression type"),
    "not_gzip": (tensor(), {"Content-Encoding": "gzip"}, None, None),
    "not_utf8": (b'{"inputs":[{"name":"\xff\xfe"}]}', {}, None, None),
}


@pytest.mark.parametrize("name", CASES)
def test_malformed(server: Nereid, name: str) -> None:
    body, headers, status, message = CASES[name]
    answer = server.post(INFER, body, headers)
    if status is None:  # Triton's own answer is its parser's, or differs between its versions: any clear refusal will do
        assert answer.status in (400, 500) and answer.error(), answer.body
    else:
        assert answer.status == status, answer.body
        assert message in answer.error()
    honest.over_http(server)


BYTES_CASES = [
    ((2).to_bytes(4, "little") + b"ab", "expected 2 string elements for inference input 'INPUT0' for model 'identity_bytes', got 1"),
    ((0).to_bytes(4, "little") * 3, "unexpected number of string elements 3 for inference input 'INPUT0' for model 'identity_bytes', expecting 2"),
    ((0).to_bytes(4, "little") + (2**32 - 1).to_bytes(4, "little") + b"ab", "incomplete string data for inference input 'INPUT0', expecting string of length 4294967295 but only 2 bytes available"),
    ((0).to_bytes(4, "little") + b"\1\0", "incomplete string length indicator for inference input 'INPUT0' for model 'identity_bytes', expecting 4 bytes but only 2 bytes available"),
]


@pytest.mark.parametrize(("raw", "message"), BYTES_CASES)
def test_malformed_strings(server: Nereid, raw: bytes, message: str) -> None:
    fields = {"name": "INPUT0", "shape": [1, 2], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    header = json.dumps({"inputs": [fields]}).encode()
    answer = server.post("/v2/models/identity_bytes/infer", header + raw, {"Inference-Header-Content-Length": str(len(header))})
    assert answer.status == 400
    assert message in answer.error()
    # What Triton finds in the backend is the answer to an accepted request, which it does not label as JSON.
    accepted = message.startswith("incomplete string data")
    assert answer.headers["Content-Type"] == ("text/plain" if accepted else "application/json")
    honest.over_http(server)


RAW_CASES = {
    "not_http": b"\x16\x03\x01\x02\x00hello\r\n\r\n",
    "endless_header": b"GET /v2 HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 2_000_000,
    "bad_content_length": b"POST " + INFER.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    "bad_chunk": b"POST " + INFER.encode() + b" HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "body_never_sent": b"POST " + INFER.encode() + b" HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000000\r\n\r\n{",
    "closed_at_once": b"",
}


@pytest.mark.parametrize("name", RAW_CASES)
def test_garbage_on_the_socket_disturbs_nobody(server: Nereid, name: str) -> None:
    with socket.create_connection(("127.0.0.1", server.http_port), 10) as connection:
        try:
            connection.sendall(RAW_CASES[name])
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has had enough before it was all sent
        honest.over_http(server)
    honest.over_http(server)
