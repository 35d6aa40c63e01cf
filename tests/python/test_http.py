"""tritonclient's synchronous HTTP client: everything that a user of it calls."""

from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

import digits
from nereid_process import Nereid


@pytest.fixture
def client(server: Nereid) -> Iterator[httpclient.InferenceServerClient]:
    with httpclient.InferenceServerClient(server.http) as client:
        yield client


def digit_input(name: str, binary: bool) -> httpclient.InferInput:
    tensor = httpclient.InferInput("input", [1, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(digits.image(name)[None], binary_data=binary)
    return tensor


def test_health(client: httpclient.InferenceServerClient) -> None:
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("mnist_mlp")
    assert client.is_model_ready("mnist_mlp", "1")
    assert not client.is_model_ready("mnist_mlp", "2")
    assert not client.is_model_ready("absent")


def test_server_metadata(client: httpclient.InferenceServerClient) -> None:
    metadata = client.get_server_metadata()
    assert metadata["name"] == "triton"
    assert metadata["version"]
    for extension in ("classification", "binary_tensor_data", "model_configuration", "statistics"):
        assert extension in metadata["extensions"]


def test_model_metadata(client: httpclient.InferenceServerClient) -> None:
    assert client.get_model_metadata("mnist_mlp") == {
        "name": "mnist_mlp",
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "input", "datatype": "FP32", "shape": [-1, 1, 28, 28]}],
        "outputs": [{"name": "output", "datatype": "FP32", "shape": [-1, 10]}],
    }
    with pytest.raises(InferenceServerException, match="Request for unknown model: 'absent' is not found"):
        client.get_model_metadata("absent")


def test_model_config(client: httpclient.InferenceServerClient) -> None:
    config = client.get_model_config("mnist_mlp")
    assert config["platform"] == "onnxruntime_onnx"
    assert config["backend"] == "onnxruntime"
    assert config["max_batch_size"] == 8
    assert config["version_policy"] == {"latest": {"num_versions": 1}}
    assert config["dynamic_batching"]["preferred_batch_size"] == [8]
    assert config["default_model_filename"] == "model.onnx"
    assert config["input"][0]["dims"] == [1, 28, 28]
    assert config["output"][0]["label_filename"] == "labels.txt"


def test_a_model_without_a_config_is_completed(client: httpclient.InferenceServerClient) -> None:
    config = client.get_model_config("identity_fp32")
    assert (config["backend"], config["max_batch_size"]) == ("onnxruntime", 4)
    assert [(i["name"], i["data_type"], i["dims"]) for i in config["input"]] == [("INPUT0", "TYPE_FP32", [-1])]
    assert [(o["name"], o["data_type"], o["dims"]) for o in config["output"]] == [("OUTPUT0", "TYPE_FP32", [-1])]


def test_repository_index(client: httpclient.InferenceServerClient) -> None:
    index = {entry["name"]: entry for entry in client.get_model_repository_index()}
    assert index["mnist_mlp"] == {"name": "mnist_mlp", "version": "1", "state": "READY"}
    assert {"add_sub", "slow", "identity_bytes"} <= index.keys()


def test_statistics_count_what_was_sent(client: httpclient.InferenceServerClient) -> None:
    def stats() -> dict:
        (entry,) = client.get_inference_statistics("mnist_mlp")["model_stats"]
        return entry

    before = stats()
    for _ in range(3):
        client.infer("mnist_mlp", [digit_input("three", binary=True)])
    after = stats()
    assert (after["name"], after["version"]) == ("mnist_mlp", "1")
    assert after["inference_count"] - before["inference_count"] == 3
    assert after["execution_count"] - before["execution_count"] == 3
    for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        old, new = before["inference_stats"][part], after["inference_stats"][part]
        assert new["count"] - old["count"] == 3, part
    assert after["inference_stats"]["success"]["ns"] > before["inference_stats"]["success"]["ns"]
    assert after["last_inference"] >= before["last_inference"] and after["last_inference"] > 0
    with pytest.raises(InferenceServerException, match="requested model 'absent' is not available"):
        client.get_inference_statistics("absent")


@pytest.mark.parametrize("binary_out", [True, False], ids=["binary_out", "json_out"])
@pytest.mark.parametrize("binary_in", [True, False], ids=["binary_in", "json_in"])
def test_infer(client: httpclient.InferenceServerClient, expected: np.ndarray, binary_in: bool, binary_out: bool) -> None:
    output = httpclient.InferRequestedOutput("output", binary_data=binary_out)
    result = client.infer("mnist_mlp", [digit_input("four", binary_in)], outputs=[output], request_id="the id")
    np.testing.assert_allclose(result.as_numpy("output"), expected[4:5], rtol=1e-4, atol=1e-4)
    response = result.get_response()
    assert (response["id"], response["model_name"], response["model_version"]) == ("the id", "mnist_mlp", "1")


def test_only_requested_outputs_come_back(client: httpclient.InferenceServerClient) -> None:
    a, b = np.arange(16, dtype=np.int32)[None], np.full((1, 16), 3, np.int32)
    inputs = [httpclient.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for tensor, value in zip(inputs, (a, b)):
        tensor.set_data_from_numpy(value)
    both = client.infer("add_sub", inputs)
    np.testing.assert_array_equal(both.as_numpy("OUTPUT0"), a + b)
    np.testing.assert_array_equal(both.as_numpy("OUTPUT1"), a - b)
    one = client.infer("add_sub", inputs, outputs=[httpclient.InferRequestedOutput("OUTPUT1")])
    np.testing.assert_array_equal(one.as_numpy("OUTPUT1"), a - b)
    assert one.as_numpy("OUTPUT0") is None
    assert [o["name"] for o in one.get_response()["outputs"]] == ["OUTPUT1"]


@pytest.mark.parametrize("binary", [True, False])
def test_classification_names_the_labels(client: httpclient.InferenceServerClient, expected: np.ndarray, binary: bool) -> None:
    output = httpclient.InferRequestedOutput("output", class_count=3, binary_data=binary)
    classes = client.infer("mnist_mlp", [digit_input("seven", binary=True)], outputs=[output]).as_numpy("output")
    assert classes.shape == (1, 3)
    order = np.argsort(-expected[7])[:3]
    for given, index in zip(classes[0], order):
        value, number, label = (given.decode() if isinstance(given, bytes) else given).split(":")
        assert (int(number), label) == (index, digits.NAMES[index])
        assert abs(float(value) - expected[7][index]) < 1e-3


def test_compressed_requests_and_responses(client: httpclient.InferenceServerClient, expected: np.ndarray) -> None:
    for request, response in [("gzip", "gzip"), ("deflate", "deflate"), ("gzip", None), (None, "deflate")]:
        result = client.infer(
            "mnist_mlp",
            [digit_input("two", binary=True)],
            request_compression_algorithm=request,
            response_compression_algorithm=response,
        )
        np.testing.assert_allclose(result.as_numpy("output"), expected[2:3], rtol=1e-4, atol=1e-4)


def test_async_infer_runs_requests_side_by_side(server: Nereid, expected: np.ndarray) -> None:
    with httpclient.InferenceServerClient(server.http, concurrency=4) as client:
        pending = [client.async_infer("mnist_mlp", [digit_input(name, binary=True)]) for name in digits.NAMES]
        for digit, request in enumerate(pending):
            np.testing.assert_allclose(request.get_result().as_numpy("output"), expected[digit : digit + 1], rtol=1e-4, atol=1e-4)


def test_errors_reach_the_client(client: httpclient.InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException, match="Request for unknown model: 'absent' is not found"):
        client.infer("absent", [digit_input("one", binary=True)])
    with pytest.raises(InferenceServerException, match="'mnist_mlp' version 9 is not found"):
        client.infer("mnist_mlp", [digit_input("one", binary=True)], model_version="9")
    with pytest.raises(InferenceServerException, match="explicit model load / unload is not allowed if polling is enabled"):
        client.load_model("mnist_mlp")
