"""Traces in mode opentelemetry: Triton's spans, at a collector of our own, for requests with and without a trace of the client."""

import contextlib
import pathlib
import queue
import re
import shutil
import socket
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tritonclient.utils import InferenceServerException

import certificates
import digits
import models
from collector import Collector
from nereid_process import Nereid, serving, wait_until

LEVEL = "--trace-config=level=TIMESTAMPS"
MODE = "--trace-config=mode=opentelemetry"
HTTP = ["HTTP_RECV_START", "HTTP_RECV_END", "INFER_RESPONSE_COMPLETE", "HTTP_SEND_START", "HTTP_SEND_END"]
GRPC = ["GRPC_WAITREAD_START", "GRPC_WAITREAD_END", "INFER_RESPONSE_COMPLETE", "GRPC_SEND_START", "GRPC_SEND_END"]
REQUEST = ["REQUEST_START", "QUEUE_START", "REQUEST_END"]
COMPUTE = ["COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END"]
TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c12666c", "b7ad6b7169242424"
IN_TRACE = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-01", "tracestate": "vendor=1"}


@pytest.fixture(scope="module")
def folder(repository: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """mnist_mlp, one that takes a minute, and ensembles."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copytree(repository / "mnist_mlp", folder / "mnist_mlp")
    models.write_identity(folder, "slow", [("INT32", [16])], max_batch_size=8, parameters={"execute_delay_ms": 60_000})
    models.write_nested_ensembles(folder)
    return folder


@contextlib.contextmanager
def tracing(folder: pathlib.Path, log: pathlib.Path, collector: Collector | str, *flags: str, rate: int = 1, environment: dict[str, str] | None = None) -> Iterator[Nereid]:
    """A server whose spans go to `collector` at once."""
    address = collector if isinstance(collector, str) else collector.address
    of_rate = f"--trace-config=rate={rate}"
    sending = (f"--trace-config=opentelemetry,url={address}/v1/traces", "--trace-config=opentelemetry,bsp_schedule_delay=0")
    with serving(folder, log / "log", LEVEL, MODE, of_rate, *sending, *flags, environment=environment) as server:
        yield server


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
def traced(folder: pathlib.Path, tmp_path: pathlib.Path, collector: Collector) -> Iterator[Nereid]:
    with tracing(folder, tmp_path, collector) as server:
        yield server


def infer(server: Nereid, model: str = "mnist_mlp", headers: dict[str, str] | None = None, request_id: str = "") -> None:
    if model == "mnist_mlp":
        body = digits.request("one")
    else:
        name = "x" if model in ("inner", "outer") else "INPUT0"
        body = {"inputs": [{"name": name, "shape": [1, 16], "datatype": "INT32", "data": list(range(16))}]}
    assert server.post(f"/v2/models/{model}/infer", body | ({"id": request_id} if request_id else {}), headers).status == 200


def infer_over_grpc(server: Nereid, headers: dict[str, str] | None = None, request_id: str = "") -> None:
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.infer("mnist_mlp", [digit()], headers=headers, request_id=request_id)


def infer_over_a_stream(server: Nereid, headers: dict[str, str] | None = None, times: int = 1) -> None:
    answers: queue.Queue = queue.Queue()
    with grpcclient.InferenceServerClient(server.grpc) as client:
        client.start_stream(lambda result, error: answers.put((result, error)), headers=headers)
        for _ in range(times):
            client.async_stream_infer("mnist_mlp", [digit()])
        assert all(answers.get(timeout=30)[1] is None for _ in range(times))
        client.stop_stream()


def digit() -> grpcclient.InferInput:
    tensor = grpcclient.InferInput("input", [1, 1, 28, 28], "FP32")
    tensor.set_data_from_numpy(digits.image("one")[None])
    return tensor


def events(span: Span) -> list[str]:
    return [event.name for event in span.events]


def attributes(span: Span) -> dict[str, object]:
    return {attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value")) for attribute in span.attributes}


def tree(spans: list[Span]) -> dict[str, list[str]]:
    """The names of the children by the name of their parent; roots have none of these."""
    names = {span.span_id: span.name for span in spans}
    assert len(names) == len(spans)
    children: dict[str, list[str]] = {}
    for span in spans:
        children.setdefault(names.get(span.parent_span_id, ""), []).append(span.name)
    return {parent: sorted(names) for parent, names in children.items()}


def by_trace(spans: list[Span]) -> dict[str, list[Span]]:
    traces: dict[str, list[Span]] = {}
    for span in spans:
        traces.setdefault(span.trace_id.hex(), []).append(span)
    return traces


def roots(spans: list[Span]) -> list[Span]:
    return [span for span in spans if span.name == "InferRequest"]


def test_spans_of_each_protocol(traced: Nereid, collector: Collector) -> None:
    before = time.time_ns()
    infer(traced, request_id="over http")
    infer_over_grpc(traced, request_id="over grpc")
    infer_over_a_stream(traced)
    traces = by_trace(collector.wait_for(9))
    after = time.time_ns()
    assert [len(spans) for spans in traces.values()] == [3, 3, 3]
    for number, (spans, frontend, request_id) in enumerate(zip(traces.values(), [HTTP, GRPC, GRPC], ["over http", "over grpc", None]), 1):
        assert tree(spans) == {"": ["InferRequest"], "InferRequest": ["mnist_mlp"], "mnist_mlp": ["compute"]}
        root, model, compute = spans
        assert (events(root), events(model), events(compute)) == (frontend, REQUEST, COMPUTE)
        of_request = {"triton.model_name": "mnist_mlp", "triton.model_version": 1, "triton.trace_id": number, "triton.trace_parent_id": 0}
        assert attributes(model) == of_request | ({"triton.request_id": request_id} if request_id else {})
        assert attributes(root) == attributes(compute) == {}
        assert (root.parent_span_id, len(root.trace_id), len(root.span_id)) == (b"", 16, 8)
        for span in spans:
            assert (span.kind, span.status.code, span.trace_state) == (Span.SPAN_KIND_SERVER, 0, "")
            moments = [event.time_unix_nano for event in span.events]
            assert moments == sorted(moments), "in their order"
            assert span.start_time_unix_nano == moments[0] and moments[-1] <= span.end_time_unix_nano
            assert before - 10**9 < span.start_time_unix_nano and span.end_time_unix_nano < after + 10**9, "the wall clock's time"
        assert root.start_time_unix_nano <= model.start_time_unix_nano <= compute.start_time_unix_nano
        assert compute.end_time_unix_nano <= model.end_time_unix_nano <= root.end_time_unix_nano


def test_what_goes_over_the_wire(folder: pathlib.Path, tmp_path: pathlib.Path, collector: Collector) -> None:
    flags = [f"--trace-config=opentelemetry,resource={pair}" for pair in ("service.name=mine", "test.key=a=b")]
    environment = {
        "OTEL_RESOURCE_ATTRIBUTES": "k8s.pod.name=pod%201,service.name=theirs",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20secret",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
    }
    with tracing(folder, tmp_path, collector, *flags, environment=environment) as server:
        infer(server)
        collector.wait_for(3)
        assert "secret" not in server.log()
    path, headers, request = collector.requests[0]
    assert (path, headers["content-type"], headers["host"]) == ("/v1/traces", "application/x-protobuf", collector.address)
    assert (headers["authorization"], headers["content-encoding"]) == ("Bearer secret", "gzip")
    (resource,) = request.resource_spans
    (scope,) = resource.scope_spans
    assert scope.scope.name == "triton-server"
    found = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}
    assert found.items() >= {"service.name": "mine", "test.key": "a=b", "k8s.pod.name": "pod 1", "telemetry.sdk.language": "rust"}.items()


def test_an_ensemble_has_its_models_spans(traced: Nereid, collector: Collector) -> None:
    infer(traced, "outer", IN_TRACE, request_id="r")
    spans = collector.wait_for(9)
    expected = {"": ["InferRequest"], "InferRequest": ["outer"], "outer": ["c", "inner"], "inner": ["a", "b"], "a": ["compute"], "b": ["compute"], "c": ["compute"]}
    assert tree(spans) == expected
    assert {span.trace_id.hex() for span in spans} == {TRACE_ID}
    by_name = {span.name: span for span in spans}
    for name, parent in {"outer": None, "inner": "outer", "c": "outer", "a": "inner", "b": "inner"}.items():
        span, found = by_name[name], attributes(by_name[name])
        assert (events(span), found["triton.model_name"], found["triton.request_id"]) == (REQUEST, name, "r")
        assert found["triton.trace_parent_id"] == (attributes(by_name[parent])["triton.trace_id"] if parent else 0)
    moments = [by_name[name].start_time_unix_nano for name in ("outer", "inner", "a", "b", "c")]
    assert moments == sorted(moments) and by_name["a"].end_time_unix_nano <= by_name["b"].start_time_unix_nano


@pytest.mark.parametrize("send", [infer, infer_over_grpc, infer_over_a_stream])
def test_a_request_in_a_clients_trace(traced: Nereid, collector: Collector, send) -> None:
    send(traced, headers=IN_TRACE)
    spans = collector.wait_for(3)
    assert tree(spans) == {"": ["InferRequest"], "InferRequest": ["mnist_mlp"], "mnist_mlp": ["compute"]}
    assert {(span.trace_id.hex(), span.trace_state) for span in spans} == {(TRACE_ID, "vendor=1")}
    assert spans[0].parent_span_id.hex() == SPAN_ID


def test_generate_is_traced_too(traced: Nereid, collector: Collector) -> None:
    body = {"input": digits.image("one").flatten().tolist()}
    assert traced.post("/v2/models/mnist_mlp/generate", body, IN_TRACE).status == 200
    spans = collector.wait_for(3)
    assert (events(spans[0]), spans[0].parent_span_id.hex()) == (HTTP, SPAN_ID)


def test_each_request_of_a_stream_is_in_the_streams_trace(traced: Nereid, collector: Collector) -> None:
    infer_over_a_stream(traced, IN_TRACE, times=3)
    spans = collector.wait_for(9)
    assert [root.parent_span_id.hex() for root in roots(spans)] == [SPAN_ID] * 3


def test_what_is_no_trace_context_is_passed_over(traced: Nereid, collector: Collector) -> None:
    wrong = ["", "x", "00-0-0-01", f"00-{'0' * 32}-{SPAN_ID}-01", f"ff-{TRACE_ID}-{SPAN_ID}-01", IN_TRACE["traceparent"].upper(), "é", "9" * 4000]
    for text in wrong:
        infer(traced, headers={"traceparent": text.encode("latin-1"), "tracestate": "=,"})
        if text.isascii():
            infer_over_grpc(traced, headers={"traceparent": text})
    expected = 2 * len(wrong) - 1
    found = roots(collector.wait_for(3 * expected))
    assert [root.parent_span_id for root in found] == [b""] * expected
    assert TRACE_ID not in by_trace(found)


def test_rate_0_traces_requests_in_a_clients_trace_only(folder: pathlib.Path, tmp_path: pathlib.Path, collector: Collector) -> None:
    with tracing(folder, tmp_path, collector, rate=0) as server:
        for headers in (None, IN_TRACE, None, IN_TRACE):
            infer(server, headers=headers)
            infer_over_grpc(server, headers=headers)
    assert [root.parent_span_id.hex() for root in roots(collector.spans())] == [SPAN_ID] * 4, "sent when the server ends at the latest"


def test_unsampled_traces(folder: pathlib.Path, tmp_path: pathlib.Path, collector: Collector) -> None:
    unsampled = {"traceparent": f"00-{TRACE_ID}-{SPAN_ID}-00"}
    with tracing(folder, tmp_path, collector, rate=0) as server:
        infer(server, headers=unsampled)
    assert len(collector.spans()) == 3, "as in Triton"
    with tracing(folder, tmp_path, collector, environment={"OTEL_TRACES_SAMPLER": "parentbased_always_on"}) as server:
        infer(server, headers=unsampled)
        infer(server, headers=IN_TRACE)
        infer(server)
    assert [root.parent_span_id.hex() for root in roots(collector.spans()[3:])] == [SPAN_ID, ""]


def test_the_rate_counts_and_the_count_runs_out(folder: pathlib.Path, tmp_path: pathlib.Path, collector: Collector) -> None:
    with tracing(folder, tmp_path, collector, "--trace-config=count=2", rate=3) as server:
        for number in range(1, 11):
            infer(server, request_id=str(number))
        infer(server, headers=IN_TRACE, request_id="in a trace")
        assert server.get("/v2/trace/setting").json()["trace_count"] == "0"
    found = [attributes(span)["triton.request_id"] for span in collector.spans() if span.name == "mnist_mlp"]
    assert found == ["3", "6", "in a trace"]


def test_settings(folder: pathlib.Path, tmp_path: pathlib.Path, collector: Collector) -> None:
    resource = [f"--trace-config=opentelemetry,resource={pair}" for pair in ("a=0", "a=b")]
    with tracing(folder, tmp_path, collector, *resource, environment={"OTEL_BSP_MAX_QUEUE_SIZE": "77"}) as server:
        start = {
            "trace_level": ["TIMESTAMPS"],
            "trace_rate": "1",
            "trace_count": "-1",
            "trace_mode": "opentelemetry",
            "url": f"{collector.address}/v1/traces",
            "bsp_schedule_delay": "0",
            "resource": "a=b",
            "bsp_max_queue_size": "77",
            "bsp_max_export_batch_size": "512",
        }
        with httpclient.InferenceServerClient(server.http) as client:
            assert client.get_trace_settings() == client.get_trace_settings("mnist_mlp") == start
            assert client.update_trace_settings(settings={"trace_rate": "5"}) == start | {"trace_rate": "5"}
            assert client.get_trace_settings("mnist_mlp")["trace_rate"] == "5"
            for _ in range(5):
                infer(server)
            assert client.update_trace_settings("mnist_mlp", {"trace_rate": "0", "url": "http://elsewhere", "bsp_max_queue_size": "1"}) == start | {"trace_rate": "0"}
            infer(server)
            infer(server, headers=IN_TRACE)
            for change, text in [
                ({"trace_file": "x"}, "trace file location can not be updated through network protocol"),
                ({"trace_count": "0"}, "Attempting to set invalid trace setting :"),
            ]:
                with pytest.raises(InferenceServerException, match=text):
                    client.update_trace_settings(settings=change)
        with grpcclient.InferenceServerClient(server.grpc) as client:
            shown = client.update_trace_settings(settings={"trace_level": ["OFF"], "trace_rate": None}, as_json=True)["settings"]
            values = {name: setting["value"] for name, setting in shown.items()}
            expected = start | {"trace_level": ["OFF"], "resource": ["a=0", "a=b"]}
            assert values == {name: value if isinstance(value, list) else [value] for name, value in expected.items()}
        infer(server, headers=IN_TRACE)
    assert [root.parent_span_id.hex() for root in roots(collector.spans())] == ["", SPAN_ID]


def test_requests_that_fail(traced: Nereid, collector: Collector) -> None:
    assert traced.post("/v2/models/mnist_mlp/infer", b"{").status == 500
    root = collector.wait_for(1)[0]
    assert (root.name, events(root)) == ("InferRequest", ["HTTP_RECV_START", "HTTP_RECV_END", "HTTP_SEND_START", "HTTP_SEND_END"])
    with grpcclient.InferenceServerClient(traced.grpc) as client:
        row = grpcclient.InferInput("INPUT0", [1, 16], "INT32")
        row.set_data_from_numpy(np.zeros([1, 16], np.int32))
        with pytest.raises(InferenceServerException, match="Deadline"):
            client.infer("slow", [row], client_timeout=0.5)
    spans = collector.wait_for(3)[1:]
    assert tree(spans) == {"": ["InferRequest"], "InferRequest": ["slow"]}, "and nothing that it computes"
    assert [events(span) for span in spans] == [GRPC[:2], REQUEST[:2]]


def refused_port() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a listener that accepts and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


def served_whatever_the_collector_does(folder: pathlib.Path, log: pathlib.Path, address: str, *flags: str) -> Nereid:
    with tracing(folder, log, address, "--exit-timeout-secs=10", *flags) as server:
        for _ in range(20):
            infer(server)
            infer_over_grpc(server)
    return server  # it has ended, with exit code 0


def test_a_collector_that_is_not_there_disturbs_nobody(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    address = refused_port()
    server = served_whatever_the_collector_does(folder, tmp_path, address)
    assert f"spans of traces were lost at http://{address}/v1/traces: cannot connect: " in server.log()


def test_a_collector_that_says_nothing_disturbs_nobody(folder: pathlib.Path, tmp_path: pathlib.Path, silent: str) -> None:
    server = served_whatever_the_collector_does(folder, tmp_path, silent, "--trace-config=opentelemetry,bsp_max_queue_size=8")
    assert "spans of traces were not delivered in time" in server.log()


def test_a_delivery_takes_no_longer_than_it_may(folder: pathlib.Path, tmp_path: pathlib.Path, silent: str) -> None:
    with tracing(folder, tmp_path, silent, environment={"OTEL_EXPORTER_OTLP_TIMEOUT": "50"}) as server:
        infer(server)
        lost = f"3 spans of traces were lost at http://{silent}/v1/traces: no answer within 50 ms"
        wait_until(lambda: lost in server.log(), 30, "the log says so")


def test_a_collector_that_fails_disturbs_nobody(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with Collector(lambda: 500) as collector:
        server = served_whatever_the_collector_does(folder, tmp_path, collector.address)
        assert len(collector.spans()) == 120, "each was sent once"
    lost = "spans of traces were lost at"
    assert server.log().count(lost) == 2, "at once, and the rest at the end"
    assert "the collector answered 500 Internal Server Error" in server.log()


def test_a_slow_collector_loses_what_does_not_fit_the_queue(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    answering = threading.Event()

    def answer() -> int:
        answering.wait(30)
        return 200

    with Collector(answer) as collector:
        with tracing(folder, tmp_path, collector, "--trace-config=opentelemetry,bsp_max_queue_size=9") as server:
            for _ in range(10):
                infer(server)
            answering.set()
            dropped = r"(\d+) spans of traces were dropped: more than 9 were waiting"
            first = wait_until(lambda: re.search(dropped, server.log()), 30, "the log says so")
            assert int(first[1]) >= 18, "those of six requests at least"
        assert len(collector.spans()) + sum(map(int, re.findall(dropped, server.log()))) == 30


def test_what_waits_is_sent_at_the_end(folder: pathlib.Path, tmp_path: pathlib.Path, collector: Collector) -> None:
    with tracing(folder, tmp_path, collector, "--trace-config=opentelemetry,bsp_schedule_delay=3600000", "--trace-config=opentelemetry,bsp_max_export_batch_size=4") as server:
        for _ in range(3):
            infer(server)
        wait_until(lambda: len(collector.spans()) == 8, 30, "two full batches")
    assert len(collector.spans()) == 9
    assert [len(request.resource_spans[0].scope_spans[0].spans) for *_, request in collector.requests] == [4, 4, 1]


def test_a_wrong_setting_ends_the_start(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for flags, environment, text in [
        (["--trace-config=opentelemetry,url=grpc://c:4317"], {}, 'Bad option: "--trace-config opentelemetry,url".\n\'grpc://c:4317\' is not an URL of a collector: the scheme must be http or https'),
        ([], {"OTEL_BSP_SCHEDULE_DELAY": "soon"}, 'Bad option: "OTEL_BSP_SCHEDULE_DELAY".\nInvalid option value. Got soon'),
        (["--trace-config=opentelemetry,url=https://c"], {"OTEL_EXPORTER_OTLP_CERTIFICATE": "/nowhere"}, "certificates of '/nowhere': "),
    ]:
        server = Nereid(folder, tmp_path / "log", LEVEL, MODE, *flags, environment=environment)
        assert server.ended() == 1
        assert text in server.log()


def test_over_tls(folder: pathlib.Path, tmp_path: pathlib.Path) -> None:
    authority = certificates.Authority(tmp_path)
    with Collector(tls=authority.issue("collector")) as collector:
        address = f"https://{collector.address}"
        with tracing(folder, tmp_path, address, environment={"OTEL_EXPORTER_OTLP_CERTIFICATE": str(authority.root)}) as server:
            infer(server)
            collector.wait_for(3)
        stranger = certificates.Authority(tmp_path, "stranger")
        with tracing(folder, tmp_path, address, environment={"OTEL_EXPORTER_OTLP_CERTIFICATE": str(stranger.root)}) as server:
            infer(server)
        assert "cannot connect: invalid peer certificate: " in server.log()
        assert len(collector.spans()) == 3
