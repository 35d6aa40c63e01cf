"""tritonclient's asynchronous gRPC client, its stream included."""

import asyncio
from collections.abc import AsyncIterator

import numpy as np
import pytest
import tritonclient.grpc.aio as grpcclient
from tritonclient.utils import InferenceServerException

import digits
from nereid_process import Nereid


def digit_input(name: str) -> grpcclient.InferInput:
    tensor = grpcclient.InferInput("input", [1, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(digits.image(name)[None])
    return tensor


def test_health_metadata_and_config(server: Nereid) -> None:
    async def scenario() -> None:
        async with grpcclient.InferenceServerClient(server.grpc) as client:
            assert await client.is_server_live() and await client.is_server_ready()
            assert await client.is_model_ready("mnist_mlp")
            assert (await client.get_server_metadata()).name == "triton"
            assert list((await client.get_model_metadata("mnist_mlp")).versions) == ["1"]
            assert (await client.get_model_config("mnist_mlp")).config.max_batch_size == 8
            assert "mnist_mlp" in [m.name for m in (await client.get_model_repository_index()).models]
            assert (await client.get_inference_statistics("mnist_mlp")).model_stats[0].name == "mnist_mlp"

    asyncio.run(scenario())


def test_concurrent_requests_get_their_own_answers(server: Nereid, expected: np.ndarray) -> None:
    async def scenario() -> None:
        async with grpcclient.InferenceServerClient(server.grpc) as client:
            results = await asyncio.gather(*(client.infer("mnist_mlp", [digit_input(name)]) for name in digits.NAMES * 4))
        logits = np.concatenate([r.as_numpy("output") for r in results])
        np.testing.assert_allclose(logits, np.tile(expected, (4, 1)), rtol=1e-4, atol=1e-4)

    asyncio.run(scenario())


def test_errors_reach_the_client(server: Nereid) -> None:
    async def scenario() -> None:
        async with grpcclient.InferenceServerClient(server.grpc) as client:
            with pytest.raises(InferenceServerException, match="Request for unknown model: 'absent' is not found"):
                await client.infer("absent", [digit_input("one")])

    asyncio.run(scenario())


def test_a_stream_answers_in_order(server: Nereid, expected: np.ndarray) -> None:
    async def requests() -> AsyncIterator[dict]:
        for digit, name in enumerate(digits.NAMES):
            yield {"model_name": "mnist_mlp", "inputs": [digit_input(name)], "request_id": str(digit)}

    async def scenario() -> None:
        async with grpcclient.InferenceServerClient(server.grpc) as client:
            seen = 0
            async for result, error in client.stream_infer(requests()):
                assert error is None
                assert result.get_response().id == str(seen)
                np.testing.assert_allclose(result.as_numpy("output"), expected[seen : seen + 1], rtol=1e-4, atol=1e-4)
                seen += 1
        assert seen == len(digits.NAMES)

    asyncio.run(scenario())
