"""Requests whose client has gone: they leave the queue at once, and a model that runs for nobody is stopped.

`ENDLESS` rounds of the slow model take hours: a test that goes on after one shows that it was stopped.
"""

import json
import pathlib
import queue
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.grpc._client import CallContext
from tritonclient.utils import InferenceServerException

import http2
import models
from nereid_process import Nereid, serving, wait_until

ENDLESS = 10_000_000
WAIT_S = 30


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Nereid]:
    """A server with the slow model alone: one instance, so that one request runs and all others wait."""
    models.write(tmp_path / "repository", "slow", models.slow(), models.SLOW_CONFIG)
    with serving(tmp_path / "repository", tmp_path / "log") as process:
        yield process


def metric(server: Nereid, name: str, **labels: str) -> int:
    lines = [line for line in server.metrics().splitlines() if line.startswith(name + "{")]
    (value,) = [line.rsplit(" ", 1)[1] for line in lines if all(f'{k}="{v}"' in line for k, v in labels.items())]
    return int(float(value))


def pending(server: Nereid) -> int:
    return metric(server, "nv_inference_pending_request_count")


def canceled(server: Nereid) -> int:
    return metric(server, "nv_inference_request_failure", reason="CANCELED")


def wait_for(server: Nereid, what: Callable[[Nereid], int], value: int) -> None:
    wait_until(lambda: what(server) == value, WAIT_S, f"{what.__name__} is {value}\n{server.metrics()}")


def rounds(count: int) -> list[grpcclient.InferInput]:
    tensor = grpcclient.InferInput("ROUNDS", [1], "INT64")
    tensor.set_data_from_numpy(np.array([count], np.int64))
    return [tensor]


def http_bytes(count: int) -> bytes:
    body = json.dumps({"inputs": [{"name": "ROUNDS", "shape": [1], "datatype": "INT64", "data": [count]}]})
    return f"POST /v2/models/slow/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def http_send(server: Nereid, data: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.http_port), WAIT_S)
    connection.sendall(data)
    return connection


def occupy(server: Nereid) -> socket.socket:
    """Runs the model until the connection is closed. Sure to run, because a second request, gone by now, waited for it."""
    running = http_send(server, http_bytes(ENDLESS))
    before = canceled(server)
    second = http_send(server, http_bytes(ENDLESS))
    wait_for(server, pending, 1)
    second.close()
    wait_for(server, canceled, before + 1)
    return running


def assert_answers(server: Nereid) -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        assert client.infer("slow", rounds(3), client_timeout=WAIT_S).as_numpy("OUTPUT")[0] == 3


def test_http_clients_that_disconnect(server: Nereid) -> None:
    running = occupy(server)
    waiting = [http_send(server, http_bytes(ENDLESS)) for _ in range(5)]
    wait_for(server, pending, 5)
    for connection in waiting[:4]:
        connection.close()
    wait_for(server, pending, 1)  # while the model is busy
    wait_for(server, canceled, 5)
    running.close()
    waiting[4].close()
    wait_for(server, canceled, 7)
    assert_answers(server)
    assert metric(server, "nv_inference_request_failure", reason="BACKEND") == 0
    assert metric(server, "nv_inference_request_success") == 1


def test_an_http_client_that_is_done_sending_counts_as_gone(server: Nereid) -> None:
    """As with Triton: the end of a client's data is the end of the connection."""
    running = occupy(server)
    running.shutdown(socket.SHUT_WR)
    wait_for(server, canceled, 2)
    assert_answers(server)
    running.close()


def test_an_http_client_that_has_sent_more_requests_ahead(server: Nereid) -> None:
    connection = http_send(server, http_bytes(ENDLESS) * 3)
    waiting = http_send(server, http_bytes(ENDLESS))
    wait_for(server, pending, 1)
    connection.close()
    waiting.close()
    assert_answers(server)


def test_a_grpc_deadline(server: Nereid) -> None:
    running = occupy(server)
    with grpcclient.InferenceServerClient(server.grpc) as client:
        with pytest.raises(InferenceServerException, match="Deadline Exceeded"):
            client.infer("slow", rounds(ENDLESS), client_timeout=1)
        wait_for(server, canceled, 2)
        assert pending(server) == 0
        running.close()
        with pytest.raises(InferenceServerException, match="Deadline Exceeded"):
            client.infer("slow", rounds(ENDLESS), client_timeout=1)
        wait_for(server, canceled, 4)
    assert_answers(server)


def test_a_grpc_call_that_is_cancelled(server: Nereid) -> None:
    running = occupy(server)
    errors: queue.Queue[InferenceServerException | None] = queue.Queue()
    with grpcclient.InferenceServerClient(server.grpc) as client:
        contexts = [client.async_infer("slow", rounds(ENDLESS), lambda result, error: errors.put(error)) for _ in range(3)]
        wait_for(server, pending, 3)
        contexts[1].cancel()
        wait_for(server, pending, 2)
        assert "Locally cancelled" in errors.get(timeout=WAIT_S).message()
        running.close()
        wait_for(server, pending, 1)  # one of the two runs
        contexts[0].cancel()
        contexts[2].cancel()
        wait_for(server, canceled, 5)
    assert_answers(server)


def test_a_client_that_vanishes(server: Nereid) -> None:
    """Without a word of goodbye: the connection is reset."""
    running = occupy(server)
    running.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    running.close()
    wait_for(server, canceled, 2)
    assert_answers(server)


def test_a_stream_that_is_cancelled(server: Nereid) -> None:
    answers: queue.Queue[object] = queue.Queue()
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put(error or result))
        for number in range(5):
            client.async_stream_infer("slow", rounds(ENDLESS), request_id=str(number))
        wait_for(server, pending, 4)
        client.stop_stream(cancel_requests=True)
        wait_for(server, canceled, 5)
    assert pending(server) == 0
    assert_answers(server)


def test_a_stream_with_a_deadline(server: Nereid) -> None:
    answers: queue.Queue[object] = queue.Queue()
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put(error or result), stream_timeout=2)
        for _ in range(3):
            client.async_stream_infer("slow", rounds(ENDLESS))
        wait_for(server, pending, 2)
        assert "Deadline Exceeded" in answers.get(timeout=WAIT_S).message()
        wait_for(server, canceled, 3)
    assert_answers(server)


def test_a_client_that_only_names_its_deadline(server: Nereid) -> None:
    """Neither resets its streams nor hangs up; the server ends the calls by itself, unary or not."""
    request = service_pb2.ModelInferRequest(model_name="slow")
    request.inputs.add(name="ROUNDS", datatype="INT64", shape=[1])
    request.raw_input_contents.append(np.array([ENDLESS], np.int64).tobytes())
    message = request.SerializeToString()
    deadline = http2.header("grpc-timeout", "1S")
    with http2.Connection(server.grpc_port) as connection:
        for stream, rpc, flags in (1, "ModelInfer", http2.END_STREAM), (3, "ModelStreamInfer", 0):
            block = http2.call(f"/inference.GRPCInferenceService/{rpc}", deadline)
            data = b"\0" + struct.pack(">I", len(message)) + message
            connection.send(http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block))
            connection.send(http2.frame(http2.DATA, flags, stream, data))
        ended: set[int] = set()
        for kind, flags, stream, _ in connection.frames(WAIT_S):
            assert kind not in (http2.RST_STREAM, http2.GOAWAY)
            if kind == http2.HEADERS and flags & http2.END_STREAM:
                ended.add(stream)
            if len(ended) == 2:
                break
        assert ended == {1, 3}
        wait_for(server, canceled, 2)
    assert_answers(server)


def test_a_held_queue(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that left does not count towards those for which the batcher is held."""
    monkeypatch.setenv("TRITONSERVER_DELAY_SCHEDULER", "3")
    config = models.ADD_SUB_CONFIG + "dynamic_batching { }\n"
    models.write(tmp_path / "repository", "add_sub", models.add_sub(), config)
    inputs = [grpcclient.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for tensor in inputs:
        tensor.set_data_from_numpy(np.ones((1, 16), np.int32))
    answers: queue.Queue[object] = queue.Queue()
    with serving(tmp_path / "repository", tmp_path / "log") as server, grpcclient.InferenceServerClient(server.grpc) as client:

        def send() -> CallContext:
            return client.async_infer("add_sub", inputs, lambda result, error: answers.put(error or result))

        gone = send()
        send()
        wait_for(server, pending, 2)
        gone.cancel()
        wait_for(server, pending, 1)
        assert isinstance(answers.get(timeout=WAIT_S), InferenceServerException)
        send()
        wait_for(server, pending, 2)
        assert answers.empty()
        send()
        for _ in range(3):
            assert isinstance(answers.get(timeout=WAIT_S), grpcclient.InferResult)
        assert canceled(server) == 1
        assert metric(server, "nv_inference_request_success") == 3


def test_clients_that_come_and_go_disturb_nobody(server: Nereid) -> None:
    """Half of the clients go at any time; the others get their answers."""

    def client(number: int) -> None:
        for i in range(20):
            if number % 2:
                http_send(server, http_bytes(i % 5)).close()
            else:
                with grpcclient.InferenceServerClient(server.grpc) as stays:
                    seen.append((i, int(stays.infer("slow", rounds(i), client_timeout=60).as_numpy("OUTPUT")[0])))

    seen: list[tuple[int, int]] = []
    threads = [threading.Thread(target=client, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(seen) == 80 and all(sent == got for sent, got in seen)
    wait_for(server, pending, 0)


def test_the_failure_of_an_uncancelled_request_has_its_own_reason(server: Nereid) -> None:
    """The series that Triton's own tests look for exist from the start, word for word."""
    page = server.metrics()
    assert re.search(r'^nv_inference_request_failure\{model="slow",reason="CANCELED",version="1"\} 0$', page, re.M)
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        with pytest.raises(grpc.RpcError):
            stub.ModelInfer(service_pb2.ModelInferRequest(model_name="slow"), timeout=WAIT_S)
    assert canceled(server) == 0
