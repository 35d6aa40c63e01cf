"""ModelStreamInfer: responses in the order of the requests, errors in-band, the stream stays open."""

import queue
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

import digits
from nereid_process import Nereid

WAIT_S = 30


class Stream:
    """A stream of tritonclient, its callbacks collected in a queue."""

    def __init__(self, client: grpcclient.InferenceServerClient) -> None:
        self.client = client
        self.answers: queue.Queue[tuple[grpcclient.InferResult | None, InferenceServerException | None]] = queue.Queue()
        client.start_stream(lambda result, error: self.answers.put((result, error)))

    def send(self, model: str, inputs: list[grpcclient.InferInput], request_id: str) -> None:
        self.client.async_stream_infer(model, inputs, request_id=request_id)

    def next(self) -> tuple[grpcclient.InferResult | None, InferenceServerException | None]:
        return self.answers.get(timeout=WAIT_S)


@pytest.fixture
def stream(server: Nereid) -> Iterator[Stream]:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        stream = Stream(client)
        yield stream
        client.stop_stream()


def digit_input(name: str) -> grpcclient.InferInput:
    tensor = grpcclient.InferInput("input", [1, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(digits.image(name)[None])
    return tensor


def rounds(count: int) -> grpcclient.InferInput:
    tensor = grpcclient.InferInput("ROUNDS", [1], "INT64")
    tensor.set_data_from_numpy(np.array([count], np.int64))
    return tensor


def test_responses_come_in_the_order_of_the_requests(stream: Stream, expected: np.ndarray) -> None:
    for digit, name in enumerate(digits.NAMES):
        stream.send("mnist_mlp", [digit_input(name)], str(digit))
    for digit in range(10):
        result, error = stream.next()
        assert error is None and result is not None
        response = result.get_response()
        assert response.id == str(digit)
        assert response.parameters["triton_final_response"].bool_param
        np.testing.assert_allclose(result.as_numpy("output"), expected[digit : digit + 1], rtol=1e-4, atol=1e-4)


def test_a_slow_request_is_not_overtaken(stream: Stream) -> None:
    stream.send("slow", [rounds(100)], "slow")
    stream.send("mnist_mlp", [digit_input("one")], "fast")
    ids = [stream.next()[0].get_response().id for _ in range(2)]
    assert ids == ["slow", "fast"]


def test_an_error_is_in_band_and_the_stream_goes_on(stream: Stream, expected: np.ndarray) -> None:
    stream.send("mnist_mlp", [digit_input("two")], "before")
    stream.send("absent", [digit_input("two")], "unknown model")
    wrong = grpcclient.InferInput("input", [1, 1, 28, 27], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 1, 28, 27), np.float32))
    stream.send("mnist_mlp", [wrong], "wrong shape")
    stream.send("mnist_mlp", [digit_input("eight")], "after")

    result, error = stream.next()
    assert error is None and result.get_response().id == "before"
    _, error = stream.next()
    assert "Request for unknown model: 'absent' is not found" in error.message()
    _, error = stream.next()
    assert "unexpected shape for input 'input' for model 'mnist_mlp'. Expected [-1,1,28,28], got [1,1,28,27]" in error.message()
    result, error = stream.next()
    assert error is None and result.get_response().id == "after"
    np.testing.assert_allclose(result.as_numpy("output"), expected[8:9], rtol=1e-4, atol=1e-4)


def test_answers_still_come_after_the_client_is_done_sending(server: Nereid) -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        stream = Stream(client)
        for number in range(5):
            stream.send("slow", [rounds(20 + number)], str(number))
        client.stop_stream()  # half-closes and waits for the server's end
        answers = [stream.next() for _ in range(5)]
    assert all(error is None for _, error in answers)
    assert [result.as_numpy("OUTPUT").tolist() for result, _ in answers] == [[20 + n] for n in range(5)]
