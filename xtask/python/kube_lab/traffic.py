"""Clients that ask without a pause and never ask twice: what is lost is counted. A connection is left where the server
said `Connection: close`, and that is all that they do about a server that goes."""

import collections
import contextlib
import http.client
import json
import threading
import time

import tritonclient.grpc

import asking
from cluster import expect, until

TIMEOUT_S = 60


class Traffic:
    """`clients` of each kind ask `model` until the block ends. `kinds` are those of `KINDS`."""

    def __init__(self, hosts: list[tuple[str, int, int]], body: bytes, kinds: tuple[str, ...], clients: int = 4, model: str = asking.MODEL, pause: float = 0.005) -> None:
        self.hosts, self.body, self.model, self.pause = hosts, body, model, pause
        self.path = f"/v2/models/{model}/infer"
        self.over = threading.Event()
        self.good: collections.Counter[str] = collections.Counter()
        self.lost: list[tuple[str, str]] = []
        self.threads = [threading.Thread(target=self.client, args=(kind, hosts[number % len(hosts)])) for kind in kinds for number in range(clients)]
        self.kinds = kinds

    def __enter__(self) -> "Traffic":
        for thread in self.threads:
            thread.start()
        until(lambda: all(self.good[kind] > 50 for kind in self.kinds) or self.lost, "traffic flows")
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()

    def client(self, kind: str, host: tuple[str, int, int]) -> None:
        asks = KINDS[kind](self, *host)
        with contextlib.closing(asks):
            while not self.over.is_set():
                began = time.time()
                try:
                    next(asks)
                    self.good[kind] += 1
                except Exception as error:
                    stamp = time.strftime("%H:%M:%S", time.gmtime(began))
                    self.lost.append((kind, f"{kind} asked {stamp}, {time.time() - began:.3f} s: {type(error).__name__}: {str(error)[:200]}"))
                    asks = KINDS[kind](self, *host)
                self.over.wait(self.pause)

    def kept(self, host: str, port: int, _: int):
        """HTTP on a connection that is kept."""
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        with contextlib.closing(connection):
            while True:
                connection.request("POST", self.path, self.body)
                good(connection.getresponse())  # it closes by itself where the server says so
                yield

    def new(self, host: str, port: int, _: int):
        """HTTP on a new connection for each request."""
        while True:
            with contextlib.closing(http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)) as connection:
                connection.request("POST", self.path, self.body, {"Connection": "close"})
                good(connection.getresponse())
            yield

    def grpc(self, host: str, _: int, port: int):
        """gRPC by tritonclient, on a channel that is kept and not shared."""
        options = [("grpc.use_local_subchannel_pool", 1)]
        client = tritonclient.grpc.InferenceServerClient(f"{host}:{port}", channel_args=options)
        pixels = asking.image(self.body)
        with contextlib.closing(client):
            while True:
                asking.answer(client, tritonclient.grpc, pixels)
                yield

    def says(self) -> str:
        return ", ".join(f"{self.good[kind]} {NAMES[kind]}" for kind in self.kinds)

    def nothing_lost(self, after: str) -> None:
        first = "; ".join(text for _, text in self.lost[:3])
        expect(not self.lost, f"{after}: {len(self.lost)} lost of {sum(self.good.values()) + len(self.lost)}: {first}")


def good(response: http.client.HTTPResponse) -> None:
    text = response.read()
    if response.status != 200 or "outputs" not in json.loads(text):
        raise OSError(f"{response.status}: {text[:200]!r}")


KINDS = {"kept": Traffic.kept, "new": Traffic.new, "grpc": Traffic.grpc}
NAMES = {"kept": "on kept HTTP connections", "new": "on new HTTP connections", "grpc": "by gRPC"}
