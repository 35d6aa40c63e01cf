"""tritonclient's asynchronous HTTP client."""

import asyncio

import numpy as np
import pytest
import tritonclient.http.aio as httpclient
from tritonclient.utils import InferenceServerException

import digits
from nereid_process import Nereid


def digit_input(name: str) -> httpclient.InferInput:
    tensor = httpclient.InferInput("input", [1, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(digits.image(name)[None])
    return tensor


def test_health_metadata_and_config(server: Nereid) -> None:
    async def scenario() -> None:
        async with httpclient.InferenceServerClient(server.http) as client:
            assert await client.is_server_live() and await client.is_server_ready()
            assert await client.is_model_ready("mnist_mlp")
            assert not await client.is_model_ready("absent")
            assert (await client.get_server_metadata())["name"] == "triton"
            assert (await client.get_model_metadata("mnist_mlp"))["versions"] == ["1"]
            assert (await client.get_model_config("mnist_mlp"))["max_batch_size"] == 8
            assert "mnist_mlp" in [e["name"] for e in await client.get_model_repository_index()]
            (stats,) = (await client.get_inference_statistics("mnist_mlp"))["model_stats"]
            assert stats["name"] == "mnist_mlp"

    asyncio.run(scenario())


def test_concurrent_requests_get_their_own_answers(server: Nereid, expected: np.ndarray) -> None:
    async def scenario() -> None:
        async with httpclient.InferenceServerClient(server.http, conn_limit=20) as client:
            results = await asyncio.gather(*(client.infer("mnist_mlp", [digit_input(name)]) for name in digits.NAMES * 4))
        logits = np.concatenate([r.as_numpy("output") for r in results])
        np.testing.assert_allclose(logits, np.tile(expected, (4, 1)), rtol=1e-4, atol=1e-4)

    asyncio.run(scenario())


def test_errors_reach_the_client(server: Nereid) -> None:
    async def scenario() -> None:
        async with httpclient.InferenceServerClient(server.http) as client:
            with pytest.raises(InferenceServerException, match="Request for unknown model: 'absent' is not found"):
                await client.infer("absent", [digit_input("one")])

    asyncio.run(scenario())
