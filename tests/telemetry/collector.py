"""A collector of OpenTelemetry's: it takes spans and metrics over HTTP, as protobuf, and remembers them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Span(NamedTuple):
    """One span. Times are in milliseconds since 1970."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent_id: str
    began: float
    ended: float
    is_failed: bool
    attributes: dict[str, Any]


class Point(NamedTuple):
    """One series of a metric: its attributes, and of a histogram how much there was, and its sum."""

    attributes: dict[str, Any]
    number: int
    sum: float


SERVER, CLIENT, ERROR = 2, 3, 2


class Collector:
    """Listens on a port of its own."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.metrics: dict[str, list[Point]] = {}
        self.services: set[str] = set()
        self._goes_on = threading.Event()
        self._goes_on.set()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector._goes_on.wait(30)
                collector.take(self.path, gzip.decompress(body) if "content-encoding" in self.headers else body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def stuck(self) -> Iterator[None]:
        """Answer nobody for a while."""
        self._goes_on.clear()
        yield
        self._goes_on.set()

    def take(self, path: str, body: bytes) -> None:
        """Take what is sent to one of the two paths. Metrics are cumulative: the last ones count."""
        if path == "/v1/traces":
            traces = ExportTraceServiceRequest.FromString(body)
            for resource in traces.resource_spans:
                self.services.add(read(resource.resource.attributes).get("service.name", ""))
                self.spans += (span_of(span) for scope in resource.scope_spans for span in scope.spans)
        else:
            assert path == "/v1/metrics", path
            metrics = ExportMetricsServiceRequest.FromString(body)
            for resource_metrics in metrics.resource_metrics:
                for scope_metrics in resource_metrics.scope_metrics:
                    self.metrics |= {metric.name: list(points_of(metric)) for metric in scope_metrics.metrics}

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def read(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}


def span_of(span: Any) -> Span:
    return Span(
        name=span.name,
        kind=span.kind,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        began=span.start_time_unix_nano / 1e6,
        ended=span.end_time_unix_nano / 1e6,
        is_failed=span.status.code == ERROR,
        attributes=read(span.attributes),
    )


def points_of(metric: Any) -> Iterator[Point]:
    if metric.WhichOneof("data") == "histogram":
        for point in metric.histogram.data_points:
            yield Point(read(point.attributes), point.count, point.sum)
    else:
        for point in metric.sum.data_points:
            yield Point(read(point.attributes), 1, point.as_double)
