"""--shutdown-delay-secs: a server that is told to end is not ready, serves on, sends its clients elsewhere, and loses nobody."""

import contextlib
import http.client
import pathlib
import signal
import socket

import pytest
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

import honest
import http2
import models
import workers
from nereid_process import Nereid, wait_until
from relay import Relay
from workers import Workers

MNIST = models.ROOT / "model_repository"
DELAY = "--shutdown-delay-secs=600"  # which a second signal ends


def terminate(server: Nereid) -> None:
    server.process.send_signal(signal.SIGTERM)


def leaves(server: Nereid) -> bool:
    """Asked over a connection of its own, as probes are."""
    answer = server.get("/v2/health/ready")
    assert answer.status == 200 or (answer.status, answer.error()) == (503, "Server exiting")
    return answer.status == 503


@pytest.fixture
def started(tmp_path: pathlib.Path):
    """Starts servers that must be gone, cleanly, at the end of the test."""
    servers = []

    def start(*flags: str) -> Nereid:
        servers.append(Nereid(MNIST, tmp_path / f"log{len(servers)}", *flags))
        return servers[-1].wait_ready()

    yield start
    for server in servers:
        if server.alive():
            server.process.kill()
            server.process.wait()


def test_a_rolling_update_loses_no_request(started) -> None:
    """Two pods behind a Service, four kinds of clients, and one pod goes."""
    old, new = started(DELAY), started()
    with contextlib.closing(Relay(old.http_port, new.http_port)) as http_service, contextlib.closing(Relay(old.grpc_port, new.grpc_port)) as grpc_service:
        ways = [(way, grpc_service.port if "grpc" in way.__name__ else http_service.port) for way in 2 * workers.WAYS]
        with Workers(ways) as load:
            wait_until(lambda: load.each_has(10, [0] * len(ways)), 60, "everybody is served")
            terminate(old)
            wait_until(lambda: leaves(old), 30, "the old pod is not ready")
            before = list(load.answered)
            # The endpoints follow late: until then, new connections still come to the old pod.
            wait_until(lambda: load.each_has(20, before), 60, "everybody is served on")
            assert old.alive() and not load.failures, load.failures
            for service, port in ((http_service, old.http_port), (grpc_service, old.grpc_port)):
                service.targets.remove(port)
            before = list(load.answered)
            wait_until(lambda: load.each_has(20, before), 60, "everybody finds the new pod")
            terminate(old)
            assert old.ended() == 0, old.log()
            before = list(load.answered)
            wait_until(lambda: load.each_has(10, before), 60, "everybody is served by the new pod")
        assert not load.failures, (load.failures, old.log())
    assert new.stop() == 0


def test_whoever_follows_readiness_loses_nothing(started) -> None:
    """Clients of a server that ask whether it is ready before each request, and stop when it is not."""
    server = started(DELAY)
    ways = [(way, server.grpc_port if "grpc" in way.__name__ else server.http_port) for way in 2 * workers.WAYS]
    with Workers(ways, goes_on=lambda: not leaves(server)) as load:
        wait_until(lambda: load.each_has(5, [0] * len(ways)), 60, "everybody is served")
        terminate(server)
        load.join()
    assert not load.failures, (load.failures, server.log())
    assert server.alive()
    terminate(server)
    assert server.ended() == 0, server.log()


def test_what_is_said_in_the_delay_and_after(started) -> None:
    server = started(DELAY, "--exit-timeout-secs=20")
    scraper = http.client.HTTPConnection("127.0.0.1", server.metrics_port, timeout=30)
    kept = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)

    def scrape() -> str:
        scraper.request("GET", "/metrics")
        answer = scraper.getresponse()
        assert (answer.status, answer.headers["Connection"]) == (200, None)
        return answer.read().decode()

    def ask(path: str = "/v2/health/live", body: bytes | None = None) -> tuple[int, str | None]:
        kept.request("GET" if body is None else "POST", path, body)
        answer = kept.getresponse()
        answer.read()
        return answer.status, answer.headers["Connection"]

    assert scrape() and ask() == (200, None)
    with grpcclient.InferenceServerClient(server.grpc) as client:
        assert client.is_server_ready() and client.is_server_live()
        terminate(server)
        wait_until(lambda: leaves(server), 30, "it is not ready")
        assert ask() == (200, "close"), "or it would be killed before its time"
        assert ask("/v2/health/ready") == (503, "close")
        assert ask(honest.INFER, workers.BODY) == (200, "close")
        assert ask("/v2/models/mnist_mlp/ready") == (200, "close")
        assert scrape(), "on the same connection"
        assert client.is_server_live() and client.is_model_ready("mnist_mlp")
        with pytest.raises(InferenceServerException, match="Server exiting") as refused:
            client.is_server_ready()
        assert refused.value.status() == "StatusCode.UNAVAILABLE"
        honest.over_grpc(server)
        # A request in flight holds the end, in which nobody is let in, but metrics can be read.
        body = socket.create_connection(("127.0.0.1", server.http_port), 30)
        head = f"POST {honest.INFER} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(workers.BODY)}\r\n\r\n"
        body.sendall(head.encode() + workers.BODY[:10])
        honest.over_http(server)
        assert "shutdown delay" not in server.log()
        terminate(server)
        wait_until(lambda: "Waiting for in-flight requests to complete." in server.log(), 20, "the end has begun")
    for port in (server.http_port, server.grpc_port):
        wait_until(lambda: refused_at(port), 20, "nobody is let in")
    assert server.alive() and "nv_inference_request_success" in scrape()
    assert "nv_inference_request_success" in server.metrics(), "on a new connection, too"
    body.sendall(workers.BODY[10:])
    answer = http.client.HTTPResponse(body)
    answer.begin()
    assert (answer.status, answer.headers["Connection"]) == (200, "close")
    assert len(honest.outputs(answer.read())) == 10
    body.close()
    assert server.ended() == 0, server.log()
    phases = [
        "Asked to exit: not ready from now on, and serving for 600 more seconds (--shutdown-delay-secs).",
        "Asked to exit again: the shutdown delay ends.",
        "Waiting for in-flight requests to complete.",
        "All connections have ended, models are being unloaded.",
        "All models are stopped",
    ]
    log = server.log()
    assert sorted(phases, key=log.index) == phases
    scraper.close()
    kept.close()


def refused_at(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_http2_clients_are_sent_elsewhere_before_the_end(started) -> None:
    server = started(DELAY)
    stream = http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.call("/inference.GRPCInferenceService/ModelStreamInfer"))
    with contextlib.ExitStack() as stack:
        # Each has its turn at some time of the delay: of so many the first comes soon.
        connections = [stack.enter_context(http2.Connection(server.grpc_port)) for _ in range(200)]
        for connection in connections:
            connection.send(stream)
        terminate(server)
        told = http2.first(connections, http2.GOAWAY)
        assert told is not None
        assert server.get("/v2/health/live").status == 200, "before the end"
        told.send(http2.frame(http2.DATA, http2.END_STREAM, 1))
        assert told.until(http2.HEADERS), "the stream was to go on"
    terminate(server)
    assert server.ended() == 0, server.log()


def test_the_delay_ends_by_itself(started) -> None:
    server = started("--shutdown-delay-secs=1")
    terminate(server)
    assert server.ended() == 0, server.log()
    assert "The shutdown delay is over." in server.log()


def test_no_delay_unless_asked_for(started) -> None:
    server = started()
    terminate(server)
    assert server.ended() == 0
    assert "Asked to exit" not in server.log()
