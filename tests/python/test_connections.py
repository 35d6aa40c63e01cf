"""How connections live and end: ports that are shared, keepalive, age, no file descriptors left, silence at the end."""

import contextlib
import http.client
import pathlib
import resource
import signal
import socket

import pytest
import tritonclient.grpc as grpcclient

import honest
import http2
import models
import workers
from nereid_process import Nereid, serving, wait_until
from relay import Relay
from workers import Workers

MNIST = models.ROOT / "model_repository"


def test_two_servers_share_their_ports(tmp_path: pathlib.Path) -> None:
    with serving(MNIST, tmp_path / "first", "--id=first", "--reuse-http-port=true", "--reuse-grpc-port=true") as first:
        shared = [f"--http-port={first.http_port}", f"--grpc-port={first.grpc_port}", "--reuse-http-port=1", "--reuse-grpc-port=1"]
        second = Nereid(MNIST, tmp_path / "second", "--id=second", *shared)
        try:
            wait_until(lambda: not second.alive() or "Started HTTPService" in second.log(), 60, "the second server listens")

            def http_name() -> str:
                return first.get("/v2").json()["name"]  # a new connection each time: the system picks who gets it

            def grpc_name() -> str:
                own_connection = [("grpc.use_local_subchannel_pool", 1)]
                with grpcclient.InferenceServerClient(first.grpc, channel_args=own_connection) as client:
                    return client.get_server_metadata(client_timeout=20).name

            for name in (http_name, grpc_name):
                seen: set[str] = set()
                wait_until(lambda: seen.add(name()) or seen == {"first", "second"}, 30, f"both answer, not only {seen}")
            assert second.stop() == 0
        finally:
            if second.alive():
                second.process.kill()
                second.process.wait()
        for name in (http_name, grpc_name):
            assert [name() for _ in range(10)] == ["first"] * 10
        third = Nereid(MNIST, tmp_path / "third", f"--http-port={first.http_port}")
        assert third.ended(20) == 1  # who does not share gets nothing
        assert f"HTTP service: cannot take 127.0.0.1:{first.http_port}" in third.log()


@pytest.mark.parametrize("port", ["http_port", "grpc_port", "metrics_port"])
@pytest.mark.parametrize("data", [b"", b"G", b"GET /v2 HTTP/1.1\r\nHost:", http2.PREFACE[:10], http2.PREFACE])
def test_silence_does_not_hold_the_end(tmp_path: pathlib.Path, port: str, data: bytes) -> None:
    server = Nereid(MNIST, tmp_path / "log", "--exit-timeout-secs=30").wait_ready()
    with socket.create_connection(("127.0.0.1", getattr(server, port)), 10) as connection:
        connection.sendall(data)
        honest.over_http(server)
        server.process.send_signal(signal.SIGTERM)
        assert server.ended(20) == 0, server.log()


def test_no_file_descriptors_left(tmp_path: pathlib.Path) -> None:
    """Whoever comes when there are none waits; it is said, not over and over, and ends when others go."""
    with serving(MNIST, tmp_path / "log") as server:
        kept = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)
        kept.request("GET", "/v2/health/ready")
        assert kept.getresponse().read() == b""
        limit = len(list(pathlib.Path(f"/proc/{server.process.pid}/fd").iterdir())) + 20
        resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (limit, resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)[1]))
        with contextlib.ExitStack() as stack:
            for number in range(100):
                port = server.grpc_port if number % 2 else server.http_port
                stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            wait_until(lambda: "failed to accept a connection, trying again: Too many open files" in server.log(), 20, "it is said")
            waiting = socket.create_connection(("127.0.0.1", server.http_port), 30)
            waiting.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n")
            for _ in range(20):
                kept.request("GET", "/v2/health/ready")
                answer = kept.getresponse()
                assert (answer.status, answer.read()) == (200, b"")
        with waiting:
            assert waiting.recv(15) == b"HTTP/1.1 200 OK"
        honest.over_http(server)
        honest.over_grpc(server)
        assert server.log().count("failed to accept a connection") < 20


def test_a_client_that_answers_no_ping_is_given_up(tmp_path: pathlib.Path) -> None:
    with serving(MNIST, tmp_path / "log", "--grpc-keepalive-time=100", "--grpc-keepalive-timeout=2000") as server:
        with http2.Connection(server.grpc_port) as alive:
            for _ in range(5):
                ping = next(f for f in alive.frames() if f[0] == http2.PING and not f[1] & http2.ACK)
                alive.send(http2.frame(http2.PING, http2.ACK, 0, ping[3]))
        with http2.Connection(server.grpc_port) as dead:
            assert dead.until(http2.PING) and dead.ends()
        honest.over_grpc(server)


def test_connections_are_replaced_at_their_age_and_no_call_is_lost(tmp_path: pathlib.Path) -> None:
    with serving(MNIST, tmp_path / "log", "--grpc-max-connection-age=100", "--log-verbose=2") as server:
        with http2.Connection(server.grpc_port) as old:
            assert old.until(http2.GOAWAY)
        with contextlib.closing(Relay(server.grpc_port)) as relay:
            with grpcclient.InferenceServerClient(f"127.0.0.1:{relay.port}") as client:
                answered = 0
                while relay.connections < 10:
                    assert honest.is_seven(client.infer("mnist_mlp", honest.tensors(), client_timeout=20))
                    answered += 1
        assert answered > relay.connections, "a connection is worth more than one call"


def test_http_connections_are_replaced_at_their_age_and_no_request_is_lost(tmp_path: pathlib.Path) -> None:
    with serving(MNIST, tmp_path / "log", "--http-max-connection-age=20") as server:
        with contextlib.closing(Relay(server.http_port)) as relay:
            ways = [(way, relay.port) for way in 4 * [workers.over_kept_http, workers.over_triton_http]]
            with Workers(ways) as load:
                wait_until(lambda: load.failures or relay.connections >= 20 * len(ways), 60, "connections are replaced")
        assert not load.failures
        assert sum(load.answered) > relay.connections, "a connection is worth more than one request"


def test_an_old_http_connection_that_is_idle_is_not_cut(tmp_path: pathlib.Path) -> None:
    with serving(MNIST, tmp_path / "log", "--http-max-connection-age=1") as server:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)) as idle:
            idle.connect()
            with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)) as other:

                def is_told() -> bool:
                    other.request("GET", "/v2/health/live")
                    answer = other.getresponse()
                    answer.read()
                    return answer.headers["Connection"] == "close"

                wait_until(is_told, 20, "another connection that began later is old")
            idle.request("GET", "/v2/health/live")
            answer = idle.getresponse()
            assert (answer.status, answer.headers["Connection"]) == (200, "close")


def test_grace_ends_calls_that_outlive_it(tmp_path: pathlib.Path) -> None:
    """Without a grace an open stream keeps its connection; with one it is ended."""
    call = http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.call("/inference.GRPCInferenceService/ModelStreamInfer"))
    with serving(MNIST, tmp_path / "with", "--grpc-max-connection-age=100", "--grpc-max-connection-age-grace=200") as server:
        with http2.Connection(server.grpc_port) as connection:
            connection.send(call)
            assert connection.until(http2.GOAWAY)
            assert connection.ends()
    with serving(MNIST, tmp_path / "without", "--grpc-max-connection-age=100") as server:
        with http2.Connection(server.grpc_port) as connection:
            connection.send(call)
            assert connection.until(http2.GOAWAY)
            connection.send(http2.frame(http2.DATA, http2.END_STREAM, 1))
            assert connection.until(http2.HEADERS), "the stream was to go on"
