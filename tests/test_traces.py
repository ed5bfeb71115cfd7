"""Traces: which one a call belongs to, and what its provider is told of it."""

from __future__ import annotations

import pytest
from django.test import override_settings

from ai_gateway import accounting, registry, traces
from ai_gateway.attempts import ask
from ai_gateway.calls import Target
from ai_gateway.errors import ConnectFailed
from ai_gateway.ids import new_id
from ai_gateway.meter import Entry, Meter
from ai_gateway.traces import Trace
from tests.factories import JSON, Answer, Scripted, make_call, make_meter, run

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SPAN}-01".encode()
STATE = (b"tracestate", b"vendor=1")
OPTIONS = {"PROVIDERS": {name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in ("openai", "groq")}}


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls are traced, those of callers that trace nothing as well."""
    monkeypatch.setattr(traces, "sampler", lambda trace: trace.is_sampled or not trace.parent_id)


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (HEADER, Trace(TRACE, SPAN, True)),
        (HEADER[:-2] + b"00", Trace(TRACE, SPAN, False)),
        (HEADER[:-2] + b"03", Trace(TRACE, SPAN, True)),
        (b"cc" + HEADER[2:] + b"-what-comes-later", Trace(TRACE, SPAN, True)),
        (HEADER + b"-more", None),
        (b"ff" + HEADER[2:], None),
        (HEADER.upper(), None),
        (b"00-" + b"0" * 32 + HEADER[35:], None),
        (HEADER[:36] + b"0" * 16 + b"-01", None),
        (b"", None),
        (b"\xff\n", None),
    ],
)
def test_a_header_is_read_by_the_standard(header: bytes, trace: Trace | None) -> None:
    assert traces.read(header) == trace


def test_spans_are_named_by_the_id_of_their_call() -> None:
    call = new_id()
    names = [traces.span_id(call, attempt) for attempt in range(4)]
    assert names[0] == call[16:]
    assert len({*names}) == 4
    assert {len(name) for name in names} == {16}
    assert traces.span_id("0" * 16 + "f" * 16, 1) == "0" * 16  # No call has such an id: its variant is a part of it.


def asked(*headers: tuple[bytes, bytes]) -> tuple[Meter, Scripted, Entry]:
    """Make a call that fails once and is then answered."""
    call = make_call("/v1/chat/completions", JSON, *headers, body=b'{"model": "m"}', model="m")
    transport = Scripted(ConnectFailed("refused"), Answer(b"{}", headers=[JSON, (b"content-length", b"2")]))
    meter = make_meter(call)
    with override_settings(AI_GATEWAY=OPTIONS):
        snapshot = registry.snapshot()
        run(ask(meter, [Target("openai", "m"), Target("groq", "m")], snapshot, transport))
        entry = accounting.close(meter, snapshot)
    assert entry is not None
    return meter, transport, entry


def told(transport: Scripted) -> list[tuple[bytes | None, bytes | None]]:
    """What each attempt told of its trace."""
    sent = [dict(request.headers) for request in transport.requests]
    return [(headers.get(b"traceparent"), headers.get(b"tracestate")) for headers in sent]


def test_without_tracing_the_callers_headers_pass_and_the_record_names_the_trace() -> None:
    _, transport, entry = asked((b"traceparent", HEADER), STATE)
    assert told(transport) == [(HEADER, STATE[1])] * 2
    assert (entry.trace_id, entry.parent_span_id, entry.is_sampled) == (TRACE, SPAN, True)


def test_without_tracing_and_without_a_header_there_is_no_trace() -> None:
    meter, transport, entry = asked()
    assert told(transport) == [(None, None)] * 2
    assert (entry.trace_id, meter.made_trace) == ("", None)


@pytest.mark.usefixtures("traced")
def test_each_attempt_is_a_span_of_the_callers_trace() -> None:
    meter, transport, entry = asked((b"traceparent", HEADER), STATE)
    spans = [traces.span_id(meter.id, number) for number in (1, 2)]
    assert told(transport) == [(f"00-{TRACE}-{span}-01".encode(), STATE[1]) for span in spans]
    assert (entry.trace_id, entry.parent_span_id, entry.is_sampled) == (TRACE, SPAN, True)


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("header", [None, b"not a trace"])
def test_a_call_without_a_trace_begins_one(header: bytes | None) -> None:
    given = [(b"traceparent", header), STATE] if header is not None else []
    meter, transport, entry = asked(*given)
    assert meter.trace is not None
    assert (entry.trace_id, entry.parent_span_id, entry.is_sampled) == (meter.trace.id, "", True)
    assert told(transport)[1] == (f"00-{meter.trace.id}-{traces.span_id(meter.id, 2)}-01".encode(), None)


@pytest.mark.usefixtures("traced")
def test_what_the_caller_does_not_want_recorded_is_not() -> None:
    _, transport, entry = asked((b"traceparent", HEADER[:-2] + b"00"))
    assert not entry.is_sampled
    assert {header[-3:] for header, _ in told(transport) if header is not None} == {b"-00"}
