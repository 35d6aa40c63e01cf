"""SIGTERM under load: what was accepted is answered, new connections are refused, the exit code is 0."""

import http.client
import json
import pathlib
import queue
import signal
import socket
import threading

import numpy as np
import pytest
import tritonclient.grpc as grpcclient

import models
from nereid_process import Nereid, wait_until

REQUESTS = 8
ROUNDS = 100  # about 0.1 s each on the one instance


@pytest.fixture
def slow_repository(tmp_path: pathlib.Path) -> pathlib.Path:
    models.write(tmp_path / "repository", "slow", models.slow(), models.SLOW_CONFIG)
    return tmp_path / "repository"


def http_request(server: Nereid, number: int) -> int:
    """The number that comes back in the answer."""
    body = {"inputs": [{"name": "ROUNDS", "shape": [1], "datatype": "INT64", "data": [ROUNDS + number]}]}
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
    connection.request("POST", "/v2/models/slow/infer", json.dumps(body))
    response = connection.getresponse()
    answer = json.loads(response.read())
    assert response.status == 200, answer
    return next(o["data"][0] for o in answer["outputs"] if o["name"] == "OUTPUT")


def grpc_request(server: Nereid, number: int) -> int:
    tensor = grpcclient.InferInput("ROUNDS", [1], "INT64")
    tensor.set_data_from_numpy(np.array([ROUNDS + number]))
    with grpcclient.InferenceServerClient(server.grpc) as client:
        return int(client.infer("slow", [tensor], client_timeout=60).as_numpy("OUTPUT")[0])


def accepted(server: Nereid) -> float:
    """Requests that wait or are answered; the one that runs is neither."""
    return sum(counted(server, f"nv_inference_{what}") for what in ("pending_request_count", "request_success"))


def counted(server: Nereid, name: str) -> float:
    (line,) = [line for line in server.metrics().splitlines() if line.startswith(f'{name}{{model="slow"')]
    return float(line.rsplit(" ", 1)[1])


def refuses(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("send", [http_request, grpc_request], ids=["http", "grpc"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_nothing_accepted_is_lost(slow_repository: pathlib.Path, tmp_path: pathlib.Path, send, number: signal.Signals) -> None:
    server = Nereid(slow_repository, tmp_path / "log").wait_ready()
    answers: list[object] = [None] * REQUESTS

    def client(index: int) -> None:
        try:
            answers[index] = send(server, index)
        except Exception as error:  # shown by the assertion below
            answers[index] = error

    threads = [threading.Thread(target=client, args=(i,)) for i in range(REQUESTS)]
    for thread in threads:
        thread.start()
    # One instance: one request runs, all others wait or are answered. Then every one of them has been accepted.
    wait_until(lambda: accepted(server) >= REQUESTS - 1, 30, "all requests are queued")
    server.process.send_signal(number)
    port = server.http_port if send is http_request else server.grpc_port
    wait_until(lambda: refuses(port), 10, "new connections are refused")
    for thread in threads:
        thread.join(60)
    assert answers == [ROUNDS + i for i in range(REQUESTS)], server.log()
    assert server.ended() == 0, server.log()


def test_an_idle_server_ends_at_once(slow_repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    server = Nereid(slow_repository, tmp_path / "log").wait_ready()
    server.process.send_signal(signal.SIGTERM)
    assert server.ended(5) == 0, server.log()


def test_idle_connections_do_not_hold_the_end(slow_repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    server = Nereid(slow_repository, tmp_path / "log").wait_ready()
    kept = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)
    kept.request("GET", "/v2/health/live")
    kept.getresponse().read()
    with grpcclient.InferenceServerClient(server.grpc) as client:
        assert client.is_server_live()
        server.process.send_signal(signal.SIGTERM)
        assert server.ended(20) == 0, server.log()
    kept.close()


def test_the_exit_timeout_ends_what_does_not_end(slow_repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """A run far longer than --exit-timeout-secs: exit code 1, as Triton."""
    server = Nereid(slow_repository, tmp_path / "log", "--exit-timeout-secs=1").wait_ready()
    body = json.dumps({"inputs": [{"name": "ROUNDS", "shape": [1], "datatype": "INT64", "data": [100_000]}]}).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
    connection.request("POST", "/v2/models/slow/infer", body)
    connection.sock.settimeout(60)
    running = 'nv_inference_pending_request_count'
    # Once the second request waits, the first one runs.
    second = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
    second.request("POST", "/v2/models/slow/infer", body)
    wait_until(lambda: counted(server, running) == 1, 30, "one request runs and one waits")
    server.process.send_signal(signal.SIGTERM)
    assert server.ended(20) == 1, server.log()
    assert "Exit timeout expired. Exiting immediately." in server.log()
    connection.close()
    second.close()


def test_an_idle_stream_does_not_hold_the_end(slow_repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    server = Nereid(slow_repository, tmp_path / "log").wait_ready()
    answers: queue.Queue[object] = queue.Queue()
    tensor = grpcclient.InferInput("ROUNDS", [1], "INT64")
    tensor.set_data_from_numpy(np.array([1]))
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put(error or result))
        client.async_stream_infer("slow", [tensor])
        assert isinstance(answers.get(timeout=30), grpcclient.InferResult)
        server.process.send_signal(signal.SIGTERM)
        assert server.ended(20) == 0, server.log()


def test_a_stream_is_told_that_the_server_goes(slow_repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    """What was accepted is answered, what still comes is refused with Triton's text, and then the stream ends."""
    server = Nereid(slow_repository, tmp_path / "log").wait_ready()
    text = "GRPC server is shutting down and has stopped accepting new requests."
    answers: queue.Queue[object] = queue.Queue()
    tensor = grpcclient.InferInput("ROUNDS", [1], "INT64")
    tensor.set_data_from_numpy(np.array([10 * ROUNDS]))
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put(error.message() if error else int(result.as_numpy("OUTPUT")[0])))
        for _ in range(3):
            client.async_stream_infer("slow", [tensor])
        wait_until(lambda: counted(server, "nv_inference_pending_request_count") == 2, 30, "one request runs and two wait")
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses(server.grpc_port), 10, "new connections are refused")
        client.async_stream_infer("slow", [tensor])
        assert [answers.get(timeout=60) for _ in range(5)] == [10 * ROUNDS] * 3 + [text, text]
        assert server.ended() == 0, server.log()


def test_two_servers_do_not_share_a_port(slow_repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    first = Nereid(slow_repository, tmp_path / "first").wait_ready()
    second = Nereid(slow_repository, tmp_path / "second", f"--http-port={first.http_port}")
    assert second.ended(20) == 1, second.log()
    assert f"HTTP service: cannot take 127.0.0.1:{first.http_port}" in second.log()
    assert first.stop() == 0
