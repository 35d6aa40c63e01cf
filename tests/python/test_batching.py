"""Dynamic batching: many requests at once share executions, and nobody gets another one's answer."""

import pathlib
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient

import digits
import models
from nereid_process import Nereid, serving

DELAYED = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1 ] } ]
instance_group [ { kind: KIND_CPU count: 1 } ]
dynamic_batching { preferred_batch_size: [ 8 ] max_queue_delay_microseconds: 20000000 }
"""


def infer_all(module, url: str, threads: int, batches: list[np.ndarray]) -> list[np.ndarray]:
    """Each batch in a request of its own, `threads` at a time; answers in the order of `batches`."""
    local = threading.local()

    def one(batch: np.ndarray) -> np.ndarray:
        if not hasattr(local, "client"):
            local.client = module.InferenceServerClient(url)
        tensor = module.InferInput("input", list(batch.shape), "FP32")
        tensor.set_data_from_numpy(batch)
        return local.client.infer("mnist_mlp", [tensor]).as_numpy("output")

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(one, batches))


@pytest.mark.parametrize("module", [httpclient, grpcclient], ids=["http", "grpc"])
def test_concurrent_requests_of_many_sizes_get_their_own_answers(server: Nereid, expected: np.ndarray, module) -> None:
    random = np.random.default_rng(3)
    picks = [random.integers(0, 10, random.integers(1, 9)) for _ in range(200)]
    images = digits.images()
    url = server.http if module is httpclient else server.grpc
    for pick, answer in zip(picks, infer_all(module, url, 16, [images[pick] for pick in picks])):
        np.testing.assert_allclose(answer, expected[pick], rtol=1e-4, atol=1e-4)


def test_requests_that_wait_are_merged_into_one_execution(tmp_path: pathlib.Path) -> None:
    """With a long delay and a preferred size of 8, eight requests are one execution, and no timer is needed."""
    models.write(tmp_path / "repository", "delayed", models.identity("FP32"), DELAYED)
    with serving(tmp_path / "repository", tmp_path / "log") as server:

        def one(number: int) -> list[float]:
            body = {"inputs": [{"name": "INPUT0", "shape": [1, 2], "datatype": "FP32", "data": [number, -number]}]}
            answer = server.post("/v2/models/delayed/infer", body)
            assert answer.status == 200, answer.body
            return answer.json()["outputs"][0]["data"]

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(one, range(8))) == [[n, -n] for n in range(8)]
        (stats,) = server.get("/v2/models/delayed/stats").json()["model_stats"]
        assert (stats["inference_count"], stats["execution_count"]) == (8, 1)
        assert [(b["batch_size"], b["compute_infer"]["count"]) for b in stats["batch_stats"]] == [(8, 1)]


def test_a_batch_beyond_the_limit_is_refused(server: Nereid) -> None:
    body = {"inputs": [{"name": "input", "shape": [9, 1, 28, 28], "datatype": "FP32", "data": [0] * 9 * 784}]}
    answer = server.post("/v2/models/mnist_mlp/infer", body)
    assert (answer.status, answer.error()) == (400, "[request id: <id_unknown>] inference request batch-size must be <= 8 for 'mnist_mlp'")
