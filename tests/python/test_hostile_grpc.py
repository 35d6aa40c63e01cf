"""Requests over gRPC at and beyond every limit: each is answered, costs no more than it sent, and disturbs nobody.

What is merely malformed is in test_malformed_grpc.py.
"""

import functools
from collections.abc import Callable, Iterator

import grpc
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

import honest
from footprint import PER_BYTE, bounded
from hostile import DEEP, MANY, MILLION, NAMES
from nereid_process import Nereid

Request = service_pb2.ModelInferRequest
Response = service_pb2.ModelInferResponse
Change = Callable[[Request], object]
OK = grpc.StatusCode.OK
INVALID = grpc.StatusCode.INVALID_ARGUMENT
NOT_FOUND = grpc.StatusCode.NOT_FOUND
LONGEST_DETAILS = 7 << 10


class Caller:
    """Sends messages and sees to it that nothing but the answer comes of them."""

    def __init__(self, server: Nereid, channel: grpc.Channel) -> None:
        self.server, self.channel = server, channel
        self.stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)

    def call(self, message: bytes, rpc: str = "ModelInfer", per_byte: int = PER_BYTE) -> tuple[grpc.StatusCode, str, bytes]:
        call = self.channel.unary_unary(f"/inference.GRPCInferenceService/{rpc}")
        with bounded(self.server, len(message), per_byte):
            try:
                outcome = OK, "", call(message, timeout=60)
            except grpc.RpcError as error:
                outcome = error.code(), error.details(), b""
        honest.over_stub(self.stub)
        return outcome

    def infer(self, request: Request, per_byte: int = PER_BYTE) -> tuple[grpc.StatusCode, str, Response]:
        status, details, answer = self.call(request.SerializeToString(), per_byte=per_byte)
        return status, details, Response.FromString(answer)


@pytest.fixture
def caller(besieged: Nereid) -> Iterator[Caller]:
    unlimited = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(besieged.grpc, options=unlimited) as channel:
        yield Caller(besieged, channel)


def seven(change: Change) -> Request:
    request = honest.message()
    change(request)
    return request


def tensor(datatype: str, shape: list[int], data: bytes = b"") -> Request:
    request = Request(model_name=f"identity_{datatype.lower()}")
    request.inputs.add(name="INPUT0", datatype=datatype, shape=shape)
    request.raw_input_contents.append(data)
    return request


def typed(datatype: str, shape: list[int], **contents: list) -> Request:
    request = tensor(datatype, shape)
    del request.raw_input_contents[:]
    for field, values in contents.items():
        getattr(request.inputs[0].contents, field).extend(values)
    return request


def refused(outcome: tuple[grpc.StatusCode, str, object], status: grpc.StatusCode, text: str) -> None:
    assert outcome[0] == status and text in outcome[1], (outcome[0], outcome[1][:300])


# Shape and number of elements sent, and what the refusal says; the model takes FP32 of any `[N, M]`.
SHAPES = {
    "product_of_2^63": ([2**31, 2**32], 1, ""),
    "product_of_2^64+": ([2**33, 2**33], 1, ""),
    "bytes_of_2^64": ([2**31, 2**31], 1, ""),
    "batch_of_2^32+1": ([2**32 + 1, 1], 1, "inference request batch-size must be <= "),
    "batch_of_2^63-1": ([2**63 - 1, 1], 1, "inference request batch-size must be <= "),
    "batch_of_-2^63": ([-(2**63), 1], 1, ""),
    "claims_a_billion": ([1, 10**9], 1, "Expected 4000000000, got 4"),
    "claims_2^62": ([1, 2**62], 1, ""),
    "dimension_of_-1": ([1, -1], 1, "All input dimensions should be specified"),
    "dimension_of_-2^63": ([1, -(2**63)], 1, ""),
    "65536_dimensions": ([1] * 65_536, 1, "unexpected shape for input 'INPUT0' for model 'identity_fp32'. Expected [-1,-1], got [1,1,1"),
    "million_dimensions": ([1] * MILLION, 1, "unexpected shape"),
    "zero_and_huge": ([1, 0, 2**62, 2**62], 0, "unexpected shape"),
    "no_rows": ([0, 1], 0, ""),
    "nothing": ([0, 0], 0, ""),
    "nothing_but_data": ([1, 0], 1, "Expected 0, got 4"),
    "something_without_data": ([1, 1], 0, "Expected 4, got 0"),
}


@pytest.mark.parametrize("contents", ["raw", "typed"])
@pytest.mark.parametrize("name", SHAPES)
def test_shapes(caller: Caller, name: str, contents: str) -> None:
    shape, count, text = SHAPES[name]
    request = tensor("FP32", shape, bytes(4 * count)) if contents == "raw" else typed("FP32", shape, fp32_contents=[0.0] * count)
    if contents == "typed" and count == 0:
        text = ""  # contents of nothing are no contents
    refused(caller.infer(request), INVALID, text)


def test_a_tensor_without_elements(caller: Caller) -> None:
    status, _, answer = caller.infer(tensor("FP32", [1, 0]))
    assert status == OK and list(answer.outputs[0].shape) == [1, 0] and answer.raw_output_contents == [b""]


def with_classes(request: Request, k: int) -> Request:
    request.outputs.add(name="OUTPUT0").parameters["classification"].int64_param = k
    return request


def test_classes(caller: Caller) -> None:
    status, _, answer = caller.infer(with_classes(tensor("FP32", [1, 0]), 2**63 - 1))
    assert status == OK and list(answer.outputs[0].shape) == [1, 0] and answer.raw_output_contents == [b""]
    status, _, answer = caller.infer(with_classes(tensor("UINT8", [1, 2], b"\1\2"), 2**63 - 1))
    assert status == OK and answer.raw_output_contents == [b"\3\0\0\0002:1\3\0\0\0001:0"]
    huge = with_classes(tensor("UINT8", [1, MILLION + 1], bytes(MILLION + 1)), 1)
    refused(caller.infer(huge), INVALID, "classification output tensor too large")
    strings = with_classes(tensor("BYTES", [1, 1], bytes(4)), 1)
    refused(caller.infer(strings), INVALID, "class result not available for output due to unsupported type 'BYTES'")
    for k in (0, -1, -(2**63)):
        refused(caller.infer(with_classes(tensor("UINT8", [1, 1], b"\1"), k)), INVALID, "invalid value for 'classification' parameter, expected >= 0")


def many_outputs(names: list[str]) -> Change:
    return lambda r: r.outputs.extend(Request.InferRequestedOutputTensor(name=n) for n in names)


def many_inputs(names: list[str], raw: bool) -> Change:
    def change(request: Request) -> None:
        request.inputs.extend(Request.InferInputTensor(name=n, datatype="FP32", shape=[1]) for n in names)
        if raw:
            request.raw_input_contents.extend([b"\0\0\0\0"] * len(names))
        else:
            del request.raw_input_contents[:]
            for tensor in request.inputs:
                tensor.contents.fp32_contents.append(0)

    return change


def many_parameters(request: Request) -> None:
    for i in range(MANY):
        request.parameters[f"p{i}"].int64_param = i


TOO_MANY = "a message of more than 262144 fields is not read"
NUMBERED = [f"n{i}" for i in range(MANY)]
# The request, its status, and what the refusal says.
LISTS: dict[str, tuple[Callable[[], bytes], grpc.StatusCode, str]] = {
    "same_outputs": (lambda: seven(many_outputs(["output"] * MANY)).SerializeToString(), INVALID, "output 'output' already exists in request"),
    "unknown_outputs": (lambda: seven(many_outputs(NUMBERED)).SerializeToString(), INVALID, "unexpected inference output 'n0' for model 'mnist_mlp'"),
    "known_output_last": (lambda: seven(many_outputs([*NUMBERED, "output"])).SerializeToString(), INVALID, "unexpected inference output 'n0'"),
    "typed_inputs": (lambda: seven(many_inputs(NUMBERED, raw=False)).SerializeToString(), INVALID, f"expected 1 inputs but got {MANY + 1} inputs"),
    "raw_inputs": (lambda: seven(many_inputs(NUMBERED[: MANY // 2], raw=True)).SerializeToString(), INVALID, f"expected 1 inputs but got {MANY // 2 + 1} inputs"),
    "raw_inputs_too_many": (lambda: seven(many_inputs(NUMBERED, raw=True)).SerializeToString(), INVALID, TOO_MANY),
    "inputs_without_data": (lambda: b"\x0a\x09mnist_mlp" + b"\x2a\0" * MANY, INVALID, "unexpected inference input '' for model 'mnist_mlp'"),
    "parameters": (lambda: seven(many_parameters).SerializeToString(), OK, ""),
    "empty_inputs": (lambda: b"\x2a\0" * 4 * MILLION, INVALID, TOO_MANY),
    "empty_outputs": (lambda: b"\x32\0" * 4 * MILLION, INVALID, TOO_MANY),
    "empty_raw_contents": (lambda: b"\x3a\0" * 4 * MILLION, INVALID, TOO_MANY),
    "empty_parameters": (lambda: b"\x22\0" * 4 * MILLION, INVALID, TOO_MANY),
    "model_names": (lambda: b"\x0a\1m" * 4 * MILLION, INVALID, TOO_MANY),
    "unknown_fields": (lambda: b"\x78\1" * 4 * MILLION, INVALID, TOO_MANY),
    "inputs_behind_a_group": (lambda: b"\x7b\x7c" + b"\x2a\0" * 4 * MILLION, INVALID, TOO_MANY),
    "nested_groups": (lambda: b"\x7b" * DEEP + b"\x7c" * DEEP, grpc.StatusCode.INTERNAL, ""),
}


@pytest.mark.parametrize("name", LISTS)
def test_lists(caller: Caller, name: str) -> None:
    message, status, text = LISTS[name]
    outcome = caller.call(message())
    if name == "nested_groups":
        assert outcome[0] in (INVALID, grpc.StatusCode.INTERNAL, NOT_FOUND), outcome
    else:
        refused(outcome, status, text)


def test_many_empty_strings(caller: Caller) -> None:
    for request in (
        typed("BYTES", [1, MILLION], bytes_contents=[b""] * MILLION),
        tensor("BYTES", [1, MILLION], bytes(4 * MILLION)),
    ):
        # An empty string has 2 bytes on the wire and 32 in the tensor of a library, and buffers grow.
        status, details, answer = caller.infer(request, per_byte=64)
        assert status == OK and answer.raw_output_contents == [bytes(4 * MILLION)], details
    refused(caller.infer(tensor("BYTES", [1, 2**40], bytes(4 * MILLION))), INVALID, f"expected {2**40} string elements")


@pytest.mark.parametrize("length", [2**32 - 1, 2**32 - 4, 2**32 - 8, 2**31, 2**31 - 1])
def test_lengths_of_strings_that_wrap(caller: Caller, length: int) -> None:
    data = length.to_bytes(4, "little") + b"abcd" + bytes(8)
    refused(caller.infer(tensor("BYTES", [1, 1], data)), INVALID, f"expecting string of length {length} but only 12 bytes available")


def parameter(name: str, kind: str, value: object) -> Change:
    return lambda r: setattr(r.parameters[name], kind, value)


def input_parameter(name: str) -> Change:
    return lambda r: setattr(r.inputs[0].parameters[name], "int64_param", 1)


def anonymous(name: str) -> Request:
    return Request(model_name="mnist_mlp", id=name)


# Where a name stands: the request, its status, and what the refusal says.
NAMED: dict[str, tuple[Callable[[str], Request], grpc.StatusCode, str]] = {
    "model": (lambda n: seven(lambda r: setattr(r, "model_name", n)), NOT_FOUND, "Request for unknown model: '{}' is not found"),
    "version": (lambda n: seven(lambda r: setattr(r, "model_version", n)), INVALID, "failed to get model version from specified version string '{}' (details: stol)"),
    "input": (lambda n: seven(lambda r: setattr(r.inputs[0], "name", n)), INVALID, "unexpected inference input '{}' for model 'mnist_mlp'"),
    "datatype": (lambda n: seven(lambda r: setattr(r.inputs[0], "datatype", n)), INVALID, "data-type is '<invalid>', but model 'mnist_mlp' expects 'FP32'"),
    "output": (lambda n: seven(lambda r: r.outputs.add(name=n)), INVALID, "unexpected inference output '{}' for model 'mnist_mlp'"),
    "parameter": (lambda n: seven(parameter(n, "int64_param", 1)), OK, ""),
    "parameter_value": (lambda n: seven(parameter("p", "string_param", n)), OK, ""),
    "parameter_of_no_type": (lambda n: seven(parameter(n, "uint64_param", 1)), INVALID, "invalid value type for '{}' parameter"),
    "input_parameter": (lambda n: seven(input_parameter(n)), OK, ""),
    "id": (lambda n: seven(lambda r: setattr(r, "id", n)), OK, ""),
    "id_of_a_refusal": (anonymous, INVALID, "[request id: {}] expected 1 inputs but got 0 inputs"),
}


def cut(text: str, details: str) -> str:
    """As much of the text as there is room for."""
    return text if len(text) < 1000 else text[:1000] if details.endswith("...") else f"details that are not cut: {len(details)}"


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("place", NAMED)
def test_names(caller: Caller, place: str, name: str) -> None:
    request, status, text = NAMED[place]
    outcome = caller.infer(request(NAMES[name]))
    refused(outcome, status, cut(text.format(NAMES[name]), outcome[1]))
    assert len(outcome[1]) <= LONGEST_DETAILS
    if place == "id":
        assert outcome[2].id == NAMES[name]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_regions(caller: Caller, name: str) -> None:
    def region(parameters: object) -> None:
        parameters["shared_memory_region"].string_param = NAMES[name]
        parameters["shared_memory_byte_size"].int64_param = 3136

    for change in (lambda r: region(r.inputs[0].parameters), lambda r: region(r.outputs.add(name="output").parameters)):
        outcome = caller.infer(seven(change))
        assert outcome[0] != OK and outcome[1], outcome
    register = service_pb2.SystemSharedMemoryRegisterRequest(name=NAMES[name], key=NAMES[name], byte_size=1)
    outcome = caller.call(register.SerializeToString(), "SystemSharedMemoryRegister")
    assert outcome[0] != OK and outcome[1] and len(outcome[1]) <= LONGEST_DETAILS, outcome


@pytest.mark.parametrize("name", NAMES)
def test_names_elsewhere(caller: Caller, name: str) -> None:
    pb = service_pb2
    for rpc, request in (
        ("ModelReady", pb.ModelReadyRequest(name=NAMES[name])),
        ("ModelMetadata", pb.ModelMetadataRequest(name=NAMES[name])),
        ("ModelConfig", pb.ModelConfigRequest(name="mnist_mlp", version=NAMES[name])),
        ("ModelStatistics", pb.ModelStatisticsRequest(name=NAMES[name])),
        ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(model_name=NAMES[name])),
        ("RepositoryModelLoad", pb.RepositoryModelLoadRequest(repository_name=NAMES[name], model_name="mnist_mlp")),
        ("RepositoryIndex", pb.RepositoryIndexRequest(repository_name=NAMES[name])),
    ):
        status, details, _ = caller.call(request.SerializeToString(), rpc)
        assert status != OK and details, (rpc, status)
        assert "metadata size" not in details and len(details) <= LONGEST_DETAILS, (rpc, details[:200])


def test_a_long_id_comes_back(caller: Caller) -> None:
    status, _, answer = caller.infer(seven(lambda r: setattr(r, "id", "i" * 30 * MILLION)))
    assert status == OK and len(answer.id) == 30 * MILLION


RANGES: dict[str, tuple[str, list[int]]] = {
    "timeout": ("int64_param", [0, 1, 2**31, 2**63 - 1, -1, -(2**63)]),
    "priority": ("int64_param", [0, 1, 2**31, 2**63 - 1]),
    "priority_unsigned": ("uint64_param", [0, 2**63, 2**64 - 1]),
    "sequence_id": ("int64_param", [0, 1, 2**63 - 1, -1, -(2**63)]),
}


@pytest.mark.parametrize("name", RANGES)
def test_ends_of_ranges(caller: Caller, name: str) -> None:
    kind, values = RANGES[name]
    for value in values:
        status, details, _ = caller.infer(seven(parameter(name.removesuffix("_unsigned"), kind, value)))
        assert status == OK, (value, details)


def test_beyond_ends_of_ranges(caller: Caller) -> None:
    refused(caller.infer(seven(parameter("priority", "int64_param", -1))), INVALID, "invalid value for 'priority', expected value >= 0.")
    wrong = functools.partial(refused, status=INVALID)
    wrong(caller.infer(seven(parameter("timeout", "uint64_param", 1))), text="invalid value type for 'timeout' parameter, expected int64_param.")
    wrong(caller.infer(seven(parameter("sequence_id", "string_param", "s" * 129))), text="string correlation ID cannot be longer than 128 characters, got 129")
    wrong(caller.infer(seven(parameter("sequence_id", "string_param", "s" * MILLION))), text=f"got {MILLION}")


def test_hostile_requests_in_a_stream_leave_the_others_alone(caller: Caller) -> None:
    bad = [request(NAMES["long"]) for request, status, _ in NAMED.values() if status != OK]
    requests = [r for b in bad for r in (b, honest.message())]
    with bounded(caller.server, sum(r.ByteSize() for r in requests)):
        answers = list(caller.stub.ModelStreamInfer(iter(requests), timeout=60))
    assert [bool(a.error_message) for a in answers] == [True, False] * len(bad)
    assert all(len(a.error_message) > 50 for a in answers[::2])
