"""HTTP/2 by hand: frames as bytes, so that tests can send what no client library would. Headers are never Huffman coded."""

import contextlib
import select
import socket
import struct
from collections.abc import Iterable, Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS = 4
INFER = "/inference.GRPCInferenceService/ModelInfer"


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def integer(value: int, bits: int, first: int) -> bytes:
    """HPACK's integer: `bits` of the first byte, whose other bits are `first`."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = bytearray([first | most]), value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out) + bytes([value])


def header(name: str, value: str, first: int = 0) -> bytes:
    """A literal; `first` 0x40 puts it into the table."""
    return b"".join([bytes([first])] + [integer(len(text), 7, 0) + text.encode() for text in (name, value)])


def call(path: str = INFER, *more: bytes) -> bytes:
    """The header block of a gRPC call."""
    fields = [(":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x"), ("content-type", "application/grpc"), ("te", "trailers")]
    return b"".join([header(*field) for field in fields] + list(more))


class Connection:
    """A connection to a gRPC port whose preface and settings have been sent."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self.buffer = b""
        self.send(PREFACE + frame(SETTINGS))

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def flood(self, pieces: Iterable[bytes], patience_s: float = 2) -> str:
        """Sends without reading. `sent`, or why not all of it was: the server has `closed`, or does not read on (`blocked`)."""
        self.socket.settimeout(patience_s)
        try:
            for piece in pieces:
                self.socket.sendall(piece)
        except TimeoutError:
            return "blocked"
        except (BrokenPipeError, ConnectionResetError):
            return "closed"
        return "sent"

    def frames(self, patience_s: float = 10) -> Iterator[tuple[int, int, int, bytes]]:
        """`(kind, flags, stream, payload)` of what comes, until the connection ends or nothing comes any more."""
        self.socket.settimeout(patience_s)
        while True:
            while len(self.buffer) < 9 or len(self.buffer) < 9 + int.from_bytes(self.buffer[:3], "big"):
                try:
                    data = self.socket.recv(1 << 16)
                except (TimeoutError, ConnectionResetError):
                    return
                if not data:
                    return
                self.buffer += data
            length, kind, flags = int.from_bytes(self.buffer[:3], "big"), self.buffer[3], self.buffer[4]
            (stream,) = struct.unpack(">I", self.buffer[5:9])
            payload, self.buffer = self.buffer[9 : 9 + length], self.buffer[9 + length :]
            yield kind, flags, stream, payload

    def until(self, kind: int, patience_s: float = 10) -> tuple[int, int, int, bytes] | None:
        """The next frame of a kind; `None` if the connection ends first."""
        return next((found for found in self.frames(patience_s) if found[0] == kind), None)

    def ends(self, patience_s: float = 10) -> bool:
        """Whether the server closes the connection."""
        for _ in self.frames(patience_s):
            pass
        self.socket.settimeout(patience_s)
        with contextlib.suppress(ConnectionResetError):
            try:
                return self.socket.recv(1) == b""
            except TimeoutError:
                return False
        return True

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def first(connections: list[Connection], kind: int, patience_s: float = 60) -> Connection | None:
    """The one that gets a frame of a kind first; `None` if nothing comes to any of them for so long."""
    of = {connection.socket: connection for connection in connections}
    while readable := select.select(list(of), [], [], patience_s)[0]:
        for connection in map(of.__getitem__, readable):
            if connection.until(kind, 0.01):
                return connection
    return None
