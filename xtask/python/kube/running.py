"""Programs that run while something is asked of them, and the asking. Everything listens on loopback, on free ports."""

import contextlib
import http.client
import json
import pathlib
import socket
import subprocess
import time
import urllib.parse
from collections.abc import Callable, Iterator

WAIT_S = 60


def free_ports(count: int) -> list[int]:
    """All different, hence all taken before the first is given back."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.socket()) for _ in range(count)]
        for listener in listeners:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in listeners]


def get(port: int, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        return response.status, response.read()


@contextlib.contextmanager
def process(command: list[object], log: pathlib.Path, port: int, path: str) -> Iterator[None]:
    """A program that runs until the block ends, and that answers 200 to `path` when it begins."""
    with open(log, "wb") as sink:
        running = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            with contextlib.suppress(OSError):
                if get(port, path)[0] == 200:
                    break
            if running.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{command[0]} does not answer {path}:\n{log.read_text(errors='replace')[-2000:]}")
            time.sleep(0.1)
        yield
    finally:
        running.terminate()
        running.wait(60)


def ask(prometheus: int, query: str) -> tuple[list, str]:
    """The result, or what is wrong with the query."""
    status, body = get(prometheus, "/api/v1/query?" + urllib.parse.urlencode({"query": query}))
    answer = json.loads(body)
    return (answer["data"]["result"], "") if status == 200 else ([], answer["error"])


def wait_until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {WAIT_S} s: {what}")
        time.sleep(0.1)
