"""tritonclient's synchronous gRPC client, the health and the reflection service."""

import queue
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from google.protobuf.descriptor_pool import DescriptorPool
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

import digits
from nereid_process import Nereid


@pytest.fixture
def client(server: Nereid) -> Iterator[grpcclient.InferenceServerClient]:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        yield client


@pytest.fixture
def channel(server: Nereid) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(server.grpc) as channel:
        yield channel


def digit_input(name: str) -> grpcclient.InferInput:
    tensor = grpcclient.InferInput("input", [1, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(digits.image(name)[None])
    return tensor


def test_health(client: grpcclient.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mnist_mlp")
    assert client.is_model_ready("mnist_mlp", "1")
    with pytest.raises(InferenceServerException, match="Request for unknown model: 'absent' is not found"):
        client.is_model_ready("absent")  # over HTTP the client turns the error into False


def test_server_metadata(client: grpcclient.InferenceServerClient) -> None:
    metadata = client.get_server_metadata()
    assert metadata.name == "triton"
    assert {"classification", "binary_tensor_data", "statistics"} <= set(metadata.extensions)


def test_model_metadata(client: grpcclient.InferenceServerClient) -> None:
    metadata = client.get_model_metadata("mnist_mlp")
    assert (metadata.name, list(metadata.versions), metadata.platform) == ("mnist_mlp", ["1"], "onnxruntime_onnx")
    assert [(i.name, i.datatype, list(i.shape)) for i in metadata.inputs] == [("input", "FP32", [-1, 1, 28, 28])]
    assert [(o.name, o.datatype, list(o.shape)) for o in metadata.outputs] == [("output", "FP32", [-1, 10])]


def test_model_config(client: grpcclient.InferenceServerClient) -> None:
    config = client.get_model_config("mnist_mlp").config
    assert (config.platform, config.backend, config.max_batch_size) == ("onnxruntime_onnx", "onnxruntime", 8)
    assert list(config.input[0].dims) == [1, 28, 28]
    assert list(config.dynamic_batching.preferred_batch_size) == [8]


def test_repository_index(client: grpcclient.InferenceServerClient) -> None:
    states = {m.name: m.state for m in client.get_model_repository_index().models}
    assert states["mnist_mlp"] == "READY"


def test_statistics_count_what_was_sent(client: grpcclient.InferenceServerClient) -> None:
    def stats() -> service_pb2.ModelStatistics:
        (entry,) = client.get_inference_statistics("add_sub").model_stats
        return entry

    inputs = [grpcclient.InferInput(name, [2, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for tensor in inputs:
        tensor.set_data_from_numpy(np.ones((2, 16), np.int32))
    before = stats()
    for _ in range(2):
        client.infer("add_sub", inputs)
    after = stats()
    assert after.inference_count - before.inference_count == 4
    assert after.execution_count - before.execution_count == 2
    assert after.inference_stats.success.count - before.inference_stats.success.count == 2
    batches = {b.batch_size: b.compute_infer.count for b in after.batch_stats}
    assert batches[2] - {b.batch_size: b.compute_infer.count for b in before.batch_stats}.get(2, 0) == 2


def test_infer(client: grpcclient.InferenceServerClient, expected: np.ndarray) -> None:
    result = client.infer("mnist_mlp", [digit_input("five")], request_id="the id", model_version="1")
    np.testing.assert_allclose(result.as_numpy("output"), expected[5:6], rtol=1e-4, atol=1e-4)
    response = result.get_response()
    assert (response.id, response.model_name, response.model_version) == ("the id", "mnist_mlp", "1")
    assert len(response.raw_output_contents) == len(response.outputs) == 1
    assert not response.outputs[0].HasField("contents")


def test_infer_with_typed_contents(channel: grpc.Channel, expected: np.ndarray) -> None:
    stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
    request = service_pb2.ModelInferRequest(model_name="mnist_mlp")
    tensor = request.inputs.add(name="input", datatype="FP32", shape=[1, 1, 28, 28])
    tensor.contents.fp32_contents.extend(digits.image("six").ravel())
    response = stub.ModelInfer(request)
    logits = np.frombuffer(response.raw_output_contents[0], np.float32)
    np.testing.assert_allclose(logits, expected[6], rtol=1e-4, atol=1e-4)


def test_async_infer_calls_back(client: grpcclient.InferenceServerClient, expected: np.ndarray) -> None:
    answers: queue.Queue[tuple[grpcclient.InferResult, InferenceServerException | None]] = queue.Queue()
    for number, name in enumerate(digits.NAMES):
        client.async_infer("mnist_mlp", [digit_input(name)], lambda result, error: answers.put((result, error)), request_id=str(number))
    for _ in digits.NAMES:
        result, error = answers.get(timeout=30)
        assert error is None
        digit = int(result.get_response().id)
        np.testing.assert_allclose(result.as_numpy("output"), expected[digit : digit + 1], rtol=1e-4, atol=1e-4)


def test_classification_names_the_labels(client: grpcclient.InferenceServerClient) -> None:
    output = grpcclient.InferRequestedOutput("output", class_count=2)
    classes = client.infer("mnist_mlp", [digit_input("nine")], outputs=[output]).as_numpy("output")
    assert classes.shape == (1, 2)
    assert classes[0][0].decode().endswith(":9:nine")


def test_errors_have_their_status(client: grpcclient.InferenceServerClient) -> None:
    cases = [
        ("absent", "", "StatusCode.NOT_FOUND", "Request for unknown model: 'absent' is not found"),
        ("mnist_mlp", "9", "StatusCode.NOT_FOUND", "Request for unknown model: 'mnist_mlp' version 9 is not found"),
        ("mnist_mlp", "x", "StatusCode.INVALID_ARGUMENT", "failed to get model version from specified version string 'x'"),
        ("mnist_mlp", "-1", "StatusCode.INVALID_ARGUMENT", "invalid model version specified '-1'"),
    ]
    for model, version, status, message in cases:
        with pytest.raises(InferenceServerException) as error:
            client.infer(model, [digit_input("one")], model_version=version)
        assert error.value.status() == status, model
        assert message in error.value.message()


def test_health_service(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    answer = stub.Check(health_pb2.HealthCheckRequest(service=""))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_describes_the_service(channel: grpc.Channel) -> None:
    database = ProtoReflectionDescriptorDatabase(channel)
    assert "inference.GRPCInferenceService" in database.get_services()
    service = DescriptorPool(database).FindServiceByName("inference.GRPCInferenceService")
    assert {"ModelInfer", "ModelStreamInfer", "ServerLive"} <= {method.name for method in service.methods}
    request = service.methods_by_name["ModelInfer"].input_type
    assert request.fields_by_name["raw_input_contents"].number == service_pb2.ModelInferRequest.DESCRIPTOR.fields_by_name["raw_input_contents"].number
