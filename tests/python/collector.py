"""A collector of OpenTelemetry: takes spans over OTLP/HTTP on a free port and keeps them. Knows nothing of tests."""

import gzip
import http.server
import ssl
import threading
from collections.abc import Callable

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from nereid_process import wait_until


class Collector:
    """Runs inside `with`. `answer` may give another status than 200, or take its time; `tls` is a certificate and its key."""

    def __init__(self, answer: Callable[[], int] = lambda: 200, tls: tuple[str, str] | None = None) -> None:
        self.requests: list[tuple[str, dict[str, str], ExportTraceServiceRequest]] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers["content-encoding"] == "gzip":
                    body = gzip.decompress(body)
                headers = {name.lower(): value for name, value in self.headers.items()}
                collector.requests.append((self.path, headers, ExportTraceServiceRequest.FromString(body)))
                self.send_response(answer())
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.address = f"127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)

    def __enter__(self) -> "Collector":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def spans(self) -> list[Span]:
        """All that have come, in their order."""
        scopes = [scope for *_, request in list(self.requests) for resource in request.resource_spans for scope in resource.scope_spans]
        return [span for scope in scopes for span in scope.spans]

    def wait_for(self, count: int) -> list[Span]:
        """The spans, once there are as many."""
        wait_until(lambda: len(self.spans()) >= count, 30, f"{count} spans")
        return self.spans()
