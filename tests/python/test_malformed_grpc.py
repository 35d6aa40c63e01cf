"""Malformed gRPC requests: each gets its status and text, and the next honest request is answered."""

from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

import honest
from nereid_process import Nereid

Request = service_pb2.ModelInferRequest
NO_ID = "[request id: <id_unknown>] "
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def channel(server: Nereid) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


def raw(data: bytes) -> Callable[[Request], object]:
    return lambda r: r.raw_input_contents.__setitem__(0, data)


def shape(*dims: int) -> Callable[[Request], object]:
    return lambda r: r.inputs[0].shape.__setitem__(slice(None), dims)


def typed_int(r: Request) -> None:
    del r.raw_input_contents[:]
    r.inputs[0].contents.int_contents.extend([1] * 784)


def text_parameter(r: Request) -> None:
    r.outputs.add(name="output").parameters["classification"].string_param = "3"


# name: (change, status, text that the details hold)
CASES: dict[str, tuple[Callable[[Request], object], grpc.StatusCode, str]] = {
    "unknown_model": (lambda r: setattr(r, "model_name", "absent"), grpc.StatusCode.NOT_FOUND, "Request for unknown model: 'absent' is not found"),
    "no_model": (lambda r: r.ClearField("model_name"), grpc.StatusCode.NOT_FOUND, "Request for unknown model: '' is not found"),
    "unknown_version": (lambda r: setattr(r, "model_version", "9"), grpc.StatusCode.NOT_FOUND, "'mnist_mlp' version 9 is not found"),
    "version_is_text": (lambda r: setattr(r, "model_version", "abc"), INVALID, "failed to get model version from specified version string 'abc' (details: stol), version should be an integral value > 0"),
    "no_inputs": (lambda r: (r.ClearField("inputs"), r.ClearField("raw_input_contents")), INVALID, f"{NO_ID}expected 1 inputs but got 0 inputs for model 'mnist_mlp'"),
    "unknown_input": (lambda r: setattr(r.inputs[0], "name", "nope"), INVALID, "unexpected inference input 'nope' for model 'mnist_mlp'"),
    "unknown_output": (lambda r: r.outputs.add(name="nope"), INVALID, "unexpected inference output 'nope' for model 'mnist_mlp'"),
    "wrong_datatype": (lambda r: setattr(r.inputs[0], "datatype", "INT32"), INVALID, f"{NO_ID}inference input 'input' data-type is 'INT32', but model 'mnist_mlp' expects 'FP32'"),
    "wrong_shape": (shape(1, 28, 28), INVALID, f"{NO_ID}unexpected shape for input 'input' for model 'mnist_mlp'. Expected [-1,1,28,28], got [1,28,28]"),
    "no_shape": (shape(), INVALID, f"{NO_ID}input 'input' has no shape but model requires batch dimension for 'mnist_mlp'"),
    "negative_batch": (shape(-1, 1, 28, 28), INVALID, ""),
    "shape_overflows": (shape(2**62, 2**62, 2, 2), INVALID, ""),
    "batch_too_large": (shape(9, 1, 28, 28), INVALID, f"{NO_ID}inference request batch-size must be <= 8 for 'mnist_mlp'"),
    "no_data": (lambda r: r.ClearField("raw_input_contents"), INVALID, "unable to find data for input tensor 'input' for model 'mnist_mlp' in request."),
    "too_short": (raw(bytes(3132)), INVALID, f"{NO_ID}input byte size mismatch for input 'input' for model 'mnist_mlp'. Expected 3136, got 3132"),
    "too_long": (raw(bytes(3140)), INVALID, f"{NO_ID}input byte size mismatch for input 'input' for model 'mnist_mlp'. Expected 3136, got 3140"),
    "empty": (raw(b""), INVALID, f"{NO_ID}input byte size mismatch for input 'input' for model 'mnist_mlp'. Expected 3136, got 0"),
    "raw_and_typed": (lambda r: r.inputs[0].contents.fp32_contents.append(1), INVALID, "contents field must not be specified when using raw_input_contents for 'input' for model 'mnist_mlp'"),
    "typed_of_another_type": (typed_int, INVALID, "unexpected explicit tensor data for input tensor 'input' for model 'mnist_mlp' of type 'INT32', expected datatype 'FP32'"),
    "duplicate_input": (lambda r: (r.inputs.add().CopyFrom(r.inputs[0]), r.raw_input_contents.append(bytes(3136))), INVALID, f"{NO_ID}input 'input' already exists in request"),
    "classification_is_text": (text_parameter, INVALID, "invalid value type for 'classification' parameter, expected int64_param"),
}


@pytest.mark.parametrize("name", CASES)
def test_malformed(channel: grpc.Channel, name: str) -> None:
    change, status, details = CASES[name]
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    request = honest.message()
    change(request)
    with pytest.raises(grpc.RpcError) as error:
        stub.ModelInfer(request, timeout=30)
    assert error.value.code() == status, error.value
    assert error.value.details() and details in error.value.details()
    honest.over_stub(stub)


def test_the_request_id_is_in_the_message(channel: grpc.Channel) -> None:
    request = honest.message()
    request.id = "my id"
    raw(b"")(request)
    with pytest.raises(grpc.RpcError) as error:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
    assert error.value.details().startswith("[request id: my id] input byte size mismatch")


@pytest.mark.parametrize("message", [b"\xff" * 64, b"\x2a\xff\xff\xff\xff\x07", b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f"])
def test_bytes_that_are_no_message(channel: grpc.Channel, message: bytes) -> None:
    call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
    with pytest.raises(grpc.RpcError) as error:
        call(message, timeout=30)
    assert error.value.code() in (grpc.StatusCode.INTERNAL, INVALID), error.value
    honest.over_stub(service_pb2_grpc.GRPCInferenceServiceStub(channel))


def test_an_unknown_method(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as error:
        channel.unary_unary("/inference.GRPCInferenceService/Nope")(b"", timeout=30)
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    honest.over_stub(service_pb2_grpc.GRPCInferenceServiceStub(channel))


def test_a_large_message_is_taken(server: Nereid) -> None:
    """gRPC's usual limit is 4 MiB; Triton's is 2 GiB, and the tensors of real models need it."""
    request = Request(model_name="identity_fp32")
    value = np.arange(3_000_000, dtype=np.float32)
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, value.size])
    request.raw_input_contents.append(value.tobytes())
    with grpc.insecure_channel(server.grpc, options=[("grpc.max_receive_message_length", -1)]) as large:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(large).ModelInfer(request, timeout=60)
    assert answer.raw_output_contents[0] == value.tobytes()
