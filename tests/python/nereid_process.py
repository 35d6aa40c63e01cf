"""A real `nereid` process: started on free ports, waited for, stopped by a signal. Knows nothing of tests."""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

START_S = 60
STOP_S = 40


def binary() -> str:
    """The server under test; `cargo xtask test` names it."""
    return os.environ.get("NEREID_BIN") or str(pathlib.Path(__file__).parents[2] / "target/debug/nereid")


def free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """All different, hence all taken before the first is given back."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> object:
    """The first true value of `condition`, asked again and again until the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


class Nereid:
    """A started server. `log` is everything it wrote."""

    def __init__(self, repository: pathlib.Path, log: pathlib.Path, *flags: str, program: str | None = None, environment: dict[str, str] | None = None) -> None:
        self.http_port, self.grpc_port, self.metrics_port = free_ports(3)
        self.log_path = log
        command = [
            program or binary(),
            f"--model-repository={repository}",
            "--http-address=127.0.0.1",
            "--grpc-address=127.0.0.1",
            f"--http-port={self.http_port}",
            f"--grpc-port={self.grpc_port}",
            f"--metrics-port={self.metrics_port}",
            *flags,
        ]
        with open(log, "wb") as sink:
            variables = os.environ | (environment or {})
            self.process = subprocess.Popen(command, env=variables, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)

    @property
    def http(self) -> str:
        return f"127.0.0.1:{self.http_port}"

    @property
    def grpc(self) -> str:
        return f"127.0.0.1:{self.grpc_port}"

    def log(self) -> str:
        return self.log_path.read_text(errors="replace")

    def alive(self) -> bool:
        return self.process.poll() is None

    def wait_for(self, path: str) -> "Nereid":
        """Until `path` answers 200, or the process is gone."""

        def answered() -> bool:
            assert self.alive(), f"the server ended with {self.process.returncode}:\n{self.log()}"
            with contextlib.suppress(OSError):
                return self.get(path).status == 200
            return False

        wait_until(answered, START_S, f"{path} answers 200\n{self.log()}")
        return self

    def wait_ready(self) -> "Nereid":
        return self.wait_for("/v2/health/ready")

    def wait_listening(self) -> "Nereid":
        """Until clients can connect, which is when the models are there; for servers that do not speak plain HTTP."""

        def connected() -> bool:
            assert self.alive(), f"the server ended with {self.process.returncode}:\n{self.log()}"
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.http_port), 5):
                return True
            return False

        wait_until(connected, START_S, f"the server listens\n{self.log()}")
        return self

    def resident(self) -> int:
        """Bytes of memory that the process has."""
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(next(line for line in status.splitlines() if line.startswith("VmRSS:")).split()[1])

    def request(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, port: int | None = None) -> "Answer":
        connection = http.client.HTTPConnection("127.0.0.1", port or self.http_port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def get(self, path: str) -> "Answer":
        return self.request("GET", path)

    def post(self, path: str, body: bytes | dict = b"", headers: dict[str, str] | None = None) -> "Answer":
        return self.request("POST", path, json.dumps(body).encode() if isinstance(body, dict) else body, headers)

    def metrics(self) -> str:
        answer = self.request("GET", "/metrics", port=self.metrics_port)
        assert answer.status == 200
        return answer.body.decode()

    def ended(self, seconds: float = STOP_S) -> int:
        """The exit code, waited for."""
        return self.process.wait(seconds)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.ended()
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"SIGTERM did not end the server in {STOP_S} s:\n{self.log()}") from None


class Answer:
    """An HTTP answer, read to its end."""

    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    def json(self) -> dict:
        return json.loads(self.body)

    def error(self) -> str:
        return self.json()["error"]


@contextlib.contextmanager
def serving(
    repository: pathlib.Path,
    log: pathlib.Path,
    *flags: str,
    ready: Callable[[Nereid], object] = Nereid.wait_ready,
    environment: dict[str, str] | None = None,
    program: str | None = None,
) -> Iterator[Nereid]:
    """A ready server; at the end it must still live and end cleanly on SIGTERM."""
    server = Nereid(repository, log, *flags, environment=environment, program=program)
    try:
        ready(server)
        yield server
        assert server.alive(), f"the server ended with {server.process.returncode}:\n{server.log()}"
        assert server.stop() == 0, server.log()
    finally:
        if server.alive():
            server.process.kill()
            server.process.wait()
