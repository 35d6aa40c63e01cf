"""Every datatype, there and back unchanged: HTTP binary, HTTP JSON where it is allowed, gRPC."""

import json

import ml_dtypes
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import serialize_byte_tensor

from nereid_process import Nereid

FLOATS = [[0.0, -0.0, 1.5], [-2.25, 65504.0, 0.000061]]
HARD_STRINGS = [[b"", b"\x00", b"a\x00b"], [b"\xff\xfe\x00\x80", "äöü€😀".encode(), b"x" * 100_000]]

VALUES = {
    "BOOL": np.array([[True, False, True], [False, False, True]]),
    **{t: np.array([[np.iinfo(d).min, np.iinfo(d).max, 1], [0, 7, 100]], d) for t, d in {
        "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
        "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    }.items()},
    "FP16": np.array(FLOATS, np.float16),
    "BF16": np.array(FLOATS, ml_dtypes.bfloat16),
    "FP32": np.array(FLOATS, np.float32),
    "FP64": np.array(FLOATS, np.float64),
    "BYTES": np.array(HARD_STRINGS, np.object_),
}

JSON_REFUSED = ["FP16", "BF16"]


def same(given: np.ndarray, expected: np.ndarray) -> None:
    assert given.shape == expected.shape and given.dtype == expected.dtype
    if expected.dtype == np.object_:
        assert given.tolist() == expected.tolist()
    else:
        assert given.tobytes() == expected.tobytes()  # bit for bit: -0.0 stays -0.0


@pytest.mark.parametrize("datatype", VALUES)
def test_http_binary(server: Nereid, datatype: str) -> None:
    value = VALUES[datatype]
    tensor = httpclient.InferInput("INPUT0", list(value.shape), datatype)
    tensor.set_data_from_numpy(value)
    output = httpclient.InferRequestedOutput("OUTPUT0", binary_data=True)
    with httpclient.InferenceServerClient(server.http) as client:
        same(client.infer(f"identity_{datatype.lower()}", [tensor], outputs=[output]).as_numpy("OUTPUT0"), value)


@pytest.mark.parametrize("datatype", VALUES)
def test_grpc(server: Nereid, datatype: str) -> None:
    value = VALUES[datatype]
    tensor = grpcclient.InferInput("INPUT0", list(value.shape), datatype)
    tensor.set_data_from_numpy(value)
    with grpcclient.InferenceServerClient(server.grpc) as client:
        same(client.infer(f"identity_{datatype.lower()}", [tensor]).as_numpy("OUTPUT0"), value)


@pytest.mark.parametrize("datatype", [t for t in VALUES if t not in JSON_REFUSED])
def test_http_json(server: Nereid, datatype: str) -> None:
    if datatype == "BYTES":
        data = ["", "plain", 'quote " backslash \\ slash /', "äöü€😀", "tab\tline\nnul\x00", "\u2028"]
    else:
        data = VALUES[datatype].ravel().tolist()
    body = {"inputs": [{"name": "INPUT0", "shape": [2, 3], "datatype": datatype, "data": data}]}
    answer = server.post(f"/v2/models/identity_{datatype.lower()}/infer", body)
    assert answer.status == 200, answer.body
    (output,) = answer.json()["outputs"]
    assert (output["datatype"], output["shape"]) == (datatype, [2, 3])
    assert output["data"] == data


@pytest.mark.parametrize("datatype", JSON_REFUSED)
def test_half_floats_are_refused_in_json(server: Nereid, datatype: str) -> None:
    path = f"/v2/models/identity_{datatype.lower()}/infer"
    tensor = {"name": "INPUT0", "shape": [1, 1], "datatype": datatype}
    answer = server.post(path, {"inputs": [tensor | {"data": [1.0]}]})
    assert answer.status == 400
    assert answer.error() == f"receiving {datatype} data via JSON is not supported. Please use the binary data format for input INPUT0"
    header = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": 2}}]}).encode()
    answer = server.post(path, header + b"\0\0", {"Inference-Header-Content-Length": str(len(header))})
    assert answer.status == 400
    assert answer.error() == f"sending {datatype} data via JSON is not supported. Please use the binary data format for output"  # Triton names no output here


def test_json_numbers_keep_nan_and_infinity(server: Nereid) -> None:
    body = b'{"inputs":[{"name":"INPUT0","shape":[1,3],"datatype":"FP32","data":[NaN,Infinity,-Infinity]}]}'
    answer = server.post("/v2/models/identity_fp32/infer", body)
    assert answer.status == 200, answer.body
    np.testing.assert_array_equal(answer.json()["outputs"][0]["data"], [np.nan, np.inf, -np.inf])


@pytest.mark.parametrize("shape", [[1, 0], [4, 0]])
def test_empty_tensors_give_empty_tensors(server: Nereid, shape: list[int]) -> None:
    body = {"inputs": [{"name": "INPUT0", "shape": shape, "datatype": "FP32", "data": []}]}
    answer = server.post("/v2/models/identity_fp32/infer", body)
    assert answer.status == 200, answer.body
    (output,) = answer.json()["outputs"]
    assert (output["shape"], output["data"]) == (shape, [])


def test_strings_are_told_apart_over_a_batch(server: Nereid) -> None:
    """The raw framing: 4 bytes of length, then the bytes, also where a length is 0."""
    value = np.array([[b"\x00\x00\x00\x00", b""], [b"\x01\x00\x00\x00", b"\n"]], np.object_)
    raw = serialize_byte_tensor(value).item()
    tensor = {"name": "INPUT0", "shape": [2, 2], "datatype": "BYTES", "parameters": {"binary_data_size": len(raw)}}
    header = json.dumps({"inputs": [tensor], "outputs": [{"name": "OUTPUT0", "parameters": {"binary_data": True}}]}).encode()
    answer = server.post("/v2/models/identity_bytes/infer", header + raw, {"Inference-Header-Content-Length": str(len(header))})
    assert answer.status == 200, answer.body
    assert answer.body[int(answer.headers["Inference-Header-Content-Length"]) :] == raw
