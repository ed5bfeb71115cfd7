"""Traces and metrics for OpenTelemetry, with its SDK and its OTLP exporter over HTTP (extra `otel`).

They are switched on and set up by the standard's variables (OTEL_EXPORTER_OTLP_ENDPOINT and the others), and keep to
its conventions for generative AI. A call is a span of the kind SERVER, each attempt to have it answered one of the kind
CLIENT below it. Both are made when the call is written down, with the times that it had and the ids that were told to
the provider (`traces.py`), so that nothing of this costs the call anything but the choice whether it is recorded.

What was asked and answered is in none of it: the gateway does not keep it.

The conventions are in development, and the package that had their names does not have them any more: so they stand
here. Their `input_tokens` are all tokens of a prompt, those of the cache included; the gateway's buckets are disjoint.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Meter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExportResult, PeriodicExportingMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Decision
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from ai_gateway import __version__, registry, traces
from ai_gateway.meter import Entry
from ai_gateway.money import dollars
from ai_gateway.signals import call_finished, process_ends
from ai_gateway.telemetry import fates
from ai_gateway.telemetry.cardinality import Names
from ai_gateway.telemetry.retelling import Attempted, attempts_of, operation_of, output_of, own_seconds, prompt_of
from ai_gateway.traces import Trace

SCOPE = "ai_gateway"

LAST_SECONDS = 3.0
"""In which a process that ends waits for a collector to take what is left."""

MOST_UNDER_WAY = 1024
"""Spans that may be on their way before the next call is heard of: half of what the SDK holds before it drops some."""

LONGEST_QUEUE = 2048
"""Spans that may wait to be sent, unless the standard's variable says something else."""

PATIENCE = 0.25
"""Seconds to wait for a collector that takes none of them."""

PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
"""Names that the conventions have for rows of the catalogue; other providers have the name of their row."""

TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_SECONDS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
FIRST_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
OWN_SECONDS = (0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0)

Attributes = dict[str, Any]


def connect(signals: Sequence[str]) -> None:
    """Listen, and send what these signals of OpenTelemetry are."""
    if "traces" in signals:
        traces.sampler = Sampler()
        call_finished.connect(spans.hear, Entry, dispatch_uid="ai_gateway.telemetry.opentelemetry.traces")
    if "metrics" in signals:
        call_finished.connect(measures.hear, Entry, dispatch_uid="ai_gateway.telemetry.opentelemetry.metrics")
    # A server that was ended by a signal ends the process by it, and one without a lifespan says nothing before.
    process_ends.connect(close, dispatch_uid="ai_gateway.telemetry.opentelemetry")
    atexit.register(close)


def close(**_: object) -> None:
    """Send what is left, but do not wait long: a collector that is away must not keep the process from ending."""
    threads = []
    for each in (spans, measures):
        thread = threading.Thread(target=each.close, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # The interpreter ends, and starts no threads any more.
            each.close()
        else:
            threads.append(thread)
    until = time.monotonic() + LAST_SECONDS
    for thread in threads:
        thread.join(max(until - time.monotonic(), 0.0))


class Sampler:
    """Decides whether a trace is recorded, as OTEL_TRACES_SAMPLER says. Asked on the path of a call."""

    def __init__(self) -> None:
        self._sampler = TracerProvider(shutdown_on_exit=False).sampler

    def __call__(self, trace: Trace) -> bool:
        result = self._sampler.should_sample(parent_of(trace), int(trace.id, 16), SCOPE, SpanKind.SERVER)
        return result.decision is Decision.RECORD_AND_SAMPLE


def parent_of(trace: Trace) -> Context:
    """Give the context of the span that a trace came from, an empty one if it begins here."""
    return within(trace.id, trace.parent_id, is_sampled=trace.is_sampled) if trace.parent_id else Context()


def within(trace_id: str, span_id: str, *, is_sampled: bool) -> Context:
    """Give the context of a span by its ids."""
    flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
    context = SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=flags)
    return set_span_in_context(NonRecordingSpan(context), Context())


class GivenIds(IdGenerator):
    """Gives spans the ids that they have already."""

    trace_id = span_id = 0

    def generate_trace_id(self) -> int:
        """See IdGenerator."""
        return self.trace_id

    def generate_span_id(self) -> int:
        """See IdGenerator."""
        return self.span_id


class Pace(SpanExporter):
    """Sends spans, and counts what becomes of them. Whoever makes them has to wait if they are many at once: those of a
    journal that is written to the database at last, which tell of just the time that one wants to look at. A collector
    that is away holds nobody up."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._changed = threading.Condition()
        self._under_way = 0
        self._is_well = True
        self._waiting = 0
        self._pid = os.getpid()

    def enter(self, most: int) -> bool:
        """Have a span wait to be sent, if no more than so many wait. Tells whether it does."""
        with self._changed:
            if self._pid != os.getpid():
                self._pid, self._waiting = os.getpid(), 0  # The SDK has forgotten what its parent wanted to send.
            if self._waiting >= most:
                return False
            self._waiting += 1
        return True

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See SpanExporter. Called by the SDK's thread."""
        result = SpanExportResult.FAILURE
        with self._changed:
            self._waiting = max(0, self._waiting - len(spans))
        try:
            result = self._exporter.export(spans)
        finally:
            note = fates.spans.note_sent if result is SpanExportResult.SUCCESS else fates.spans.note_failed
            note(len(spans))
            with self._changed:
                self._under_way = max(0, self._under_way - len(spans))
                self._is_well = result is SpanExportResult.SUCCESS
                self._changed.notify_all()
        return result

    def shutdown(self) -> None:
        """See SpanExporter."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See SpanExporter."""
        return self._exporter.force_flush(timeout_millis)

    def add(self, count: int) -> None:
        """Note that so many spans are made, and wait until there is room for more."""
        with self._changed:
            self._under_way += count
            while self._under_way > MOST_UNDER_WAY:
                if not self._is_well or not self._changed.wait(PATIENCE):
                    self._under_way = 0  # Some are dropped, perhaps. It begins to count anew.


class Queue(BatchSpanProcessor):
    """Holds spans until they are sent. One for which there is no room is counted: the SDK tells nobody how many it
    drops."""

    def __init__(self, pace: Pace) -> None:
        self._most = longest_queue()
        super().__init__(pace, max_queue_size=self._most)
        self._pace = pace

    def on_end(self, span: ReadableSpan) -> None:
        """See SpanProcessor."""
        if self._pace.enter(self._most):
            super().on_end(span)
        else:
            fates.spans.note_dropped()


def longest_queue() -> int:
    """Tell how many spans may wait to be sent, as the standard's variable says."""
    written = os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE", "").strip()
    return int(written) if written.isdecimal() and int(written) else LONGEST_QUEUE


class Spans:
    """Makes the spans of calls. What sends them is made with the first one, and has a thread."""

    def __init__(self) -> None:
        self._ids = GivenIds()

    @cached_property
    def _pace(self) -> Pace:
        return Pace(OTLPSpanExporter())

    @cached_property
    def _provider(self) -> TracerProvider:
        provider = TracerProvider(sampler=ALWAYS_ON, id_generator=self._ids, shutdown_on_exit=False)
        provider.add_span_processor(Queue(self._pace))
        return provider

    def hear(self, entry: Entry, **_: object) -> None:
        """Make the spans of a call, if its trace is recorded."""
        if not entry.is_sampled:
            return
        whole = traces.span_id(entry.id)
        parent = parent_of(Trace(entry.trace_id, entry.parent_span_id, True))
        operation = operation_of(entry)
        self._make(entry, whole, SpanKind.SERVER, parent, (0, entry.duration_ms), of_call(entry, operation))
        below, attempts = within(entry.trace_id, whole, is_sampled=True), attempts_of(entry)
        for number, each in enumerate(attempts, 1):
            attributes = of_attempt(each, operation)
            if each is attempts[-1]:
                attributes |= of_answer(entry)
            span = traces.span_id(entry.id, number)
            self._make(entry, span, SpanKind.CLIENT, below, (each.begin, each.end), attributes)
        self._pace.add(1 + len(attempts))

    def _make(
        self,
        entry: Entry,
        span_id: str,
        kind: SpanKind,
        parent: Context,
        lasted: tuple[int, int],
        attributes: Attributes,
    ) -> None:
        self._ids.trace_id, self._ids.span_id = int(entry.trace_id, 16), int(span_id, 16)
        began, ended = (int(entry.started_at * 1e9) + each * 1_000_000 for each in lasted)
        model = attributes.get("gen_ai.request.model", "")
        name = f"{attributes['gen_ai.operation.name']} {model}".rstrip()
        tracer = self._provider.get_tracer(SCOPE, __version__)
        span = tracer.start_span(name, parent, kind, attributes, start_time=began)
        if "error.type" in attributes:
            span.set_status(Status(StatusCode.ERROR))
        span.end(ended)

    def close(self) -> None:
        """Send what is left."""
        provider: TracerProvider | None = vars(self).pop("_provider", None)
        vars(self).pop("_pace", None)
        if provider is not None:
            provider.shutdown()
            fates.spans.tell()


def known(**attributes: Any) -> Attributes:
    """Leave out what is empty, and write names as the conventions do: with dots for double underscores."""
    return {name.replace("__", "."): value for name, value in attributes.items() if value not in (None, "", 0)}


def of_call(entry: Entry, operation: str) -> Attributes:
    """Tell of a whole call."""
    failure = failure_of(entry)
    return known(
        gen_ai__operation__name=operation,
        gen_ai__provider__name=provider_of(entry.provider),
        gen_ai__request__model=entry.model,
        gen_ai__response__model=entry.served_model,
        gen_ai__request__stream=entry.is_stream or None,
        gen_ai__conversation__id=entry.session,
        http__response__status_code=entry.status,
        error__type=failure,
        ai_gateway__request_id=entry.request_id,
        ai_gateway__key=entry.key_name,
        ai_gateway__user=None if entry.user_id is None else str(entry.user_id),
        ai_gateway__route=entry.route,
        ai_gateway__endpoint=entry.endpoint,
        ai_gateway__outcome=entry.outcome,
        ai_gateway__is_mirror=entry.is_mirror or None,
        ai_gateway__attempts=entry.attempts,
        ai_gateway__overhead_us=entry.overhead_us,
        ai_gateway__cost=None if entry.cost_nanos is None else float(dollars(entry.cost_nanos)),
    )


def of_attempt(attempt: Attempted, operation: str) -> Attributes:
    """Tell of one attempt."""
    return known(
        gen_ai__operation__name=operation,
        gen_ai__provider__name=provider_of(attempt.provider),
        gen_ai__request__model=attempt.model,
        http__response__status_code=attempt.status,
        error__type=(attempt.error or attempt.kind) if attempt.kind else None,
        ai_gateway__provider=attempt.provider,
        ai_gateway__failure=attempt.kind,
    )


def of_answer(entry: Entry) -> Attributes:
    """Tell what a call used, and when its answer began. A call that went on with another answer tells the sum."""
    return known(
        gen_ai__response__model=entry.served_model,
        gen_ai__response__id=entry.upstream_id,
        gen_ai__usage__input_tokens=prompt_of(entry),
        gen_ai__usage__output_tokens=output_of(entry),
        gen_ai__usage__cache_read__input_tokens=entry.cache_read_tokens,
        gen_ai__usage__cache_creation__input_tokens=entry.cache_write_tokens + entry.cache_write_1h_tokens,
        gen_ai__usage__reasoning__output_tokens=entry.reasoning_tokens,
        gen_ai__response__time_to_first_chunk=first_chunk_of(entry) if entry.is_stream else None,
    )


def provider_of(alias: str) -> str:
    """Name a provider as the conventions do."""
    provider = registry.snapshot().providers.get(alias)
    row = (provider.row if provider is not None else "") or alias
    return PROVIDERS.get(row, row)


def failure_of(entry: Entry) -> str | None:
    """Name what went wrong with a call; None if its caller was answered, or left."""
    if entry.outcome in ("answered", "cached", "disconnected"):
        return None
    return entry.error_code or (str(entry.status) if entry.status >= 400 else entry.outcome)


def first_chunk_of(entry: Entry) -> float | None:
    """Tell the seconds from the moment in which a call was sent until its answer began."""
    if entry.first_token_ms is None:
        return None
    return max(entry.first_token_ms - entry.overhead_us / 1000, 0.0) / 1000


class MetricExporter(OTLPMetricExporter):
    """Sends metrics, and counts how often that fails."""

    def export(self, *args: Any, **options: Any) -> MetricExportResult:
        """See OTLPMetricExporter."""
        result = MetricExportResult.FAILURE
        try:
            result = super().export(*args, **options)
        finally:
            note = fates.metrics.note_sent if result is MetricExportResult.SUCCESS else fates.metrics.note_failed
            note(1)
        return result


class Measures:
    """Records the metrics of calls. What sends them is made with the first one, and has a thread."""

    def __init__(self) -> None:
        self._names = Names()

    @cached_property
    def _provider(self) -> MeterProvider:
        reader = PeriodicExportingMetricReader(MetricExporter())
        return MeterProvider([reader], shutdown_on_exit=False)

    @cached_property
    def _instruments(self) -> Instruments:
        return Instruments(self._provider.get_meter(SCOPE, __version__))

    def hear(self, entry: Entry, **_: object) -> None:
        """Record a call."""
        provider, model = self._names.of_call(entry)
        labels = known(
            gen_ai__operation__name=operation_of(entry),
            gen_ai__provider__name=provider_of(provider),
            gen_ai__request__model=model,
            ai_gateway__provider=provider,
        )
        failure = failure_of(entry)
        ended = {**labels, "error.type": kind_of(entry)} if failure is not None else labels
        made = self._instruments
        if entry.attempts:
            made.tokens.record(prompt_of(entry), {**labels, "gen_ai.token.type": "input"})
            made.tokens.record(output_of(entry), {**labels, "gen_ai.token.type": "output"})
            made.operation.record(max(entry.duration_ms - entry.overhead_us / 1000, 0.0) / 1000, ended)
        if entry.cost_nanos:
            made.cost.add(float(dollars(entry.cost_nanos)), labels)
        if entry.is_mirror:
            return
        made.request.record(entry.duration_ms / 1000, ended)
        if entry.attempts == 1 and not entry.trail:
            made.overhead.record(own_seconds(entry), labels)
        if entry.first_token_ms is not None:
            self._record_stream(entry, entry.first_token_ms, labels)

    def _record_stream(self, entry: Entry, first_token_ms: int, labels: Attributes) -> None:
        made, behind = self._instruments, output_of(entry) - 1
        made.first_token.record(first_token_ms / 1000, labels)
        made.first_chunk.record(first_chunk_of(entry) or 0.0, labels)
        if behind > 0:
            made.output_token.record((entry.duration_ms - first_token_ms) / 1000 / behind, labels)

    def close(self) -> None:
        """Send what is left."""
        provider: MeterProvider | None = vars(self).pop("_provider", None)
        if provider is not None:
            vars(self).pop("_instruments", None)
            provider.shutdown()
            fates.metrics.tell()


def kind_of(entry: Entry) -> str:
    """Name what went wrong by a bounded number of names: providers make up codes."""
    return str(entry.status) if entry.status >= 400 else entry.outcome


class Instruments:
    """What is recorded, by the names of the conventions; and `ai_gateway.*`, for which they have none."""

    def __init__(self, meter: Meter) -> None:
        def seconds(name: str, what: str, bounds: Sequence[float]) -> Any:
            return meter.create_histogram(name, "s", what, explicit_bucket_boundaries_advisory=bounds)

        self.tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            "{token}",
            "Tokens of prompts and answers.",
            explicit_bucket_boundaries_advisory=TOKEN_BUCKETS,
        )
        self.operation = seconds("gen_ai.client.operation.duration", "From sending on to the answer's end.", SECONDS)
        self.first_chunk = seconds(
            "gen_ai.client.operation.time_to_first_chunk", "From sending on to the first token.", FIRST_SECONDS
        )
        self.request = seconds("gen_ai.server.request.duration", "From arrival to the answer's end.", SECONDS)
        self.first_token = seconds(
            "gen_ai.server.time_to_first_token", "From arrival to the first token.", FIRST_SECONDS
        )
        self.output_token = seconds(
            "gen_ai.server.time_per_output_token", "For each token behind the first.", TOKEN_SECONDS
        )
        self.overhead = seconds("ai_gateway.overhead", "The gateway's own time until a call was sent on.", OWN_SECONDS)
        self.cost = meter.create_counter("ai_gateway.cost", "{USD}", "What calls cost.")


spans, measures = Spans(), Measures()
