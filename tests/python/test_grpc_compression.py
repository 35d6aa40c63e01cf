"""Compression of gRPC messages with the real client, seen by a relay that counts what passes."""

import contextlib
import pathlib
import queue
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

import honest
from nereid_process import Nereid, serving
from relay import Relay

ZEROS = np.zeros([1, 500_000], np.float32)


@contextlib.contextmanager
def relayed(server: Nereid) -> Iterator[tuple[grpcclient.InferenceServerClient, Relay]]:
    with contextlib.closing(Relay(server.grpc_port)) as relay:
        with grpcclient.InferenceServerClient(f"127.0.0.1:{relay.port}") as client:
            yield client, relay


def zeros() -> list[grpcclient.InferInput]:
    tensor = grpcclient.InferInput("INPUT0", list(ZEROS.shape), "FP32")
    tensor.set_data_from_numpy(ZEROS)
    return [tensor]


@pytest.fixture(scope="module", params=["none", "low", "medium", "high"])
def compressing(request: pytest.FixtureRequest, repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nereid, bool]]:
    log = tmp_path_factory.mktemp("compressing") / "log"
    with serving(repository, log, f"--grpc-infer-response-compression-level={request.param}") as server:
        yield server, request.param != "none"


@pytest.mark.parametrize("algorithm", [None, "gzip", "deflate"])
def test_requests_and_responses(compressing: tuple[Nereid, bool], algorithm: str | None) -> None:
    server, shrinks = compressing
    with relayed(server) as (client, relay):
        assert honest.is_seven(client.infer("mnist_mlp", honest.tensors(), compression_algorithm=algorithm))
        result = client.infer("identity_fp32", zeros(), compression_algorithm=algorithm)
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), ZEROS)
        assert (relay.sent < ZEROS.nbytes // 10) == (algorithm is not None)
        assert (relay.received < ZEROS.nbytes // 10) == shrinks


def test_streams(compressing: tuple[Nereid, bool]) -> None:
    server, shrinks = compressing
    answers: queue.Queue[object] = queue.Queue()
    with relayed(server) as (client, relay):
        client.start_stream(lambda result, error: answers.put(error or result), compression_algorithm="gzip")
        for number in range(5):
            client.async_stream_infer("identity_fp32", zeros(), request_id=str(number))
        for number in range(5):
            answer = answers.get(timeout=60)
            assert isinstance(answer, grpcclient.InferResult) and answer.get_response().id == str(number), answer
            np.testing.assert_array_equal(answer.as_numpy("OUTPUT0"), ZEROS)
        client.stop_stream()
        assert relay.sent < ZEROS.nbytes // 2
        assert (relay.received < ZEROS.nbytes // 2) == shrinks
