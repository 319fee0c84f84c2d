"""A collector of spans on this machine, for tests that look at what leaves a process."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Span(NamedTuple):
    """What the collector is told of one span; ids in hex."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, str]


class Collector:
    """An OpenTelemetry collector of one kind: OTLP over HTTP, spans only.

    Args:
        status: What it answers; the spans are noted all the same.
    """

    def __init__(self, status: int = 200) -> None:
        self.spans: list[Span] = []
        self.paths: list[str] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.receive(self.path, body)
                self.send_response(status)
                self.send_header("content-type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def running(self) -> Iterator["Collector"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="collector")
        thread.start()
        yield self
        self._server.shutdown()
        thread.join(10)
        self._server.server_close()

    def receive(self, path: str, body: bytes) -> None:
        self.paths.append(path)
        for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
            service = attributes_of(of_process.resource)["service.name"]
            for of_library in of_process.scope_spans:
                self.spans += [
                    Span(
                        service,
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        attributes_of(span),
                    )
                    for span in of_library.spans
                ]

    def of_trace(self, trace_id: str) -> list[Span]:
        """The spans of one trace, by service."""
        return sorted(span for span in self.spans if span.trace_id == trace_id)


def attributes_of(told) -> dict[str, str]:
    return {one.key: one.value.string_value for one in told.attributes}
