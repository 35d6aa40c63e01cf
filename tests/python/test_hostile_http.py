"""Requests over HTTP at and beyond every limit: each is answered, costs no more than it sent, and disturbs nobody.

What is merely malformed is in test_malformed_http.py.
"""

import gzip
import http.client
import json
import pathlib
import urllib.parse
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import digits
import honest
from footprint import PER_BYTE, bounded
from honest import INFER
from hostile import DEEP, MANY, MILLION, NAMES
from nereid_process import Answer, Nereid, serving

HEADER_LENGTH = "Inference-Header-Content-Length"
SEVEN = digits.request("seven")


def post(server: Nereid, path: str, body: bytes, *headers: tuple[str, str], per_byte: int = PER_BYTE) -> Answer:
    """Posts `body` and sees to it that nothing but the answer comes of it."""
    fields = http.client.HTTPMessage()
    for name, value in headers:
        fields.add_header(name, value)
    with bounded(server, len(body), per_byte):
        answer = server.post(path, body, fields)
    honest.over_http(server)
    return answer


def refused(answer: Answer, status: int, text: str) -> None:
    assert answer.status == status, answer.body[:300]
    assert text in answer.error(), answer.error()[:300]


def identity(datatype: str) -> str:
    return f"/v2/models/identity_{datatype.lower()}/infer"


def tensor(datatype: str, shape: list[int], data: bytes, more: bytes = b"") -> bytes:
    """A request of one input whose data stands as it is."""
    fields = f'"name":"INPUT0","datatype":"{datatype}","shape":{json.dumps(shape)},"data":'
    return b'{"inputs":[{' + fields.encode() + data + b"}]" + more + b"}"


def binary(datatype: str, shape: list[int], data: bytes, **members: object) -> tuple[bytes, tuple[str, str]]:
    """A request of one binary input, and its header."""
    one = {"name": "INPUT0", "datatype": datatype, "shape": shape, "parameters": {"binary_data_size": len(data)}}
    head = json.dumps({"inputs": [one]} | members).encode()
    return head + data, (HEADER_LENGTH, str(len(head)))


def seven(**members: object) -> bytes:
    return json.dumps(SEVEN | members).encode()


def seven_input(**members: object) -> bytes:
    return json.dumps({"inputs": [SEVEN["inputs"][0] | members]}).encode()


def is_seven(answer: Answer) -> None:
    assert answer.status == 200 and int(np.argmax(answer.json()["outputs"][0]["data"])) == 7, answer.body[:300]


# The value, and what the refusal says; a number is read as far as it goes, as C does.
UNREADABLE = "Unable to parse Inference-Header-Content-Length, got: "
OUT_OF_RANGE = "Unable to parse Inference-Header-Content-Length, value is out of range [ -2147483648, 2147483647 ], got: "
BEYOND = "inference header size should be in range (0, "
HEADER_LENGTHS = {
    "2^31-1": (str(2**31 - 1), 400, BEYOND),
    "2^31": (str(2**31), 400, OUT_OF_RANGE),
    "-2^31": (str(-(2**31)), 400, BEYOND),
    "-2^31-1": (str(-(2**31) - 1), 400, OUT_OF_RANGE),
    "2^32+1": (str(2**32 + 1), 400, OUT_OF_RANGE),
    "2^63": (str(2**63), 400, OUT_OF_RANGE),
    "-2^63-1": (str(-(2**63) - 1), 400, OUT_OF_RANGE),
    "2^64": (str(2**64), 400, OUT_OF_RANGE),
    "2^64+1": (str(2**64 + 1), 400, OUT_OF_RANGE),
    "40_digits": ("9" * 40, 400, OUT_OF_RANGE),
    "40_zeros": ("0" * 39 + "1", 500, "failed to parse the request JSON buffer"),
    "10000_digits": ("9" * 10_000, 400, OUT_OF_RANGE),
    "hex": ("0x10", 400, "input byte size mismatch for input 'raw_input'"),
    "plus": ("+1", 500, "failed to parse the request JSON buffer"),
    "two_signs": ("+-1", 400, UNREADABLE),
    "fraction": ("1.5", 500, "failed to parse the request JSON buffer"),
    "exponent": ("1e3", 500, "failed to parse the request JSON buffer"),
    "spaces_around": ("  1  ", 500, "failed to parse the request JSON buffer"),
    "spaces_within": ("1 2", 500, "failed to parse the request JSON buffer"),
    "empty": ("", 400, UNREADABLE),
    "only_a_sign": ("-", 400, UNREADABLE),
    "not_a_digit_of_ours": ("\xb2", 400, UNREADABLE),
}


@pytest.mark.parametrize("name", HEADER_LENGTHS)
def test_header_length(besieged: Nereid, name: str) -> None:
    value, status, text = HEADER_LENGTHS[name]
    refused(post(besieged, INFER, seven(), (HEADER_LENGTH, value)), status, text)


def test_two_header_lengths(besieged: Nereid) -> None:
    body, right = binary("FP32", [1, 1], bytes(4))
    path = identity("FP32")
    assert post(besieged, path, body, right, (HEADER_LENGTH, "1")).status == 200, "the first one counts, as in Triton"
    refused(post(besieged, path, body, (HEADER_LENGTH, str(2**64)), right), 400, OUT_OF_RANGE)


# Where a value stands that is nested too deep; `@` is the value.
PLACES = {
    "document": "@",
    "unknown_member": '{"x":@,"inputs":[]}',
    "id": '{"id":@,"inputs":[]}',
    "parameters": '{"parameters":@,"inputs":[]}',
    "a_parameter": '{"parameters":{"p":@},"inputs":[]}',
    "inputs": '{"inputs":@}',
    "input": '{"inputs":[@]}',
    "unknown_of_input": '{"inputs":[{"x":@}]}',
    "input_name": '{"inputs":[{"name":@}]}',
    "datatype": '{"inputs":[{"name":"input","datatype":@}]}',
    "shape": '{"inputs":[{"name":"input","shape":@}]}',
    "dimension": '{"inputs":[{"name":"input","shape":[1,@]}]}',
    "input_parameters": '{"inputs":[{"name":"input","parameters":@}]}',
    "binary_data_size": '{"inputs":[{"name":"input","parameters":{"binary_data_size":@}}]}',
    "data_before_type": '{"inputs":[{"data":@,"name":"input","shape":[1],"datatype":"FP32"}]}',
    "data": '{"inputs":[{"name":"input","shape":[1],"datatype":"FP32","data":@}]}',
    "data_of_strings": '{"inputs":[{"name":"input","shape":[1],"datatype":"BYTES","data":@}]}',
    "element": '{"inputs":[{"name":"input","shape":[2],"datatype":"INT8","data":[1,@]}]}',
    "outputs": '{"inputs":[],"outputs":@}',
    "output": '{"inputs":[],"outputs":[@]}',
    "output_name": '{"inputs":[],"outputs":[{"name":@}]}',
    "classification": '{"inputs":[],"outputs":[{"name":"output","parameters":{"classification":@}}]}',
}
NESTED = {
    "arrays": "[" * DEEP + "1" + "]" * DEEP,
    "objects": '{"a":' * DEEP + "1" + "}" * DEEP,
    "open": '[{"a":' * (DEEP // 2),
}


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("place", PLACES)
def test_nested_in_an_inference_request(besieged: Nereid, place: str, nested: str) -> None:
    answer = post(besieged, INFER, PLACES[place].replace("@", NESTED[nested]).encode())
    assert answer.status in (400, 500) and answer.error(), answer.body[:300]


def test_what_is_not_looked_at_may_be_nested(besieged: Nereid) -> None:
    body = seven(x=0).replace(b'"x": 0', b'"x": ' + NESTED["arrays"].encode())
    is_seven(post(besieged, INFER, body))


ENDPOINTS = [
    "/v2/repository/index",
    "/v2/repository/models/add_sub/load",
    "/v2/repository/models/absent/unload",
    "/v2/logging",
    "/v2/trace/setting",
    "/v2/models/mnist_mlp/trace/setting",
    "/v2/models/mnist_mlp/generate",
    "/v2/models/mnist_mlp/generate_stream",
    "/v2/systemsharedmemory/region/r/register",
    "/v2/cudasharedmemory/region/r/register",
]
LENIENT = ("/index", "/unload")
"""They may do without what is in a body."""


@pytest.mark.parametrize("nested", NESTED)
@pytest.mark.parametrize("path", ENDPOINTS)
def test_nested_elsewhere(besieged: Nereid, path: str, nested: str) -> None:
    for frame in ("@", '{"parameters":@}', '{"parameters":{"config":@}}', '{"ready":@,"key":@,"log_info":@,"trace_rate":@,"text_input":@}'):
        answer = post(besieged, path, frame.replace("@", NESTED[nested]).encode())
        assert 400 <= answer.status < 600 or path.endswith(LENIENT), answer.body[:300]


@pytest.mark.parametrize("nested", NESTED)
def test_nested_in_a_config(besieged: Nereid, nested: str) -> None:
    for config in (NESTED[nested], '{"parameters":{"x":' + NESTED[nested] + "}}"):
        body = json.dumps({"parameters": {"config": config}}).encode()
        answer = post(besieged, "/v2/repository/models/add_sub/load", body)
        assert answer.status >= 400 and answer.error(), answer.body[:300]


def test_numbers_that_expand(besieged: Nereid) -> None:
    count = 10 * MILLION
    body = tensor("FP64", [1, count], b"[" + b"0," * (count - 1) + b"0]")
    limit = "exceeds the maximum allowed value of 67108864 bytes. Use --http-max-input-size to increase the limit."
    answer = post(besieged, identity("FP64"), body, per_byte=6)  # the body, and half as much again as the limit allows
    refused(answer, 400, f"JSON input 'INPUT0' has a byte_size (80000000 bytes) that {limit}")


# Shape, bytes of data, and what the refusal says; the model takes FP32 of any `[N, M]`.
SHAPES = {
    "product_of_2^63": ([2**31, 2**32], 4, ""),
    "product_of_2^64+": ([2**33, 2**33], 4, ""),
    "bytes_of_2^64": ([2**31, 2**31], 4, ""),
    "batch_of_2^32+1": ([2**32 + 1, 1], 4, "inference request batch-size must be <= "),
    "batch_of_2^63-1": ([2**63 - 1, 1], 4, "inference request batch-size must be <= "),
    "claims_a_billion": ([1, 10**9], 4, ""),
    "claims_2^62": ([1, 2**62], 4, ""),
    "dimension_of_2^63": ([1, 2**63], 4, ""),
    "65536_dimensions": ([1] * 65_536, 4, "unexpected shape for input 'INPUT0' for model 'identity_fp32'. Expected [-1,-1], got [1,1,1"),
    "65536_huge_dimensions": ([2] * 65_536, 4, ""),
    "zero_and_huge": ([1, 0, 2**62, 2**62], 0, "unexpected shape"),
    "no_rows": ([0, 1], 0, ""),
    "nothing": ([0, 0], 0, ""),
    "nothing_but_data": ([1, 0], 4, ""),
}


@pytest.mark.parametrize("encoding", ["json", "binary"])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(besieged: Nereid, name: str, encoding: str) -> None:
    shape, size, text = SHAPES[name]
    if encoding == "binary":
        answer = post(besieged, identity("FP32"), *binary("FP32", shape, bytes(size)))
        refused(answer, 400, text)
    else:
        answer = post(besieged, identity("FP32"), tensor("FP32", shape, b"[0]" if size else b"[]"))
        # JSON of a shape without elements is not looked at, as in Triton.
        assert answer.status in (400, 500) or (name == "nothing_but_data" and answer.status == 200), answer.body[:300]


def test_a_tensor_without_elements(besieged: Nereid) -> None:
    for answer in (
        post(besieged, identity("FP32"), tensor("FP32", [1, 0], b"[]")),
        post(besieged, identity("FP32"), *binary("FP32", [1, 0], b"")),
    ):
        assert answer.status == 200 and answer.json()["outputs"][0]["shape"] == [1, 0]


def classes(k: object) -> list[dict]:
    return [{"name": "OUTPUT0", "parameters": {"classification": k}}]


def test_classes_of_nothing(besieged: Nereid) -> None:
    for k in (1, 2**32, 2**63):
        answer = post(besieged, identity("FP32"), *binary("FP32", [1, 0], b"", outputs=classes(k)))
        assert answer.status == 200 and answer.json()["outputs"][0] | {"shape": [1, 0], "data": []} == answer.json()["outputs"][0]


def test_classes_of_a_huge_output(besieged: Nereid) -> None:
    data = bytes(MILLION + 1)
    answer = post(besieged, identity("UINT8"), *binary("UINT8", [1, MILLION + 1], data, outputs=classes(1)))
    refused(answer, 400, "classification output tensor too large")


@pytest.mark.parametrize("k", [1, 2**31, 2**32 - 1, 2**32, 2**32 + 1, 2**63, 2**64 - 1])
def test_more_classes_than_there_are(besieged: Nereid, k: int) -> None:
    answer = post(besieged, identity("UINT8"), *binary("UINT8", [1, 3], b"\1\3\2", outputs=classes(k)))
    assert answer.status == 200
    assert answer.json()["outputs"][0]["data"] == (["3:1", "2:2", "1:0"] if k > 1 else ["3:1"])


@pytest.mark.parametrize("k", [-1, 2**64, 10**40, 1.5, "1", True, None, [1]])
def test_classes_that_are_no_count(besieged: Nereid, k: object) -> None:
    answer = post(besieged, identity("UINT8"), *binary("UINT8", [1, 3], b"\1\3\2", outputs=classes(k)))
    refused(answer, 500, "Unable to set 'classification': attempt to access JSON non-unsigned-integer as unsigned-integer")


def test_classes_of_strings(besieged: Nereid) -> None:
    answer = post(besieged, identity("BYTES"), tensor("BYTES", [1, 1], b'["x"]', b',"outputs":' + json.dumps(classes(1)).encode()))
    refused(answer, 400, "class result not available for output due to unsupported type 'BYTES'")


OUTPUTS = {
    "same": (["output"] * MANY, "output 'output' already exists in request"),
    "unknown": ([f"o{i}" for i in range(MANY)], "unexpected inference output 'o0' for model 'mnist_mlp'"),
    "known_last": ([f"o{i}" for i in range(MANY)] + ["output"], "unexpected inference output 'o0' for model 'mnist_mlp'"),
    "same_at_both_ends": (["output", *(f"o{i}" for i in range(MANY)), "output"], "output 'output' already exists in request"),
}


@pytest.mark.parametrize("name", OUTPUTS)
def test_many_outputs(besieged: Nereid, name: str) -> None:
    names, text = OUTPUTS[name]
    refused(post(besieged, INFER, seven(outputs=[{"name": n} for n in names])), 400, text)


def test_many_inputs(besieged: Nereid) -> None:
    one = {"datatype": "FP32", "shape": [1], "data": [0]}
    body = json.dumps({"inputs": SEVEN["inputs"] + [one | {"name": f"i{i}"} for i in range(MANY)]}).encode()
    refused(post(besieged, INFER, body), 400, f"expected 1 inputs but got {MANY + 1} inputs for model 'mnist_mlp'")
    body = json.dumps({"inputs": [one | {"name": "input"}] * MANY}).encode()
    refused(post(besieged, INFER, body), 400, "input 'input' already exists in request")


def test_many_parameters(besieged: Nereid) -> None:
    is_seven(post(besieged, INFER, seven(parameters={f"p{i}": i for i in range(MANY)})))
    fields = dict.fromkeys((f"p{i}" for i in range(MANY)), 1)
    is_seven(post(besieged, INFER, json.dumps({"inputs": [SEVEN["inputs"][0] | {"parameters": fields}]}).encode()))


def test_many_empty_strings(besieged: Nereid) -> None:
    body = tensor("BYTES", [1, MILLION], b"[" + b'"",' * (MILLION - 1) + b'""]')
    for answer in (
        post(besieged, identity("BYTES"), body),
        post(besieged, identity("BYTES"), *binary("BYTES", [1, MILLION], bytes(4 * MILLION))),
    ):
        assert answer.status == 200 and answer.json()["outputs"][0]["data"] == [""] * MILLION
    answer = post(besieged, identity("BYTES"), *binary("BYTES", [1, 2**40], bytes(4 * MILLION)))
    refused(answer, 400, f"expected {2**40} string elements for inference input 'INPUT0' for model 'identity_bytes', got {MILLION}")


@pytest.mark.parametrize("length", [2**32 - 1, 2**32 - 4, 2**32 - 8, 2**31, 2**31 - 1])
def test_lengths_of_strings_that_wrap(besieged: Nereid, length: int) -> None:
    data = length.to_bytes(4, "little") + b"abcd" + bytes(8)
    answer = post(besieged, identity("BYTES"), *binary("BYTES", [1, 1], data))
    refused(answer, 400, f"expecting string of length {length} but only 12 bytes available")


# Where a name stands, and what the refusal of it says; `None` is no refusal.
NAMED = {
    "input": (lambda n: seven_input(name=n), "unexpected inference input '{}' for model 'mnist_mlp'"),
    "datatype": (lambda n: seven_input(datatype=n), "invalid datatype for input input"),
    "output": (lambda n: seven(outputs=[{"name": n}]), "unexpected inference output '{}' for model 'mnist_mlp'"),
    "parameter": (lambda n: seven(parameters={n: 1}), None),
    "parameter_value": (lambda n: seven(parameters={"p": n}), None),
    "parameter_of_no_type": (lambda n: seven(parameters={n: None}), "parameter '{}' has invalid type."),
    "input_parameter": (lambda n: seven_input(parameters={n: 1}), None),
    "member": (lambda n: seven(**{n: 1}), None),
    "id": (lambda n: seven(id=n), None),
    "id_of_a_refusal": (lambda n: json.dumps({"id": n, "inputs": []}).encode(), "[request id: {}] expected 1 inputs but got 0 inputs"),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", NAMED)
def test_names(besieged: Nereid, place: str, name: str) -> None:
    body, text = NAMED[place]
    answer = post(besieged, INFER, body(NAMES[name]))
    if text is None:
        is_seven(answer)
        assert place != "id" or answer.json()["id"] == NAMES[name]
    else:
        refused(answer, 400, text.format(NAMES[name]))


@pytest.mark.parametrize("name", NAMES)
def test_names_of_regions(besieged: Nereid, name: str) -> None:
    region = {"shared_memory_region": NAMES[name], "shared_memory_byte_size": 3136}
    for body in (seven_input(parameters=region, data=None).replace(b'"data": null, ', b""), seven(outputs=[{"name": "output", "parameters": region}])):
        answer = post(besieged, INFER, body)
        assert answer.status >= 400 and answer.error(), answer.body[:300]


@pytest.mark.parametrize("name", NAMES)
def test_names_in_paths(besieged: Nereid, name: str) -> None:
    quoted = urllib.parse.quote(NAMES[name], safe="")
    for method, path in (
        ("POST", f"/v2/models/{quoted}/infer"),
        ("POST", f"/v2/models/mnist_mlp/versions/{quoted}/infer"),
        ("GET", f"/v2/models/{quoted}"),
        ("GET", f"/v2/models/{quoted}/config"),
        ("GET", f"/v2/models/{quoted}/stats"),
        ("GET", f"/v2/models/{quoted}/ready"),
        ("POST", f"/v2/repository/models/{quoted}/load"),
        ("POST", f"/v2/systemsharedmemory/region/{quoted}/register"),
    ):
        with bounded(besieged, len(path)):
            answer = besieged.request(method, path, seven() if method == "POST" else b"")
        assert 400 <= answer.status < 600, (path[:100], answer.status, answer.body[:300])
    honest.over_http(besieged)


def test_a_path_of_60_kilobytes(besieged: Nereid) -> None:
    refused(post(besieged, f"/v2/models/{'m' * 60_000}/infer", seven()), 404, "Request for unknown model: 'mmmm")


def test_a_long_id_comes_back(besieged: Nereid) -> None:
    answer = post(besieged, INFER, seven(id="i" * 30 * MILLION))
    is_seven(answer)
    assert len(answer.json()["id"]) == 30 * MILLION


@pytest.mark.parametrize("field", ["timeout", "priority", "sequence_id"])
@pytest.mark.parametrize("value", [0, 1, 2**31, 2**32, 2**63 - 1, 2**63, 2**64 - 1])
def test_ends_of_ranges(besieged: Nereid, field: str, value: int) -> None:
    is_seven(post(besieged, INFER, seven(parameters={field: value})))


@pytest.mark.parametrize("field", ["timeout", "priority", "sequence_id"])
@pytest.mark.parametrize("value", [-1, 2**64, 10**40, 0.5, True, None, [], {}])
def test_beyond_ends_of_ranges(besieged: Nereid, field: str, value: object) -> None:
    refused(post(besieged, INFER, seven(parameters={field: value})), 500, f"Unable to parse '{field}'")


def test_long_sequence_ids(besieged: Nereid) -> None:
    is_seven(post(besieged, INFER, seven(parameters={"sequence_id": "s" * 128})))
    refused(post(besieged, INFER, seven(parameters={"sequence_id": "s" * 129})), 501, "string correlation ID cannot be longer than 128 characters")


@pytest.fixture(scope="module")
def narrow(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    """A server with a limit of 1 MiB."""
    flags = ["--http-max-input-size=1048576"]
    with serving(repository, tmp_path_factory.mktemp("narrow") / "log", *flags) as process:
        yield process


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


BROKEN = "failed to decompress the request body"
TOO_LONG = "Decompressed data size exceeds the maximum allowed value of 1048576 bytes. Use --http-max-input-size to increase the limit."
# The encoding, the body, and what the refusal says; `None` is no refusal.
COMPRESSED: dict[str, tuple[str, Callable[[], bytes], str | None]] = {
    "gzip_bomb": ("gzip", lambda: gzip.compress(bytes(1 << 26)), TOO_LONG),
    "deflate_bomb": ("deflate", lambda: zlib.compress(bytes(1 << 26)), TOO_LONG),
    "gzip_bomb_in_a_bomb": ("gzip", lambda: gzip.compress(gzip.compress(bytes(1 << 26))), None),
    "bomb_of_many_members": ("gzip", lambda: gzip.compress(bytes(1 << 16)) * 1000, TOO_LONG),
    "one_byte_too_long": ("gzip", lambda: gzip.compress(bytes((1 << 20) + 1)), TOO_LONG),
    "members_of_a_byte": ("gzip", lambda: b"".join(gzip.compress(bytes([b])) for b in seven()), None),
    "trailing_garbage": ("gzip", lambda: gzip.compress(seven()) + b"garbage", BROKEN),
    "trailing_zeros": ("gzip", lambda: gzip.compress(seven()) + bytes(512), BROKEN),
    "trailing_behind_deflate": ("deflate", lambda: zlib.compress(seven()) + b"garbage", BROKEN),
    "truncated": ("gzip", lambda: gzip.compress(seven())[:-9], BROKEN),
    "truncated_in_its_header": ("gzip", lambda: gzip.compress(seven())[:5], BROKEN),
    "truncated_in_its_checksum": ("gzip", lambda: gzip.compress(seven())[:-1], BROKEN),
    "deflate_truncated": ("deflate", lambda: zlib.compress(seven())[:-9], BROKEN),
    "wrong_checksum": ("gzip", lambda: gzip.compress(seven())[:-8] + bytes(8), BROKEN),
    "deflate_without_its_header": ("deflate", lambda: raw_deflate(seven()), BROKEN),
    "gzip_called_deflate": ("deflate", lambda: gzip.compress(seven()), BROKEN),
    "header_with_a_name_of_a_megabyte": ("gzip", lambda: b"\x1f\x8b\x08\x08\0\0\0\0\0\xff" + b"n" * MILLION, BROKEN),
    "nothing": ("gzip", lambda: b"", None),
}


@pytest.mark.parametrize("name", COMPRESSED)
def test_compressed_bodies(narrow: Nereid, name: str) -> None:
    encoding, body, text = COMPRESSED[name]
    answer = post(narrow, INFER, body(), ("Content-Encoding", encoding))
    if name == "members_of_a_byte":
        is_seven(answer)
    else:
        assert answer.status in (400, 500) and (text or "") in answer.error(), answer.body[:300]


def test_a_million_empty_members(besieged: Nereid) -> None:
    body = gzip.compress(b"") * MILLION + gzip.compress(seven())
    is_seven(post(besieged, INFER, body, ("Content-Encoding", "gzip")))


def test_the_limit_holds_for_every_kind_of_body(narrow: Nereid) -> None:
    flag = "Use --http-max-input-size to increase the limit."
    size = 1 << 20
    refused(post(narrow, INFER, seven(x="x" * size)), 400, f"exceeds the maximum allowed input size of {size} bytes. {flag}")
    refused(post(narrow, INFER, bytes(size + 1), (HEADER_LENGTH, "0")), 400, f"exceeds the maximum allowed value of {size} bytes. {flag}")
    data = b"[" + b"0," * (size // 8) + b"0]"
    refused(post(narrow, identity("FP64"), tensor("FP64", [1, size // 8 + 1], data)), 400, f"exceeds the maximum allowed value of {size} bytes. {flag}")
    answer = post(narrow, identity("UINT8"), *binary("UINT8", [1, 2 * size], bytes(2 * size)))
    assert answer.status == 200, "binary tensors behind JSON are not bounded, as in Triton"
