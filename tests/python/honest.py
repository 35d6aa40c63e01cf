"""An honest request, sent between those that are not: whatever came before, it is answered right."""

import json

import numpy as np
import tritonclient.grpc as grpcclient
from tritonclient.grpc import service_pb2, service_pb2_grpc

import digits
from nereid_process import Nereid

INFER = "/v2/models/mnist_mlp/infer"


def outputs(answer: bytes) -> list[float]:
    """The logits of a JSON answer."""
    return json.loads(answer)["outputs"][0]["data"]


def over_http(server: Nereid) -> None:
    assert server.alive(), server.log()
    answer = server.post(INFER, digits.body("seven"))
    assert answer.status == 200 and int(np.argmax(answer.json()["outputs"][0]["data"])) == 7, answer.body


def tensors() -> list[grpcclient.InferInput]:
    tensor = grpcclient.InferInput("input", [1, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(digits.image("seven")[None])
    return [tensor]


def is_seven(result: grpcclient.InferResult) -> bool:
    return int(result.as_numpy("output").argmax()) == 7


def over_grpc(server: Nereid) -> None:
    assert server.alive()
    with grpcclient.InferenceServerClient(server.grpc) as client:
        assert is_seven(client.infer("mnist_mlp", tensors(), client_timeout=20))


def message() -> service_pb2.ModelInferRequest:
    """The request itself, to be changed."""
    request = service_pb2.ModelInferRequest(model_name="mnist_mlp")
    request.inputs.add(name="input", datatype="FP32", shape=[1, 1, 28, 28])
    request.raw_input_contents.append(digits.image("seven").tobytes())
    return request


def over_stub(stub: service_pb2_grpc.GRPCInferenceServiceStub) -> None:
    """Over the connection that the others came by."""
    answer = stub.ModelInfer(message(), timeout=30)
    assert np.frombuffer(answer.raw_output_contents[0], np.float32).argmax() == 7
