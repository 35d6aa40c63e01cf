"""A bound on the memory of requests in flight: what is too much is refused with a reason, nobody else is disturbed, and every byte comes back."""

import contextlib
import gzip
import http.client
import json
import pathlib
import re
import socket
import threading
from collections.abc import Callable, Iterator

import grpc
import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
import tritonclient.utils.shared_memory as shm
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

import http2
import models
from exposition import value
from nereid_process import Answer, Nereid, serving, wait_until

MIB = 1 << 20
LIMIT = 8 * MIB
MOST = LIMIT - LIMIT // 8
"""What one request that is not small may have."""
WEEKS_MS = 2_000_000_000
WAIT_S = 30
BUSY = re.compile(
    rf"Exceeds maximum bytes in flight: the request wants \d+ bytes, and \d+ bytes of the limit of {LIMIT} bytes are in flight\. "
    r"Use --max-inflight-bytes to increase the limit\."
)
NEVER = re.compile(
    rf"Exceeds maximum bytes in flight: the request wants \d+ bytes and can never be served, as one request may have {MOST} bytes "
    rf"of the limit of {LIMIT} bytes\. Use --max-inflight-bytes to increase the limit\."
)
HEADER_LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nereid]:
    repository = tmp_path_factory.mktemp("in_flight")
    models.write_identity(repository, "echo", [("UINT8", [-1])])
    models.write_identity(repository, "numbers", [("FP32", [-1])])
    alone = "instance_group [ { kind: KIND_CPU count: 1 } ]"
    models.write_identity(repository, "steady", [("UINT8", [-1])], parameters={"execute_delay_ms": 50}, more=alone)
    models.write_identity(repository, "endless", [("UINT8", [-1])], parameters={"execute_delay_ms": WEEKS_MS}, more=alone)
    flags = [f"--max-inflight-bytes={LIMIT}", "--allow-client-shm=true", "--model-control-mode=explicit", "--load-model=*"]
    with serving(repository, tmp_path_factory.mktemp("log") / "log", *flags) as server:
        yield server


@pytest.fixture
def server(shared: Nereid) -> Iterator[Nereid]:
    yield shared
    wait_in_flight(shared, 0)


def in_flight(server: Nereid) -> int:
    return int(value(server, "nereid_inflight_bytes"))


def rejected(server: Nereid) -> int:
    return int(value(server, "nereid_inflight_rejected_requests"))


def wait_in_flight(server: Nereid, expected: int) -> None:
    wait_until(lambda: in_flight(server) == expected, WAIT_S, f"{expected} bytes in flight, not {in_flight(server)}")


def body(size: int, fill: int = 7) -> tuple[bytes, dict[str, str]]:
    """A request of `size` bytes in all with one binary input, and its header."""
    head = b""
    data = size
    while len(head) + data != size or not head:
        data = size - len(head)
        tensor = {"name": "INPUT0", "datatype": "UINT8", "shape": [data], "parameters": {"binary_data_size": data}}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        head += b" " * (len(head) % 2)
    return head + bytes([fill]) * data, {HEADER_LENGTH: str(len(head))}


def infer(server: Nereid, model: str, size: int) -> Answer:
    return server.post(f"/v2/models/{model}/infer", *body(size))


def refused(answer: Answer, status: int, text: re.Pattern[str]) -> None:
    assert answer.status == status, answer.body[:300]
    assert text.fullmatch(answer.error()), answer.error()
    assert answer.headers["Retry-After"] == ("1" if status == 503 else None)


@contextlib.contextmanager
def occupied(server: Nereid, size: int, beside: int = 0) -> Iterator[None]:
    """A request of so many bytes runs meanwhile, beside others that run already and have `beside` bytes."""
    wait_in_flight(server, beside)  # the last answer may have been read before it was let go
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=30)
    try:
        connection.request("POST", "/v2/models/endless/infer", *body(size))
        wait_in_flight(server, beside + size)
        yield
    finally:
        connection.close()
    wait_in_flight(server, beside)


def together(count: int, work: Callable[[int], None]) -> None:
    failures = []

    def run(index: int) -> None:
        try:
            work(index)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=[index]) for index in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


def test_of_a_flood_over_http_some_are_answered_and_the_others_told_to_come_again(server: Nereid) -> None:
    before, statuses = rejected(server), []

    def client(index: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
        connection.connect()
        first = connection.sock
        for _ in range(4):
            request, headers = body(MIB, fill=index)
            connection.request("POST", "/v2/models/steady/infer", request, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers, response.read())
            statuses.append(answer.status)
            if answer.status == 200:
                data = answer.body[int(answer.headers[HEADER_LENGTH]) :]
                assert data and data == bytes([index]) * len(data)
            else:
                refused(answer, 503, BUSY)
            assert connection.sock is first, "the connection goes on"
        connection.close()

    together(16, client)
    assert set(statuses) == {200, 503}
    assert rejected(server) - before == statuses.count(503)


def test_of_a_flood_over_grpc_some_are_answered_and_the_others_told_to_come_again(server: Nereid) -> None:
    before, refusals = rejected(server), []
    with grpcclient.InferenceServerClient(server.grpc) as client:

        def infer(index: int) -> None:
            tensor = grpcclient.InferInput("INPUT0", [MIB], "UINT8")
            tensor.set_data_from_numpy(np.full(MIB, index, np.uint8))
            try:
                output = client.infer("steady", [tensor]).as_numpy("OUTPUT0")
            except InferenceServerException as failure:
                assert failure.status() == "StatusCode.UNAVAILABLE"
                assert BUSY.fullmatch(failure.message()), failure.message()
                refusals.append(index)
            else:
                assert (output == index).all() and len(output) == MIB

        together(32, infer)
        assert 0 < len(refusals) < 32
        assert rejected(server) - before == len(refusals)
        wait_in_flight(server, 0)
        infer(99)
    assert 99 not in refusals, "the same connection"


def test_a_giant_keeps_out_large_requests_and_no_small_ones(server: Nereid) -> None:
    with occupied(server, MOST), grpcclient.InferenceServerClient(server.grpc) as client:
        refused(infer(server, "echo", LIMIT // 4), 503, BUSY)
        assert infer(server, "echo", LIMIT // 64).status == 200
        small = LIMIT // 64
        with occupied(server, small, MOST), occupied(server, small, MOST + small):
            assert infer(server, "echo", 1000).status == 200
        for path in ("/v2/health/ready", "/v2/health/live", "/v2", "/v2/models/echo", "/v2/models/echo/stats"):
            assert server.get(path).status == 200
        assert client.is_server_ready() and client.get_model_metadata("echo").name == "echo"


def test_nothing_is_refused_but_inference_when_nothing_is_left(server: Nereid) -> None:
    with contextlib.ExitStack() as stack:
        beside = 0
        for size in (MOST, *[LIMIT // 64] * 8):
            stack.enter_context(occupied(server, size, beside))
            beside += size
        assert in_flight(server) == LIMIT
        refused(infer(server, "echo", 300), 503, BUSY)
        with grpcclient.InferenceServerClient(server.grpc) as client:
            tensor = grpcclient.InferInput("INPUT0", [9], "UINT8")
            tensor.set_data_from_numpy(np.zeros(9, np.uint8))
            with pytest.raises(InferenceServerException, match=BUSY):
                client.infer("echo", [tensor])
            assert client.is_server_live() and client.is_model_ready("echo") and client.get_server_metadata().name
        assert server.get("/v2/health/ready").status == 200
        assert server.post("/v2/repository/index", {"ready": True}).status == 200
        assert server.post("/v2/logging", {"log_info": True}).status == 200


def test_a_grpc_client_that_retries_by_itself_is_told_when(server: Nereid) -> None:
    with occupied(server, MOST), grpc.insecure_channel(server.grpc) as channel:
        tensor = service_pb2.ModelInferRequest.InferInputTensor(name="INPUT0", datatype="UINT8", shape=[MIB])
        request = service_pb2.ModelInferRequest(model_name="echo", inputs=[tensor], raw_input_contents=[bytes(MIB)])
        with pytest.raises(grpc.RpcError) as refusal:
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
        assert ("grpc-retry-pushback-ms", "1000") in refusal.value.trailing_metadata()


def test_what_can_never_fit_is_told_so(server: Nereid) -> None:
    refused(infer(server, "echo", MOST + 1), 400, NEVER)
    assert infer(server, "echo", MOST).status == 200
    with grpcclient.InferenceServerClient(server.grpc) as client:
        tensor = grpcclient.InferInput("INPUT0", [MOST], "UINT8")
        tensor.set_data_from_numpy(np.zeros(MOST, np.uint8))
        with pytest.raises(InferenceServerException) as refusal:
            client.infer("echo", [tensor])
        assert refusal.value.status() == "StatusCode.INVALID_ARGUMENT"
        assert NEVER.fullmatch(refusal.value.message())
        assert client.is_server_ready()


def sender(server: Nereid, announced: int | None) -> socket.socket:
    """A client that has sent the head of a request."""
    length = "Transfer-Encoding: chunked" if announced is None else f"Content-Length: {announced}"
    connection = socket.create_connection(("127.0.0.1", server.http_port), 30)
    connection.sendall(f"POST /v2/models/echo/infer HTTP/1.1\r\nHost: x\r\n{HEADER_LENGTH}: 0\r\n{length}\r\n\r\n".encode())
    return connection


def test_what_is_only_announced_is_not_counted(server: Nereid) -> None:
    announcing = [sender(server, MOST) for _ in range(20)]
    assert infer(server, "echo", MOST // 2).status == 200
    wait_in_flight(server, 0)
    for index, client in enumerate(announcing[:3]):
        client.sendall(bytes(MIB))
        wait_in_flight(server, (index + 1) * MIB)
    assert infer(server, "echo", MOST // 2).status == 200
    for client in announcing:
        client.close()


@pytest.mark.parametrize("announced", [MOST, None])
def test_a_slow_sender_has_what_it_has_sent_until_it_vanishes(server: Nereid, announced: int | None) -> None:
    client = sender(server, announced)
    sent = 0
    for _ in range(5):
        piece = bytes(MIB)
        client.sendall(piece if announced else b"%x\r\n%b\r\n" % (len(piece), piece))
        sent += len(piece)
        wait_in_flight(server, sent)
    refused(infer(server, "echo", 3 * MIB), 503, BUSY)
    assert infer(server, "echo", MIB).status == 200
    client.close()
    wait_in_flight(server, 0)
    assert infer(server, "echo", 3 * MIB).status == 200


def test_slow_senders_together_have_no_more_than_the_limit(server: Nereid) -> None:
    clients = [sender(server, 4 * MIB) for _ in range(4)]
    before = rejected(server)
    for client in clients:
        client.sendall(bytes(2 * MIB))
    wait_until(lambda: rejected(server) == before + 1, WAIT_S, "one is refused")
    wait_in_flight(server, 6 * MIB)
    for client in clients:
        client.close()


def test_a_grpc_message_counts_as_it_comes(server: Nereid) -> None:
    with http2.Connection(server.grpc_port) as client:
        assert client.until(http2.SETTINGS) and client.until(http2.WINDOW_UPDATE), "until then little may be sent"
        client.send(http2.frame(http2.SETTINGS, http2.ACK))
        client.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 1, http2.call()))
        message = b"\0" + (3 * MIB).to_bytes(4, "big") + bytes(2 * MIB)
        for at in range(0, len(message), 16384):
            client.send(http2.frame(http2.DATA, 0, 1, message[at : at + 16384]))
        wait_in_flight(server, 2 * MIB)
        client.send(http2.frame(http2.RST_STREAM, 0, 1, (8).to_bytes(4, "big")))
        wait_in_flight(server, 0)
        # Shorter ones are passed on as they come, and count until they are there; the first frame has the prefix, too.
        client.send(http2.frame(http2.HEADERS, http2.END_HEADERS, 3, http2.call()))
        message = b"\0" + (MIB // 2).to_bytes(4, "big") + bytes(MIB // 4)
        for at in range(0, len(message), 16384):
            client.send(http2.frame(http2.DATA, 0, 3, message[at : at + 16384]))
        wait_until(lambda: in_flight(server) >= MIB // 4 - 16384, WAIT_S, "it counts")
    wait_in_flight(server, 0)


def test_a_stream_goes_on_after_a_refusal(server: Nereid) -> None:
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="INPUT0", datatype="UINT8", shape=[MIB // 2])

    def requests() -> Iterator[service_pb2.ModelInferRequest]:
        for index in range(20):
            yield service_pb2.ModelInferRequest(id=str(index), model_name="echo", inputs=[tensor], raw_input_contents=[bytes([index]) * (MIB // 2)])
            if index == 9:
                wait_until(lambda: len(answers) == 10, WAIT_S, "the first half is answered")
                stack.close()

    answers = []
    with contextlib.ExitStack() as stack, grpc.insecure_channel(server.grpc) as channel:
        stack.enter_context(occupied(server, MOST))
        for answer in service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(requests()):
            answers.append(answer)
    for index, answer in enumerate(answers):
        if index < 10:
            assert BUSY.fullmatch(answer.error_message) and answer.infer_response.id in ("", str(index)), "known once it is there"
        else:
            assert answer.infer_response.raw_output_contents[0] == bytes([index]) * (MIB // 2)
    assert len(answers) == 20


@pytest.mark.parametrize("encoding", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_a_stream_goes_on_after_a_message_that_is_refused_as_it_comes(server: Nereid, encoding: grpc.Compression) -> None:
    def request(size: int) -> service_pb2.ModelInferRequest:
        tensor = service_pb2.ModelInferRequest.InferInputTensor(name="INPUT0", datatype="UINT8", shape=[size])
        return service_pb2.ModelInferRequest(id=str(size), model_name="echo", inputs=[tensor], raw_input_contents=[bytes(size)])

    sizes = (100, 2 * MIB, 300, LIMIT, MIB // 2, 200)
    with occupied(server, MOST), grpc.insecure_channel(server.grpc) as channel:
        requests = iter([request(size) for size in sizes])
        answers = list(service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(requests, compression=encoding))
    assert len(answers) == len(sizes)
    for size, answer in zip(sizes, answers, strict=True):
        if size < 1000:
            assert answer.infer_response.id == str(size) and not answer.error_message
        else:
            # What a compressed message would need nobody knows before it does not fit any more.
            never = size == LIMIT and encoding == grpc.Compression.NoCompression
            assert (NEVER if never else BUSY).fullmatch(answer.error_message), answer.error_message


def test_a_stream_gives_back_what_it_had(server: Nereid) -> None:
    tensor = service_pb2.ModelInferRequest.InferInputTensor(name="INPUT0", datatype="UINT8", shape=[MIB])
    request = service_pb2.ModelInferRequest(model_name="endless", inputs=[tensor], raw_input_contents=[bytes(MIB)])
    with grpc.insecure_channel(server.grpc) as channel:
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter([request] * 3))
        wait_in_flight(server, 3 * request.ByteSize())
        call.cancel()
        wait_in_flight(server, 0)


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_an_inflated_body_counts(server: Nereid, encoding: str) -> None:
    with httpclient.InferenceServerClient(server.http) as client:

        def infer(size: int) -> httpclient.InferResult:
            tensor = httpclient.InferInput("INPUT0", [size], "UINT8")
            tensor.set_data_from_numpy(np.zeros(size, np.uint8))
            return client.infer("echo", [tensor], request_compression_algorithm=encoding)

        assert len(infer(6 * MIB).as_numpy("OUTPUT0")) == 6 * MIB
        with pytest.raises(InferenceServerException, match=NEVER):
            infer(LIMIT)
        with occupied(server, 3 * MIB):
            with pytest.raises(InferenceServerException, match=BUSY):
                infer(6 * MIB)
            assert len(infer(2 * MIB).as_numpy("OUTPUT0")) == 2 * MIB


def test_an_inflated_message_counts(server: Nereid) -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client:

        def infer(size: int) -> grpcclient.InferResult:
            tensor = grpcclient.InferInput("INPUT0", [size], "UINT8")
            tensor.set_data_from_numpy(np.zeros(size, np.uint8))
            return client.infer("echo", [tensor], compression_algorithm="gzip")

        assert len(infer(6 * MIB).as_numpy("OUTPUT0")) == 6 * MIB
        with pytest.raises(InferenceServerException, match=NEVER):
            infer(LIMIT)
        with occupied(server, 3 * MIB):
            with pytest.raises(InferenceServerException, match=BUSY):
                infer(6 * MIB)
            assert len(infer(2 * MIB).as_numpy("OUTPUT0")) == 2 * MIB


def test_a_bomb_is_refused_before_it_goes_off(server: Nereid) -> None:
    bomb = gzip.compress(bytes(60 * MIB))
    answer = server.post("/v2/models/echo/infer", bomb, {"Content-Encoding": "gzip", HEADER_LENGTH: "0"})
    refused(answer, 400, NEVER)


def test_an_answer_in_json_counts_before_it_is_written(server: Nereid) -> None:
    def numbers(count: int) -> Answer:
        data = np.linspace(0, 1, count, dtype=np.float32).tobytes()
        tensor = {"name": "INPUT0", "datatype": "FP32", "shape": [count], "parameters": {"binary_data_size": len(data)}}
        head = json.dumps({"inputs": [tensor]}).encode()
        return server.post("/v2/models/numbers/infer", head + data, {HEADER_LENGTH: str(len(head))})

    assert len(numbers(MIB // 8).json()["outputs"][0]["data"]) == MIB // 8
    refused(numbers(MIB // 2), 400, NEVER)
    with occupied(server, 5 * MIB):
        refused(numbers(MIB // 8), 503, BUSY)


def test_json_counts_with_what_it_becomes(server: Nereid) -> None:
    def zeros(count: int) -> Answer:
        data = ",".join(["0"] * count)
        text = f'{{"inputs":[{{"name":"INPUT0","datatype":"FP32","shape":[{count}],"data":[{data}]}}],"parameters":{{"binary_data_output":true}}}}'
        return server.post("/v2/models/numbers/infer", text.encode())

    assert zeros(MIB).status == 200
    with occupied(server, 4 * MIB):
        refused(zeros(MIB), 503, BUSY)


def test_what_is_read_from_shared_memory_counts(server: Nereid) -> None:
    size, key = 4 * MIB, "/nereid_in_flight"
    region = shm.create_shared_memory_region("r", key, size)
    try:
        shm.set_shared_memory_region(region, [np.arange(size, dtype=np.uint8)])
        with httpclient.InferenceServerClient(server.http) as client, grpcclient.InferenceServerClient(server.grpc) as other:
            client.register_system_shared_memory("r", key, size)

            def infer(module: object, client: object) -> object:
                tensor = module.InferInput("INPUT0", [size], "UINT8")
                tensor.set_shared_memory("r", size)
                return client.infer("echo", [tensor]).as_numpy("OUTPUT0")

            for module, sender in ((httpclient, client), (grpcclient, other)):
                assert (infer(module, sender) == np.arange(size, dtype=np.uint8)).all()
                with occupied(server, 4 * MIB), pytest.raises(InferenceServerException, match=BUSY):
                    infer(module, sender)
            client.unregister_system_shared_memory("r")
    finally:
        shm.destroy_shared_memory_region(region)


def test_files_of_load_requests_count(server: Nereid) -> None:
    config = json.dumps({"backend": "identity"})
    with httpclient.InferenceServerClient(server.http) as client, grpcclient.InferenceServerClient(server.grpc) as other:
        for index, sender in enumerate((client, other)):
            files = {"file:1/data": bytes(MIB)}
            with occupied(server, MOST), pytest.raises(InferenceServerException, match=BUSY):
                sender.load_model("new", config=config, files=files)
            sender.load_model(f"new{index}", config=config, files=files)
            sender.unload_model(f"new{index}")


def test_generate_counts(server: Nereid) -> None:
    request = {"INPUT0": [0.5] * MIB}
    with occupied(server, MOST):
        refused(server.post("/v2/models/numbers/generate", request), 503, BUSY)
    refused(server.post("/v2/models/numbers/generate", request), 400, NEVER)
    assert server.post("/v2/models/numbers/generate", {"INPUT0": [0.5] * 1000}).status == 200


def test_an_answer_counts_until_it_is_written(server: Nereid) -> None:
    request, headers = body(4 * MIB)
    client = socket.create_connection(("127.0.0.1", server.http_port), 30)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    head = f"POST /v2/models/echo/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(request)}\r\n{HEADER_LENGTH}: {headers[HEADER_LENGTH]}\r\n\r\n"
    client.sendall(head.encode() + request)
    client.recv(1)
    assert in_flight(server) > 3 * MIB, "most of it waits for the client"
    client.close()
    wait_in_flight(server, 0)


def test_no_limit_and_one_that_makes_no_sense(tmp_path: pathlib.Path) -> None:
    models.write_identity(tmp_path / "repository", "echo", [("UINT8", [-1])])
    with serving(tmp_path / "repository", tmp_path / "log", "--max-inflight-bytes=0") as server:
        assert infer(server, "echo", 40 * MIB).status == 200
        assert "requests in flight have no limit" in server.log()
        assert "nereid_inflight_limit_bytes " not in server.metrics()
    failed = Nereid(tmp_path / "repository", tmp_path / "failed", "--max-inflight-bytes=-1")
    assert failed.ended() == 1
    assert "max-inflight-bytes" in failed.log() and "Got -1" in failed.log()
