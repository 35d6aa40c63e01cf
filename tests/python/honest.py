"""An honest request, sent between those that are not: whatever came before, it is answered right."""

import numpy as np
import tritonclient.grpc as grpcclient

import digits
from nereid_process import Nereid


def over_http(server: Nereid) -> None:
    assert server.alive()
    answer = server.post("/v2/models/mnist_mlp/infer", digits.body("seven"))
    assert answer.status == 200 and int(np.argmax(answer.json()["outputs"][0]["data"])) == 7


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
