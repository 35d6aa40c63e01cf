"""Requests that are refused before their body was read: the client's connection serves its next request, or the answer says that it will not."""

import http.client
import pathlib
from collections.abc import Iterator

import pytest

from nereid_process import Nereid, serving

TIMES = 50
SMALL = b'{"inputs":[]}'
LARGE = b" " * (1 << 20)
REFUSALS = {
    "unknown_model": ("POST", "/v2/models/nosuch/infer", 404),
    "unknown_model_generate": ("POST", "/v2/models/nosuch/generate", 404),
    "unknown_path": ("POST", "/nosuch", 404),
    "wrong_method": ("POST", "/v2/health/ready", 405),
    "restricted": ("POST", "/v2/repository/index", 403),
}


@pytest.fixture(scope="module")
def guarded(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    with serving(repository, tmp_path_factory.mktemp("refused") / "log", "--http-restricted-api=model-repository:key=value") as server:
        yield server


@pytest.mark.parametrize("refusal", REFUSALS)
def test_the_connection_goes_on_after_a_small_body(guarded: Nereid, refusal: str) -> None:
    """http.client sends head and body apart, so that the refusal may be ready before the body is there."""
    method, path, status = REFUSALS[refusal]
    connection = http.client.HTTPConnection("127.0.0.1", guarded.http_port, timeout=30)
    connection.connect()
    socket = connection.sock
    for _ in range(TIMES):
        connection.request(method, path, SMALL)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (status, None)
        answer.read()
    connection.request("GET", "/v2/health/ready")
    assert connection.getresponse().status == 200
    assert connection.sock is socket, "still the first connection"
    connection.close()


def test_after_a_large_body_the_client_is_told_that_the_connection_ends(guarded: Nereid) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", guarded.http_port, timeout=30)
    for _ in range(5):
        connection.request("POST", "/v2/models/nosuch/infer", LARGE * 3)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("Connection")) == (404, "close")
        answer.read()
    connection.close()
