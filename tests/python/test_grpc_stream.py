"""ModelStreamInfer: responses in the order of the requests, errors in-band, the stream stays open."""

import queue
from collections.abc import Iterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

import digits
import models
from nereid_process import Nereid, serving

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


PICK_CONFIG = """
backend: "onnxruntime"
max_batch_size: 0
input [ { name: "INDEX" data_type: TYPE_INT64 dims: [ 1 ] } ]
output [ { name: "OUTPUT" data_type: TYPE_INT64 dims: [ 1 ] } ]
"""


@pytest.fixture(scope="module")
def picky(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    """A model that fails when it runs, for an INDEX other than 0, 1 or 2."""
    folder = tmp_path_factory.mktemp("picky")
    models.write(folder / "repository", "pick", models.pick(), PICK_CONFIG)
    with serving(folder / "repository", folder / "log") as server:
        yield server


def pick(index: int, request_id: str, **fields: object) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(model_name="pick", id=request_id, **fields)
    request.inputs.add(name="INDEX", datatype="INT64", shape=[1])
    request.raw_input_contents.append(np.array([index], np.int64).tobytes())
    return request


def stream_of(server: Nereid, requests: list, **metadata: str) -> tuple[list, grpc.RpcError | None]:
    """What comes back on one stream, and the status that ends it if it is not OK."""
    answers: list = []
    with grpc.insecure_channel(server.grpc) as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(
            iter(requests), timeout=WAIT_S, metadata=list(metadata.items())
        )
        try:
            answers.extend(call)
        except grpc.RpcError as error:
            return answers, error
    return answers, None


OUT_OF_BOUNDS = "indices element out of data bounds, idx=7"


@pytest.mark.parametrize("version", ["", "1"])
def test_what_failed_is_named_as_triton_names_it(picky: Nereid, version: str) -> None:
    """A request that was queued by its model, too, as it was asked for; one that was refused by its id alone."""
    wrong = pick(0, "refused", model_version=version)
    wrong.inputs[0].datatype = "INT32"
    requests = [pick(1, "good"), pick(7, "failed", model_version=version), wrong, pick(2, "last")]
    (good, failed, refused, last), error = stream_of(picky, requests)
    assert error is None
    for answer, value in (good, 20), (last, 30):
        assert not answer.error_message
        assert answer.infer_response.raw_output_contents == [np.array([value], np.int64).tobytes()]
        assert answer.infer_response.parameters["triton_final_response"].bool_param
    assert OUT_OF_BOUNDS in failed.error_message
    expected = service_pb2.ModelInferResponse(model_name="pick", model_version=version, id="failed")
    expected.parameters["triton_final_response"].bool_param = True
    assert failed.infer_response == expected
    assert "data-type is 'INT32'" in refused.error_message
    assert refused.infer_response == service_pb2.ModelInferResponse(id="refused")


def test_grpc_errors_end_the_stream_if_the_client_asks_so(picky: Nereid) -> None:
    absent = pick(0, "refused")
    absent.model_name = "absent"
    requests = [pick(0, "good"), absent, pick(7, "failed"), pick(1, "never")]
    answers, error = stream_of(picky, requests, triton_grpc_error="true")
    # As in Triton, a request that is refused before it is queued does not count.
    assert [(a.infer_response.id, a.error_message[:27]) for a in answers] == [("good", ""), ("refused", "Request for unknown model: ")]
    assert error.code() == grpc.StatusCode.INTERNAL and OUT_OF_BOUNDS in error.details()
    for other in "false", "True", "1":
        answers, error = stream_of(picky, requests, triton_grpc_error=other)
        assert error is None and [a.infer_response.id for a in answers] == ["good", "refused", "failed", "never"]


def test_what_is_no_message_ends_the_stream_after_the_answers_before_it(picky: Nereid) -> None:
    answers = []
    with grpc.insecure_channel(picky.grpc) as channel:
        call = channel.stream_stream(
            "/inference.GRPCInferenceService/ModelStreamInfer",
            request_serializer=lambda message: message,
            response_deserializer=service_pb2.ModelStreamInferResponse.FromString,
        )(iter([pick(1, "good").SerializeToString(), b"\xff\xff\xff", pick(2, "never").SerializeToString()]), timeout=WAIT_S)
        with pytest.raises(grpc.RpcError) as error:
            answers.extend(answer.infer_response.id for answer in call)
    assert answers == ["good"]
    assert error.value.code() == grpc.StatusCode.INTERNAL
    assert stream_of(picky, [pick(1, "next")])[0][0].infer_response.id == "next"


def test_a_client_that_reads_late_gets_everything(server: Nereid) -> None:
    """100 MB of answers to a client that has sent a few requests before it reads the first one."""
    count, sent = 100, queue.Queue()
    tensor = np.arange(1 << 18, dtype=np.float32).reshape(1, -1)

    def requests() -> Iterator[service_pb2.ModelInferRequest]:
        for number in range(count):
            request = service_pb2.ModelInferRequest(model_name="identity_fp32", id=str(number))
            request.inputs.add(name="INPUT0", datatype="FP32", shape=tensor.shape)
            request.raw_input_contents.append(tensor.tobytes())
            sent.put(number)
            yield request

    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(server.grpc, options=options) as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(requests(), timeout=60)
        while sent.get(timeout=WAIT_S) < 3:
            pass
        for number, answer in enumerate(call):
            assert answer.infer_response.id == str(number)
            assert answer.infer_response.raw_output_contents[0] == tensor.tobytes()
    assert number == count - 1
