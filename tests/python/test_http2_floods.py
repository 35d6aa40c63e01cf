"""HTTP/2 frames that no honest client sends: the connection ends or is answered, memory stays, and others are served."""

from collections.abc import Iterable, Iterator

import pytest

import honest
import http2
from http2 import ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE
from http2 import call, frame, header, integer
from nereid_process import Nereid

GROWTH = 64 << 20
PROTOCOL_ERROR, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR, ENHANCE_YOUR_CALM = 1, 3, 6, 11


def many(data: bytes, count: int) -> Iterator[bytes]:
    return (data * 1000 for _ in range(count // 1000))


def opened(stream: int, flags: int = END_HEADERS, block: bytes | None = None) -> bytes:
    return frame(HEADERS, flags, stream, call() if block is None else block)


BIG = header("x-big", "b" * 3900, first=0x40)  # fills the table
AGAIN = b"\xbe" * 16_000  # and is named again and again

# name: (what is sent, the error that the server ends the connection with)
ENDED: dict[str, tuple[Iterable[bytes], int]] = {
    "settings_nobody_asked_for": (many(frame(SETTINGS, ACK), 100_000), PROTOCOL_ERROR),
    "rapid_reset": ((opened(i) + frame(RST_STREAM, 0, i, b"\0\0\0\x08") for i in range(1, 100_000, 2)), ENHANCE_YOUR_CALM),
    "continuation_without_end": ([opened(1, 0), *many(frame(CONTINUATION, 0, 1), 100_000)], ENHANCE_YOUR_CALM),
    "continuation_full": ([opened(1, 0), *many(frame(CONTINUATION, 0, 1, header("a", "b" * 100)), 100_000)], ENHANCE_YOUR_CALM),
    "hpack_bomb": ([opened(i, END_HEADERS, call(http2.INFER, BIG) + AGAIN) for i in range(1, 400, 2)], ENHANCE_YOUR_CALM),
    "hpack_table_of_4_gib": ([opened(1, END_HEADERS, integer(1 << 32, 5, 0x20) + call())], PROTOCOL_ERROR),
    "headers_of_64_kb": ([opened(1, END_HEADERS, call(http2.INFER, *(header(f"a{i}", "b" * 1000) for i in range(64))))], ENHANCE_YOUR_CALM),
    "empty_data": ([opened(1), *many(frame(DATA, 0, 1), 100_000)], ENHANCE_YOUR_CALM),
    "window_of_zero": ([frame(WINDOW_UPDATE, 0, 0, bytes(4))], PROTOCOL_ERROR),
    "window_overflows": ([frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff")] * 2, FLOW_CONTROL_ERROR),
    "too_many_streams": ([opened(i) for i in range(1, 20_000, 2)], ENHANCE_YOUR_CALM),
    "frame_of_16_mb": ([b"\xff\xff\xff" + frame(DATA, 0, 1)[3:] + bytes(1000)], FRAME_SIZE_ERROR),
    "garbage": ([b"\x5a" * 100_000], FRAME_SIZE_ERROR),
}


@pytest.mark.parametrize("name", ENDED)
def test_the_connection_is_ended(server: Nereid, name: str) -> None:
    honest.over_grpc(server)
    before = server.resident()
    pieces, error = ENDED[name]
    with http2.Connection(server.grpc_port) as connection:
        assert connection.flood(pieces) in ("sent", "closed")
        goaway = connection.until(GOAWAY)
        assert goaway and int.from_bytes(goaway[3][4:8], "big") == error, goaway
        assert connection.ends()
    assert server.resident() - before < GROWTH
    honest.over_grpc(server)


# name: what is sent; the server has to read it, and may answer it
BORNE: dict[str, Iterable[bytes]] = {
    "settings": many(frame(SETTINGS, 0, 0, b"\0\4\0\0\xff\xff"), 300_000),
    "pings": many(frame(PING, 0, 0, b"12345678"), 300_000),
    "window_updates": many(frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"), 300_000),
    "priorities": many(frame(PRIORITY, 0, 1, b"\0\0\0\0\1"), 300_000),
    "unknown_frames": many(frame(0x77, 0, 0, bytes(100)), 100_000),
}


@pytest.mark.parametrize("name", BORNE)
def test_nobody_else_notices(server: Nereid, name: str) -> None:
    """Nothing that comes back is read: the server may stop reading, but not gather answers."""
    honest.over_grpc(server)
    before = server.resident()
    with http2.Connection(server.grpc_port) as connection:
        connection.flood(BORNE[name])
        honest.over_grpc(server)
        assert server.resident() - before < GROWTH
    honest.over_grpc(server)


def test_a_message_that_claims_2_gib_costs_nothing(server: Nereid) -> None:
    """Fifty calls, each with a prefix that claims the most that is allowed, and nothing after it."""

    def mapped() -> int:
        with open(f"/proc/{server.process.pid}/statm") as statm:
            return 4096 * int(statm.read().split()[0])

    honest.over_grpc(server)
    resident, virtual = server.resident(), mapped()
    with http2.Connection(server.grpc_port) as connection:
        for stream in range(1, 101, 2):
            connection.send(opened(stream) + frame(DATA, 0, stream, b"\0\x7f\xff\xff\xff" + bytes(stream)))
        connection.send(frame(PING, 0, 0, b"12345678"))
        assert connection.until(PING)  # all that was sent before has been read
        honest.over_grpc(server)
        assert server.resident() - resident < GROWTH
        assert mapped() - virtual < 2 << 30, "memory was reserved for what is only claimed"
        # One byte more than is allowed is refused at once.
        connection.send(opened(101) + frame(DATA, 0, 101, b"\0\x80\0\0\0"))
        refused = next(f for f in connection.frames() if f[0] == HEADERS and f[2] == 101)
        assert b"grpc-status" in refused[3] or refused[1] & END_STREAM
    honest.over_grpc(server)


def test_data_in_single_bytes(server: Nereid) -> None:
    """A large message in one-byte frames: it costs the sender ten times its size, and the server no more than that."""
    honest.over_grpc(server)
    before = server.resident()
    with http2.Connection(server.grpc_port) as connection:
        connection.send(opened(1) + frame(DATA, 0, 1, b"\0\x7f\xff\xff\xff"))
        connection.flood(many(frame(DATA, 0, 1, b"\0"), 300_000))
        honest.over_grpc(server)
        assert server.resident() - before < GROWTH
    honest.over_grpc(server)


def test_a_preface_that_never_ends(server: Nereid) -> None:
    connections = [http2.socket.create_connection(("127.0.0.1", server.grpc_port), 10) for _ in range(200)]
    for number, connection in enumerate(connections):
        connection.sendall(http2.PREFACE[: number % len(http2.PREFACE)])
    honest.over_grpc(server)
    for connection in connections:
        connection.close()
    honest.over_grpc(server)
