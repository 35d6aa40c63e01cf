"""The response cache in a real Redis server: shared between servers, gone and back, hostile values, credentials.

Needs `redis-server` (Debian's package of that name); without it these tests are skipped.
"""

import contextlib
import pathlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator

import numpy as np
import pytest

import models
from exposition import families
from nereid_process import Nereid, free_port, serving, wait_until
from test_response_cache import CACHED, added, ask, counts

PROGRAM = shutil.which("redis-server")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="no redis-server")


class Redis:
    """A Redis server of its own, in memory."""

    def __init__(self, folder: pathlib.Path, *flags: str) -> None:
        self.port, self.folder, self.flags = free_port(), folder, flags
        self.start()

    def start(self) -> None:
        command = [PROGRAM, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(self.folder), *self.flags]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_until(self.answers, 20, "Redis answers")

    def answers(self) -> bool:
        with contextlib.suppress(OSError):
            return self.send("PING")[:1] in (b"+", b"-")
        return False

    def send(self, *words: str | bytes) -> bytes:
        """One command, and the beginning of its answer."""
        parts = [word if isinstance(word, bytes) else word.encode() for word in words]
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts))
            return connection.recv(1 << 20)

    def keys(self) -> list[bytes]:
        return [word for word in self.send("KEYS", "nereid:response:*").split(b"\r\n") if word.startswith(b"nereid:")]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait()

    def cache(self, **settings: object) -> list[str]:
        """The flags of a server that uses it."""
        all_settings = {"host": "127.0.0.1", "port": self.port} | settings
        return [f"--cache-config=redis,{key}={value}" for key, value in all_settings.items()]


@contextlib.contextmanager
def running(folder: pathlib.Path, *flags: str) -> Iterator[Redis]:
    redis = Redis(folder, *flags)
    try:
        yield redis
    finally:
        redis.stop()


@pytest.fixture
def redis(tmp_path: pathlib.Path) -> Iterator[Redis]:
    with running(tmp_path) as process:
        yield process


@pytest.fixture
def repository(tmp_path: pathlib.Path) -> pathlib.Path:
    folder = tmp_path / "models"
    models.write_identity(folder, "cached", [("FP32", [-1]), ("BYTES", [-1])], more=CACHED)
    return folder


def request(number: float) -> tuple[np.ndarray, np.ndarray]:
    return np.array([number, 2.0], dtype=np.float32), np.array([b"", b"\x00x"], dtype=object)


def check(server: Nereid, protocol: str, number: float) -> None:
    numbers, words = request(number)
    answer = ask(server, protocol, "cached", numbers, words)
    assert [part.tolist() for part in answer] == [numbers.tolist(), words.tolist()]


def stored(redis: Redis, count: int) -> None:
    wait_until(lambda: len(redis.keys()) == count, 10, f"Redis holds {count} answers")


def test_servers_share_answers_and_find_them_after_a_restart(redis: Redis, repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(repository, other)
    with serving(repository, tmp_path / "log", *redis.cache()) as first, serving(other, tmp_path / "log2", *redis.cache()) as second:
        check(first, "http", 1.0)
        stored(redis, 1)
        for server, protocol in ((first, "grpc"), (second, "http"), (second, "grpc")):
            check(server, protocol, 1.0)
        assert (counts(first, "cached"), counts(second, "cached")) == ((2, 1, 1, 1), (2, 0, 2, 0))
        assert "nv_cache_num_hits_per_model" in families(first) and "nv_cache_util" not in families(first)
    with serving(repository, tmp_path / "log3", *redis.cache()) as server:
        check(server, "http", 1.0)
        assert counts(server, "cached") == (1, 0, 1, 0)
    config = repository / "cached/config.pbtxt"
    config.write_text(config.read_text() + 'parameters { key: "execute_delay_ms" value { string_value: "1" } }\n')
    with serving(repository, tmp_path / "log4", *redis.cache()) as server:
        check(server, "http", 1.0)
        assert counts(server, "cached") == (1, 1, 0, 1), "another model"


def test_a_model_file_that_differs_is_another_model(redis: Redis, tmp_path: pathlib.Path) -> None:
    config = 'max_batch_size: 0\ninput [ { name: "INPUT0" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]\n'
    config += 'output [ { name: "OUTPUT0" data_type: TYPE_FP32 dims: [ -1, -1 ] } ]\n' + CACHED
    for n, producer in enumerate(("a", "b", "a")):
        model = models.identity("FP32")
        model.producer_version = producer
        repository = tmp_path / f"models{n}"
        models.write(repository, "cached", model, config)
        with serving(repository, tmp_path / f"log{n}", *redis.cache()) as server:
            ask(server, "http", "cached", np.ones((1, 2), dtype=np.float32))
            assert counts(server, "cached") == ((1, 0, 1, 0) if n == 2 else (1, 1, 0, 1))
            stored(redis, min(n + 1, 2))


def test_requests_go_on_while_redis_is_gone(redis: Redis, repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(repository, tmp_path / "log", *redis.cache()) as server:
        check(server, "http", 1.0)
        stored(redis, 1)
        redis.stop()
        for n in range(20):
            check(server, "http" if n % 2 else "grpc", 1.0)
        assert counts(server, "cached") == (21, 21, 0, 21)
        assert server.log().count("the response cache in Redis is gone, requests run without it:") == 1
        redis.start()
        wait_until(lambda: "the response cache in Redis is back" in server.log(), 30, "it is found again")
        check(server, "http", 1.0)
        stored(redis, 1)
        before = counts(server, "cached")
        check(server, "grpc", 1.0)
        assert added(counts(server, "cached"), before) == (1, 0, 1, 0)


def test_a_restart_of_redis_between_two_requests_goes_unnoticed(redis: Redis, repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(repository, tmp_path / "log", *redis.cache(pool_size=1)) as server:
        check(server, "http", 1.0)
        stored(redis, 1)
        redis.stop()
        redis.start()
        check(server, "http", 1.0)
        stored(redis, 1)
        check(server, "http", 1.0)
        assert counts(server, "cached") == (3, 2, 1, 2)
        assert "is gone" not in server.log()


def test_a_redis_that_hangs_delays_the_first_requests_at_most(redis: Redis, repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(repository, tmp_path / "log", *redis.cache(socket_timeout=100, connect_timeout=100)) as server:
        check(server, "http", 1.0)
        redis.process.send_signal(signal.SIGSTOP)
        for n in range(20):
            check(server, "http", float(n))
        assert server.log().count("is gone, requests run without it:") == 1 and "no answer in time" in server.log()
        assert counts(server, "cached")[:2] == (21, 21)


def test_what_lies_in_redis_is_not_believed(redis: Redis, repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(repository, tmp_path / "log", *redis.cache(pool_size=2)) as server:
        check(server, "http", 1.0)
        stored(redis, 1)
        (key,) = redis.keys()
        good = redis.send("GET", key).split(b"\r\n", 1)[1][:-2]
        hostile = [b"", b"\x01", b"\x02" + good[1:], good[:-1], good + b"\x00", b"\x01" + b"\xff" * 40, good.replace(b"OUTPUT0", b"OUTPUT9")]
        hostile += [good[:at] + b"\xff" + good[at + 1 :] for at in range(1, 34)]  # up to the data, which may be anything
        for n, value in enumerate(hostile):
            assert redis.send("SET", key, value) == b"+OK\r\n"
            check(server, "http" if n % 2 else "grpc", 1.0)
            # What was answered is stored afterwards: it must not come after the next value.
            wait_until(lambda: redis.send("GET", key).endswith(good + b"\r\n"), 10, f"{n} is replaced")
        assert counts(server, "cached") == (1 + len(hostile), 1 + len(hostile), 0, 1 + len(hostile))
        redis.send("DEL", key)
        redis.send("LPUSH", key, "x")  # no string at all
        for _ in range(3):
            check(server, "http", 1.0)
        assert server.log().count("Redis, the response cache, refuses: WRONGTYPE") == 1
        assert "is gone" not in server.log()


def test_a_full_redis_stores_nothing_and_says_so_once(repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with running(tmp_path, "--maxmemory", "1mb", "--maxmemory-policy", "noeviction") as redis, serving(repository, tmp_path / "log", *redis.cache()) as server:
        for n in range(5):
            check(server, "http", float(n))
        wait_until(lambda: "refuses: OOM" in server.log(), 10, "the refusal is in the log")
        check(server, "http", 0.0)
        assert server.log().count("refuses: OOM") == 1
        assert counts(server, "cached")[0] == 6


def test_credentials_and_database(repository: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path, "--requirepass", "redis123!") as redis:
        for settings, variables in (
            ({"password": "redis123!", "db": 3}, {}),
            ({"user": "default", "password": "redis123!"}, {"TRITONCACHE_REDIS_PASSWORD": "wrong"}),
            ({}, {"TRITONCACHE_REDIS_PASSWORD": "redis123!"}),
            ({}, {"TRITONCACHE_REDIS_USERNAME": "default", "TRITONCACHE_REDIS_PASSWORD": "redis123!"}),
        ):
            with monkeypatch.context() as patch:
                for name, text in variables.items():
                    patch.setenv(name, text)
                with serving(repository, tmp_path / "log", *redis.cache(**settings)) as server:
                    check(server, "http", 1.0)
                    assert "redis123!" not in server.log()
        for settings, reason in (({"password": "wrong"}, "WRONGPASS"), ({}, "NOAUTH Authentication required")):
            server = Nereid(repository, tmp_path / "refused", *redis.cache(**settings))
            assert server.ended() == 1
            assert reason in server.log()


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["host=localhost", "port=nonexistent"], "failed to connect to Redis (localhost:0): Connection refused"),
        (["host=nonexistent.invalid", "port=nonexistent"], "failed to connect to Redis (nonexistent.invalid:0): "),
        (["port=6379"], "Must at a minimum specify"),
        (["host=localhost", "port=1", "tls_enabled=true"], "TLS ('tls_enabled') is not supported yet"),
    ],
)
def test_a_redis_that_cannot_be_had_ends_the_server(repository: pathlib.Path, tmp_path: pathlib.Path, flags: list[str], reason: str) -> None:
    start = time.monotonic()
    server = Nereid(repository, tmp_path / "log", *[f"--cache-config=redis,{flag}" for flag in flags])
    assert server.ended() == 1, time.monotonic() - start
    assert reason in server.log()


def test_the_server_ends_while_redis_hangs(redis: Redis, repository: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with serving(repository, tmp_path / "log", *redis.cache()) as server:
        check(server, "http", 1.0)
        redis.process.send_signal(signal.SIGSTOP)
    assert "Timeout" not in server.log()
