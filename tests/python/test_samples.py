"""The committed model gets the sample digits right, over HTTP as curl sends them and over gRPC."""

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

import digits
from nereid_process import Nereid


@pytest.mark.parametrize("digit", range(10), ids=digits.NAMES)
def test_a_ready_made_body_is_answered_with_its_digit(server: Nereid, expected: np.ndarray, digit: int) -> None:
    answer = server.post("/v2/models/mnist_mlp/infer", digits.body(digits.NAMES[digit]))
    assert answer.status == 200, answer.body
    (output,) = answer.json()["outputs"]
    assert (output["name"], output["datatype"], output["shape"]) == ("output", "FP32", [1, 10])
    assert int(np.argmax(output["data"])) == digit
    np.testing.assert_allclose(output["data"], expected[digit], rtol=0.02, atol=0.05)  # the body has 3 decimals


def test_the_request_body_and_the_png_are_the_same_picture() -> None:
    for name in digits.NAMES:
        (tensor,) = digits.request(name)["inputs"]
        assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("input", "FP32", [1, 1, 28, 28])
        np.testing.assert_allclose(np.reshape(tensor["data"], (1, 28, 28)), digits.image(name), atol=5.1e-4)


def test_a_batch_of_pngs_over_grpc(server: Nereid, expected: np.ndarray) -> None:
    images = digits.images()[:8]
    tensor = grpcclient.InferInput("input", list(images.shape), "FP32")
    tensor.set_data_from_numpy(images)
    with grpcclient.InferenceServerClient(server.grpc) as client:
        logits = client.infer("mnist_mlp", [tensor]).as_numpy("output")
    assert logits.argmax(1).tolist() == list(range(8))
    np.testing.assert_allclose(logits, expected[:8], rtol=1e-4, atol=1e-4)
