"""Clients that ask one after the other for as long as they are let, each in its own way, and remember what went wrong."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient

import digits
import honest

BODY = digits.body("seven")


def over_kept_http(port: int) -> Iterator[bool]:
    """Each item is a request, and whether its answer is right; on one connection for as long as the server keeps it."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        while True:
            yield _post(connection)


def over_new_http(port: int) -> Iterator[bool]:
    """A connection for each request."""
    while True:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
            yield _post(connection)


def over_triton_http(port: int) -> Iterator[bool]:
    tensor = httpclient.InferInput("input", [1, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(digits.image("seven")[None])
    with httpclient.InferenceServerClient(f"127.0.0.1:{port}", network_timeout=30) as client:
        while True:
            yield int(client.infer("mnist_mlp", [tensor]).as_numpy("output").argmax()) == 7


def over_triton_grpc(port: int) -> Iterator[bool]:
    own_connection = [("grpc.use_local_subchannel_pool", 1)]
    with grpcclient.InferenceServerClient(f"127.0.0.1:{port}", channel_args=own_connection) as client:
        while True:
            yield honest.is_seven(client.infer("mnist_mlp", honest.tensors(), client_timeout=30))


def _post(connection: http.client.HTTPConnection) -> bool:
    connection.request("POST", honest.INFER, BODY)
    answer = connection.getresponse()
    body = answer.read()
    assert answer.status == 200, body
    return int(np.argmax(honest.outputs(body))) == 7


WAYS = [over_kept_http, over_new_http, over_triton_http, over_triton_grpc]


class Workers:
    """One thread for each of `ways`, `(function, port)`, until `goes_on` or the end of the block says no."""

    def __init__(self, ways: list[tuple[Callable[[int], Iterator[bool]], int]], goes_on: Callable[[], bool] = lambda: True) -> None:
        self.answered = [0] * len(ways)
        self.failures: list[str] = []
        self.goes_on = goes_on
        self.over = threading.Event()
        self.threads = [threading.Thread(target=self._work, args=(number, *way)) for number, way in enumerate(ways)]

    def _work(self, number: int, way: Callable[[int], Iterator[bool]], port: int) -> None:
        requests = way(port)
        try:
            while not self.over.is_set() and self.goes_on():
                if next(requests):
                    self.answered[number] += 1
                else:
                    self.failures.append(f"{way.__name__}: a wrong answer")
        except Exception as error:
            self.failures.append(f"{way.__name__}: {type(error).__name__}: {error}")
        finally:
            requests.close()

    def each_has(self, more: int, than: list[int]) -> bool:
        """Whether each worker has had so many more answers than then; also true when something went wrong."""
        return bool(self.failures) or all(now >= before + more for now, before in zip(self.answered, than, strict=True))

    def join(self) -> None:
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def __enter__(self) -> "Workers":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()
