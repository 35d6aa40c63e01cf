"""TLS and mutual TLS, over gRPC and HTTP, with the real clients and with clients that do not fit."""

import asyncio
import contextlib
import http.client
import pathlib
import socket
import ssl
from collections.abc import Iterator

import gevent.ssl
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.grpc.aio as grpcaio
import tritonclient.http as httpclient
import tritonclient.http.aio as httpaio
from tritonclient.utils import InferenceServerException

import digits
import models
from certificates import Authority
from nereid_process import Nereid, serving, wait_until

MNIST = models.ROOT / "model_repository"
DEADLINE_S = 20


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("other"), "other")


def flags(endpoint: str, certificate: str, key: str, root: object = None) -> list[str]:
    """Flags of one endpoint: mutual TLS if there is a root for clients."""
    files = [f"--{endpoint}-server-cert={certificate}", f"--{endpoint}-server-key={key}"]
    mutual = [f"--{endpoint}-use-ssl-mutual=true", f"--{endpoint}-root-cert={root}"]
    return files + (mutual if root else [f"--{endpoint}-use-ssl=true"])


@pytest.fixture(scope="module")
def server(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    identity = authority.issue("server")
    all_flags = flags("grpc", *identity) + flags("http", *identity) + ["--log-verbose=1"]
    with serving(MNIST, tmp_path_factory.mktemp("tls") / "log", *all_flags, ready=Nereid.wait_listening) as process:
        yield process


@pytest.fixture(scope="module")
def mutual(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    identity = authority.issue("mutual")
    all_flags = flags("grpc", *identity, authority.root) + flags("http", *identity, authority.root)
    with serving(MNIST, tmp_path_factory.mktemp("mutual") / "log", *all_flags, ready=Nereid.wait_listening) as process:
        yield process


def tensors(client: object) -> list:
    tensor = client.InferInput("input", [1, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(digits.image("seven")[None])
    return [tensor]


def context(authority: Authority, identity: tuple[str, str] | None = None, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=authority.root)
    if identity:
        context.load_cert_chain(*identity)
    if version:
        context.minimum_version = context.maximum_version = version
    return context


def grpc_answers(server: Nereid, authority: Authority, identity: tuple[str, str] | None = None) -> bool:
    certificate, key = identity or (None, None)
    secured = dict(ssl=True, root_certificates=str(authority.root), private_key=key, certificate_chain=certificate)
    with grpcclient.InferenceServerClient(server.grpc, **secured) as client:
        result = client.infer("mnist_mlp", tensors(grpcclient), client_timeout=DEADLINE_S)
    return int(result.as_numpy("output").argmax()) == 7


def http_answers(server: Nereid, authority: Authority, identity: tuple[str, str] | None = None) -> bool:
    options = {"ca_certs": str(authority.root)}
    if identity:
        options |= {"certfile": identity[0], "keyfile": identity[1]}
    factory = gevent.ssl.create_default_context
    client = httpclient.InferenceServerClient(server.http, ssl=True, ssl_options=options, ssl_context_factory=factory)
    with client:
        return int(client.infer("mnist_mlp", tensors(httpclient)).as_numpy("output").argmax()) == 7


def test_both_clients_are_answered_and_check_the_server(server: Nereid, authority: Authority, other: Authority) -> None:
    assert grpc_answers(server, authority) and http_answers(server, authority)
    with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
        grpc_answers(server, other)
    with pytest.raises(ssl.SSLError, match="certificate verify failed"):
        http_answers(server, other)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions_and_the_protocol_that_is_chosen(server: Nereid, authority: Authority, version: ssl.TLSVersion) -> None:
    for port, offered, chosen in [(server.grpc_port, ["http/1.1", "h2"], "h2"), (server.http_port, ["h2", "http/1.1"], "http/1.1")]:
        client = context(authority, version=version)
        client.set_alpn_protocols(offered)
        with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as plain:
            with client.wrap_socket(plain, server_hostname="localhost") as secured:
                assert (secured.version(), secured.selected_alpn_protocol()) == (version.name.replace("_", "."), chosen)


def test_the_asynchronous_clients(server: Nereid, authority: Authority) -> None:
    async def scenario() -> list[np.ndarray]:
        secured = dict(ssl=True, root_certificates=str(authority.root))
        async with grpcaio.InferenceServerClient(server.grpc, **secured) as client:
            over_grpc = await client.infer("mnist_mlp", tensors(grpcaio))
        async with httpaio.InferenceServerClient(server.http, ssl=True, ssl_context=context(authority)) as client:
            over_http = await client.infer("mnist_mlp", tensors(httpaio))
        return [over_grpc.as_numpy("output"), over_http.as_numpy("output")]

    assert [int(logits.argmax()) for logits in asyncio.run(scenario())] == [7, 7]


def test_mutual_tls_refuses_strangers(mutual: Nereid, authority: Authority, other: Authority) -> None:
    friend, stranger = authority.issue("friend"), other.issue("stranger")
    assert grpc_answers(mutual, authority, friend) and http_answers(mutual, authority, friend)
    for identity in (None, stranger):
        with pytest.raises(InferenceServerException, match="UNAVAILABLE"):
            grpc_answers(mutual, authority, identity)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            http_answers(mutual, authority, identity)
    assert grpc_answers(mutual, authority, friend) and http_answers(mutual, authority, friend)


def test_a_large_answer_comes_whole(authority: Authority, tmp_path: pathlib.Path, repository: pathlib.Path) -> None:
    """More than TLS puts into one record, both ways."""
    identity = authority.issue("large")
    value = np.arange(2_000_000, dtype=np.float32)[None]
    with serving(repository, tmp_path / "log", *flags("grpc", *identity), *flags("http", *identity), ready=Nereid.wait_listening) as server:
        for client, url, secured in [
            (grpcclient, server.grpc, dict(root_certificates=str(authority.root))),
            (httpclient, server.http, dict(ssl_options={"ca_certs": str(authority.root)}, ssl_context_factory=gevent.ssl.create_default_context)),
        ]:
            tensor = client.InferInput("INPUT0", list(value.shape), "FP32")
            tensor.set_data_from_numpy(value)
            with client.InferenceServerClient(url, ssl=True, **secured) as connected:
                result = connected.infer("identity_fp32", [tensor])
            np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), value)


def ends(connection: socket.socket) -> bytes:
    """What still comes until the server closes the connection."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            data += piece
    return data


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("endpoint", ["http", "grpc"])
@pytest.mark.parametrize("data", [b"GET /v2 HTTP/1.1\r\nHost: x\r\n\r\n", PREFACE, bytes(1000), b"\x16\x03\x01\xff\xff" + b"\x01" * 70_000])
def test_plain_text_on_a_tls_port_ends(server: Nereid, authority: Authority, endpoint: str, data: bytes) -> None:
    before = server.log().count("TLS handshake failed: ")
    with socket.create_connection(("127.0.0.1", getattr(server, f"{endpoint}_port")), DEADLINE_S) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        assert b"HTTP" not in ends(connection)
    wait_until(lambda: server.log().count("TLS handshake failed: ") > before, 10, "the log says so")
    assert grpc_answers(server, authority) and http_answers(server, authority)


def test_tls_on_a_plain_port_ends(authority: Authority, tmp_path: pathlib.Path) -> None:
    with serving(MNIST, tmp_path / "log") as plain:
        for port in (plain.http_port, plain.grpc_port):
            with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as connection:
                with pytest.raises((ssl.SSLError, ConnectionError)):
                    context(authority).wrap_socket(connection, server_hostname="localhost")
        assert plain.get("/v2/health/ready").status == 200


def test_handshakes_that_stand_still_hold_nobody_up(authority: Authority, tmp_path: pathlib.Path) -> None:
    identity = authority.issue("patient")
    with contextlib.ExitStack() as stack:
        with serving(MNIST, tmp_path / "log", *flags("grpc", *identity), *flags("http", *identity), ready=Nereid.wait_listening) as server:
            for number in range(200):
                port = server.grpc_port if number % 2 else server.http_port
                connection = stack.enter_context(socket.create_connection(("127.0.0.1", port), DEADLINE_S))
                connection.sendall(b"\x16\x03\x01\x02\x00"[: number % 6])
            assert grpc_answers(server, authority) and http_answers(server, authority)
            # and none of them keeps the server from ending, which `serving` looks at


def served_name(port: int, authority: Authority) -> str:
    with socket.create_connection(("127.0.0.1", port), DEADLINE_S) as plain:
        with context(authority).wrap_socket(plain, server_hostname="localhost") as secured:
            return dict(pair for (pair,) in secured.getpeercert()["subject"])["commonName"]


def test_renewed_certificates_are_taken_over(authority: Authority, tmp_path: pathlib.Path) -> None:
    identity = authority.issue("first", file="renewed")
    with serving(MNIST, tmp_path / "log", *flags("grpc", *identity), *flags("http", *identity), ready=Nereid.wait_listening) as server:
        connection = http.client.HTTPSConnection("127.0.0.1", server.http_port, context=context(authority), timeout=DEADLINE_S)
        connection.request("GET", "/v2/health/ready")
        assert connection.getresponse().read() == b""
        authority.issue("second", file="renewed")
        for port in (server.http_port, server.grpc_port):
            wait_until(lambda: served_name(port, authority) == "second", 20, "the new certificate is served")
        certificate = pathlib.Path(identity[0])
        certificate.write_bytes(certificate.read_bytes()[:100])

        def kept() -> bool:
            assert served_name(server.http_port, authority) == "second"
            return "keeping the certificate that was read before: --http-server-cert " in server.log()

        wait_until(kept, 20, "the broken file is noticed")
        connection.request("GET", "/v2/health/ready")  # what is open stays open
        assert connection.getresponse().status == 200
        connection.close()
        authority.issue("third", file="renewed")
        wait_until(lambda: served_name(server.http_port, authority) == "third", 20, "the mended certificate is served")


def unusable(authority: Authority, other: Authority) -> dict[str, tuple[list[str], str]]:
    """name: (flags, what the message says)"""
    certificate, key = authority.issue("good")
    _, another_key = other.issue("another")
    broken = authority.folder / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")
    text = authority.folder / "text.pem"
    text.write_text("no PEM at all\n")
    return {
        "no_certificate_given": (["--grpc-use-ssl=true"], "--grpc-server-cert is needed for TLS and was not given"),
        "no_key_given": (["--http-use-ssl=true", f"--http-server-cert={certificate}"], "--http-server-key is needed for TLS and was not given"),
        "no_root_given": (flags("grpc", certificate, key, " ")[:-1], "--grpc-root-cert is needed for TLS and was not given"),
        "absent": (flags("grpc", "/absent.pem", key), "--grpc-server-cert /absent.pem: cannot be read: No such file or directory"),
        "absent_root": (flags("http", certificate, key, "/absent.pem"), "--http-root-cert /absent.pem: cannot be read: No such file"),
        "a_folder": (flags("grpc", certificate, str(authority.folder)), f"--grpc-server-key {authority.folder}: cannot be read: Is a directory"),
        "broken": (flags("grpc", str(broken), key), f"--grpc-server-cert {broken}: is not valid PEM: "),
        "text": (flags("grpc", str(text), key), f"--grpc-server-cert {text}: holds no certificate"),
        "key_is_a_certificate": (flags("grpc", certificate, certificate), f"--grpc-server-key {certificate}: holds no private key"),
        "another_key": (flags("grpc", certificate, another_key), f"--grpc-server-key {another_key}: cannot be used with --grpc-server-cert {certificate}: "),
        "root_is_a_key": (flags("grpc", certificate, key, key), f"--grpc-root-cert {key}: holds no certificate"),
    }


UNUSABLE = ["no_certificate_given", "no_key_given", "no_root_given", "absent", "absent_root", "a_folder", "broken", "text", "key_is_a_certificate", "another_key", "root_is_a_key"]


@pytest.mark.parametrize("name", UNUSABLE)
def test_files_that_cannot_be_used_end_the_start(authority: Authority, other: Authority, tmp_path: pathlib.Path, name: str) -> None:
    given, message = unusable(authority, other)[name]
    server = Nereid(MNIST, tmp_path / "log", *given)
    assert server.ended(20) == 1
    assert message in server.log()


def test_no_files_are_needed_without_tls_or_without_the_endpoint(tmp_path: pathlib.Path) -> None:
    off = ["--grpc-use-ssl=true", "--allow-grpc=false", "--http-use-ssl=false", "--http-server-cert=/absent.pem"]
    with serving(MNIST, tmp_path / "log", *off) as server:
        assert server.get("/v2/health/ready").status == 200
