"""HTTP/1.1 at its limits: chunks, lengths, heads, slow senders, pipelining. Every one is answered or ended, others are served."""

import contextlib
import http.client
import json
import socket

import numpy as np
import pytest

import digits
import honest
from nereid_process import Nereid

INFER = "/v2/models/mnist_mlp/infer"
GROWTH = 64 << 20


def head(*fields: str, path: str = INFER) -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: x", *fields, "", ""]).encode()


def raw(server: Nereid, *pieces: bytes) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer to what is sent, which the server need not read to its end; the connection's end is waited for if it says so."""
    with socket.create_connection(("127.0.0.1", server.http_port), 30) as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for piece in pieces:
                connection.sendall(piece)
        response = http.client.HTTPResponse(connection)
        response.begin()
        body = response.read()
        if response.will_close:
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
        return response, body


def chunks(count: int, data: bytes = b"A") -> list[bytes]:
    chunk = b"%x\r\n%s\r\n" % (len(data), data)
    return [chunk * 1000] * (count // 1000) + [chunk * (count % 1000), b"0\r\n\r\n"]


CHUNKED = head("Transfer-Encoding: chunked", "Inference-Header-Content-Length: 0")
TOO_MANY = "Chunked request body exceeds maximum of 65536 non-empty chunks. Send fewer or larger HTTP chunks."


@pytest.mark.parametrize("count", [65_537, 600_000])
@pytest.mark.parametrize("path", [INFER, "/v2/repository/index"])
def test_too_many_chunks(server: Nereid, count: int, path: str) -> None:
    honest.over_http(server)
    before = server.resident()
    for _ in range(3):
        request = head("Transfer-Encoding: chunked", "Inference-Header-Content-Length: 0", path=path)
        response, body = raw(server, request, *chunks(count))
        assert (response.status, response.headers["Connection"], response.headers["Content-Type"]) == (400, "close", "application/json")
        assert json.loads(body) == {"error": TOO_MANY}
    assert server.resident() - before < GROWTH
    honest.over_http(server)


def test_chunks_up_to_the_cap(server: Nereid) -> None:
    response, body = raw(server, CHUNKED, *chunks(65_536))
    assert response.status == 400 and "Expected 3136, got 65536" in json.loads(body)["error"]
    # Large chunks are not what the cap is about, however many reads each of them takes.
    request = head("Transfer-Encoding: chunked", "Inference-Header-Content-Length: 0", path="/v2/models/identity_fp32/infer")
    response, body = raw(server, request, *chunks(70_000, bytes(512)))
    assert response.status == 200, body
    honest.over_http(server)


def test_chunks_one_by_one(server: Nereid) -> None:
    """Each in a write of its own, as Triton's own test sends them; the answer comes though nobody has stopped sending."""
    pieces = [b"1\r\nA\r\n"] * 70_000
    response, body = raw(server, CHUNKED, *pieces)
    assert response.status == 400 and json.loads(body) == {"error": TOO_MANY}
    honest.over_http(server)


# name: (fields of the head, status, text that the body holds)
LENGTHS: dict[str, tuple[list[str], int, str]] = {
    "over_32_bits": (["Content-Length: 2147483648"], 400, "Unable to parse Content-Length, value is out of range [ -2147483648, 2147483647 ], got: 2147483648"),
    "over_53_bits": (["Content-Length: 9007199254740993"], 400, "got: 9007199254740993"),
    "over_63_bits": (["Content-Length: 9223372036854775808"], 400, "got: 9223372036854775808"),
    "most_of_64_bits": (["Content-Length: 18446744073709551615"], 431, ""),  # as hyper sees it
    "over_64_bits": (["Content-Length: 18446744073709551616"], 400, ""),
    "of_1000_digits": ([f"Content-Length: {'9' * 1000}"], 400, ""),
    "negative": (["Content-Length: -1"], 400, ""),
    "signed": (["Content-Length: +1"], 400, ""),
    "fraction": (["Content-Length: 1.0"], 400, ""),
    "hexadecimal": (["Content-Length: 0x10"], 400, ""),
    "empty": (["Content-Length: "], 400, ""),
    "list": (["Content-Length: 3136, 3136"], 400, ""),
    "two_that_differ": (["Content-Length: 3136", "Content-Length: 3137"], 400, ""),
    "two_with_a_wrong_one": (["Content-Length: 3136", "Content-Length: x"], 400, ""),
    "unknown_coding": (["Transfer-Encoding: brotli"], 400, ""),
    "chunked_not_last": (["Transfer-Encoding: chunked, gzip"], 400, ""),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths(server: Nereid, name: str) -> None:
    fields, status, text = LENGTHS[name]
    response, body = raw(server, head(*fields, "Inference-Header-Content-Length: 0"), bytes(3136))
    assert response.status == status, body
    assert text in body.decode()
    honest.over_http(server)


@pytest.mark.parametrize("fields", [["Content-Length: 3", "Transfer-Encoding: chunked"], ["Transfer-Encoding: chunked", "Content-Length: 3"]])
def test_a_length_beside_chunks_does_not_smuggle(server: Nereid, fields: list[str]) -> None:
    """The chunks count (RFC 9112, 6.3), and the connection ends, so that nothing is left over for a second request."""
    body = b"0\r\n\r\n" + b"GET /v2/health/live HTTP/1.1\r\nHost: x\r\n\r\n"
    response, answer = raw(server, head(*fields), body)
    assert response.status == 400 and response.will_close, answer
    honest.over_http(server)


# name: (what is sent, statuses that will do)
HEADS: dict[str, tuple[bytes, set[int]]] = {
    "200_fields": (head(*(f"A{i}: b" for i in range(200))), {431}),
    "field_of_2_mb": (head("A: " + "b" * 2_000_000), {431}),
    "name_of_100_kb": (head("A" * 100_000 + ": b"), {431}),
    "line_of_1_mb": (b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414, 431}),
    "line_of_100_kb": (b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", {414, 431}),
    "model_name_of_60_kb": (head("Content-Length: 0", path=f"/v2/models/{'a' * 60_000}/infer"), {400, 404}),
    "method_of_1_mb": (b"A" * 1_000_000, {400, 431}),
    "nul_in_a_field": (head("A: \0"), {400}),
    "no_line_end": (b"GET /v2 HTTP/1.1" + b" " * 500_000, {400, 431}),
}


@pytest.mark.parametrize("name", HEADS)
def test_heads(server: Nereid, name: str) -> None:
    before = server.resident()
    data, statuses = HEADS[name]
    response, _ = raw(server, data)
    assert response.status in statuses
    assert server.resident() - before < GROWTH
    honest.over_http(server)


def test_slow_senders_by_the_hundred(server: Nereid) -> None:
    """Heads and bodies that trickle, byte by byte, on 300 connections; honest requests are answered all the while."""
    body = digits.body("seven")
    request = head(f"Content-Length: {len(body)}") + body
    before = server.resident()
    with contextlib.ExitStack() as stack:
        slow = [stack.enter_context(socket.create_connection(("127.0.0.1", server.http_port), 30)) for _ in range(300)]
        sent = [number * len(request) // len(slow) for number in range(len(slow))]  # in the head, in the body, nearly done
        for connection, start in zip(slow, sent):
            connection.sendall(request[:start])
        for step in range(5):
            for connection, start in zip(slow, sent):
                connection.sendall(request[start + step : start + step + 1])
            honest.over_http(server)
        assert server.resident() - before < GROWTH
        for connection, start in zip(slow[:20] + slow[-20:], sent[:20] + sent[-20:]):  # patience is rewarded
            connection.sendall(request[start + 5 :])
            response = http.client.HTTPResponse(connection)
            response.begin()
            assert response.status == 200 and int(np.argmax(json.loads(response.read())["outputs"][0]["data"])) == 7
    honest.over_http(server)


def test_pipelined_requests_are_answered_in_order(server: Nereid) -> None:
    requests = []
    for number in range(100):
        body = json.dumps(digits.request("seven") | {"id": f"number {number}"}).encode()
        requests.append(head(f"Content-Length: {len(body)}") + body)
    with socket.create_connection(("127.0.0.1", server.http_port), 30) as connection:
        connection.sendall(b"".join(requests))
        answers = connection.makefile("rb")
        for number in range(100):
            assert answers.readline() == b"HTTP/1.1 200 OK\r\n"
            fields = dict(line.decode().lower().rstrip().split(": ", 1) for line in iter(answers.readline, b"\r\n"))
            assert json.loads(answers.read(int(fields["content-length"])))["id"] == f"number {number}"
    honest.over_http(server)
