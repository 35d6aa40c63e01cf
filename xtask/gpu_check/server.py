"""A `nereid` process and the few requests that the checks send to it, over HTTP with binary tensors."""

import contextlib
import http.client
import json
import os
import pathlib
import signal
import socket
import subprocess
import time
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from outcome import Failed

START_S = 120  # the first use of CUDA may take long
STOP_S = 40


@dataclass
class Tensor:
    """FP32 values with their name and shape."""

    name: str
    shape: list[int]
    values: array


@dataclass
class Region:
    """Shared memory that the server knows by `name`, as much of it as a tensor takes."""

    name: str
    bytes: int

    def parameters(self) -> dict[str, object]:
        return {"shared_memory_region": self.name, "shared_memory_byte_size": self.bytes}


class Refused(Exception):
    """An answer other than 200; the message is the server's."""


class Server:
    """A started server. Everything it wrote is in `log`."""

    def __init__(self, program: pathlib.Path, repository: pathlib.Path, log: pathlib.Path, flags: list[str], env: Mapping[str, str]) -> None:
        self.log = log
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(socket.socket()) for _ in range(3)]
            for free in sockets:
                free.bind(("127.0.0.1", 0))
            self.http, self.grpc, self.metrics_port = (free.getsockname()[1] for free in sockets)
        command = [str(program), f"--model-repository={repository}", f"--http-port={self.http}", f"--grpc-port={self.grpc}"]
        command += [f"--metrics-port={self.metrics_port}"]
        command += [f"--{service}-address=127.0.0.1" for service in ("http", "grpc", "metrics")]
        with open(log, "wb") as sink:
            self.process = subprocess.Popen([*command, *flags], stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, env={**os.environ, **env})

    @property
    def pid(self) -> int:
        return self.process.pid

    def wait_ready(self) -> None:
        deadline = time.monotonic() + START_S
        while True:
            if self.process.poll() is not None:
                raise Failed(f"the server ended with {self.process.returncode}; its log ends: {self.log_tail()}")
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.request("GET", "/v2/health/ready", port=self.http)[0] == 200:
                    return
            if time.monotonic() > deadline:
                raise Failed(f"the server was not ready within {START_S} s; its log ends: {self.log_tail()}")
            time.sleep(0.02)

    def log_tail(self, characters: int = 400) -> str:
        return " / ".join(self.log.read_text(errors="replace")[-characters:].splitlines())

    def request(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, port: int = 0):
        """Status, headers and body."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.http, timeout=120)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def post(self, path: str, body: object = None) -> bytes:
        status, _, answer = self.request("POST", path, b"" if body is None else json.dumps(body).encode())
        if status != 200:
            with contextlib.suppress(ValueError, KeyError):
                raise Refused(json.loads(answer)["error"])
            raise Refused(f"{status}: {answer[:200]!r}")
        return answer

    def load(self, model: str) -> None:
        self.post(f"/v2/repository/models/{model}/load")

    def unload(self, model: str) -> None:
        """Returns when the model is gone, since the answer may come before."""
        self.post(f"/v2/repository/models/{model}/unload")
        deadline = time.monotonic() + STOP_S
        while next((m["state"] for m in self.index() if m["name"] == model and m.get("state")), "UNAVAILABLE") != "UNAVAILABLE":
            if time.monotonic() > deadline:
                raise Failed(f"{model} was not unloaded within {STOP_S} s")
            time.sleep(0.01)

    def index(self) -> list[dict]:
        return json.loads(self.post("/v2/repository/index"))

    def is_ready(self, model: str) -> bool:
        return self.request("GET", f"/v2/models/{model}/ready")[0] == 200

    def metrics(self) -> str:
        return self.request("GET", "/metrics", port=self.metrics_port)[2].decode()

    def infer(self, model: str, tensor: Tensor, output: str, places: tuple["Region", "Region"] | None = None) -> array:
        """Sends one FP32 tensor and reads one; with `places` both are in shared memory, and what comes back is empty."""
        data = tensor.values.tobytes()
        source, wanted = {"binary_data_size": len(data)}, {"binary_data": True}
        if places:
            source, wanted = (place.parameters() for place in places)
        head = {
            "inputs": [{"name": tensor.name, "shape": tensor.shape, "datatype": "FP32", "parameters": source}],
            "outputs": [{"name": output, "parameters": wanted}],
        }
        text = json.dumps(head).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))}
        status, answered, body = self.request("POST", f"/v2/models/{model}/infer", text + (b"" if places else data), headers)
        if status != 200:
            raise Refused(body.decode(errors="replace"))
        return array("f") if places else array("f", body[int(answered["Inference-Header-Content-Length"]) :])

    def stop(self) -> None:
        """Asks the server to end; raises `Failed` if it was gone already or does not end well."""
        if self.process.poll() is not None:
            raise Failed(f"the server had ended with {self.process.returncode}; its log ends: {self.log_tail()}")
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"SIGTERM did not end the server within {STOP_S} s") from None
        if code != 0:
            raise Failed(f"the server ended with {code}; its log ends: {self.log_tail()}")


@contextlib.contextmanager
def serving(program: pathlib.Path, repository: pathlib.Path, log: pathlib.Path, flags: list[str], env: Mapping[str, str]) -> Iterator[Server]:
    """A ready server, which ends with the block."""
    server = Server(program, repository, log, flags, env)
    try:
        server.wait_ready()
        yield server
        server.stop()
    finally:
        if server.process.poll() is None:
            server.process.kill()
            server.process.wait()
