"""Spans and metrics for OpenTelemetry, beside what a whole gateway sends: when they are sent, and in which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from ai_gateway import telemetry
from ai_gateway.telemetry import fates
from ai_gateway.telemetry import opentelemetry as otel
from ai_gateway.traces import Trace
from tests.ledger.entries import entry
from tests.telemetry.collector import Collector

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("environment", "signals"),
    [
        ({}, []),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, []),
        (ENDPOINT, ["traces", "metrics"]),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "True"}, []),
        ({**ENDPOINT, "OTEL_METRICS_EXPORTER": "none"}, ["traces"]),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none", "OTEL_METRICS_EXPORTER": "prometheus"}, []),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ["traces"]),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://localhost:4318/v1/metrics"}, ["metrics"]),
    ],
)
def test_the_standards_variables_switch_it_on(
    monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str], signals: list[str]
) -> None:
    for name, text in environment.items():
        monkeypatch.setenv(name, text)
    assert telemetry.otlp_signals() == signals


@pytest.mark.parametrize(
    ("sampler", "argument", "of_a_caller", "of_nobody"),
    [
        ("", "", [True, False], True),
        ("always_off", "", [False, False], False),
        ("parentbased_always_off", "", [True, False], False),
        ("parentbased_traceidratio", "0", [True, False], False),
        ("always_on", "", [True, True], True),
    ],
)
def test_the_standards_samplers_decide(
    monkeypatch: pytest.MonkeyPatch, sampler: str, argument: str, of_a_caller: list[bool], of_nobody: bool
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", sampler or "parentbased_always_on")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", argument)
    decide = otel.Sampler()
    assert [decide(Trace(TRACE, SPAN, is_sampled)) for is_sampled in (True, False)] == of_a_caller
    assert decide(Trace(TRACE, "", False)) is of_nobody


FULL: dict[str, Any] = {
    "model": "fast",
    "provider": "gemini",
    "served_model": "gemini-3-flash",
    "endpoint": "chat/completions",
    "status": 200,
    "attempts": 1,
    "is_stream": True,
    "first_token_ms": 300,
    "overhead_us": 50_000,
    "input_tokens": 10,
    "cache_read_tokens": 20,
    "cache_write_tokens": 3,
    "cache_write_1h_tokens": 4,
    "output_tokens": 5,
    "reasoning_tokens": 6,
}


def test_tokens_are_counted_as_the_conventions_count_them() -> None:
    """Theirs are sums, ours are disjoint."""
    found = otel.of_answer(entry(**FULL))
    assert found["gen_ai.usage.input_tokens"] == 37
    assert found["gen_ai.usage.cache_read.input_tokens"] == 20
    assert found["gen_ai.usage.cache_creation.input_tokens"] == 7
    assert found["gen_ai.usage.output_tokens"] == 11
    assert found["gen_ai.usage.reasoning.output_tokens"] == 6
    assert found["gen_ai.response.time_to_first_chunk"] == 0.25


def test_providers_and_operations_have_the_names_of_the_conventions() -> None:
    found = otel.of_call(entry(**FULL), "chat")
    assert found["gen_ai.provider.name"] == "gcp.gemini"
    assert (found["gen_ai.request.model"], found["gen_ai.response.model"]) == ("fast", "gemini-3-flash")
    assert [otel.provider_of(name) for name in ("openai", "azure", "bedrock", "made-up")] == [
        *("openai", "azure.ai.openai", "aws.bedrock", "made-up"),
    ]


@pytest.mark.parametrize(
    ("columns", "failure", "kind"),
    [
        ({"outcome": "answered", "status": 200}, None, None),
        ({"outcome": "disconnected", "status": 200}, None, None),
        ({"outcome": "failed", "status": 502, "error_code": "upstream_closed"}, "upstream_closed", "502"),
        (
            {"outcome": "failed", "status": 200, "error_code": "made_up_by_a_provider"},
            "made_up_by_a_provider",
            "failed",
        ),
        ({"outcome": "limited", "status": 429}, "429", "429"),
    ],
)
def test_a_failure_is_named_in_full_in_spans_and_by_few_names_in_metrics(
    columns: dict[str, Any], failure: str | None, kind: str | None
) -> None:
    found = entry(**columns)
    assert otel.failure_of(found) == failure
    assert kind is None or otel.kind_of(found) == kind


def test_a_trace_that_nobody_records_has_no_spans() -> None:
    spans = otel.Spans()
    spans.hear(entry(**FULL, trace_id=TRACE, parent_span_id=SPAN, is_sampled=False))
    spans.close()
    assert "_provider" not in vars(spans)


def test_of_a_journal_that_is_written_down_no_span_is_dropped(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its calls are told of all at once: many more than the SDK holds."""
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    spans = otel.Spans()
    for _ in range(2500):
        spans.hear(entry(is_sampled=True, trace_id="4bf92f3577b34da6a3ce929d0e0e4736", provider="openai", attempts=1))
    spans.close()
    collector.stop()
    assert len(collector.spans) == 5000
    assert "dropping" not in caplog.text


def test_spans_for_which_there_is_no_room_are_counted_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "10")
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setattr(fates, "spans", fates.Fates("spans"))
    with collector.stuck():
        spans = otel.Spans()
        for _ in range(50):
            spans.hear(entry(is_sampled=True, trace_id=TRACE, provider="openai", attempts=1))
        assert fates.spans.dropped >= 100 - 2 * 10  # Ten are on their way, and ten wait.
        assert len(said(caplog)) == 1
    spans.close()
    collector.stop()
    assert len(collector.spans) == fates.spans.sent == 100 - fates.spans.dropped
    assert fates.spans.failed == 0
    assert "were dropped because the queue was full" in said(caplog)[-1]
    assert "Queue full" not in caplog.text


def test_spans_that_the_collector_does_not_take_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fates, "spans", fates.Fates("spans"))
    for result in (SpanExportResult.FAILURE, SpanExportResult.FAILURE, SpanExportResult.SUCCESS):
        otel.Pace(Exporter(result)).export([None] * 7)  # type: ignore[list-item]
    assert (fates.spans.sent, fates.spans.dropped, fates.spans.failed) == (7, 0, 14)
    assert len(said(caplog)) == 1
    fates.spans.tell()
    assert "7 could not be sent" in said(caplog)[-1]


def test_exports_of_metrics_that_fail_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fates, "metrics", fates.Fates("exports of metrics"))
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    for is_there in (True, False):
        if not is_there:
            collector.stop()
            monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.2")
        measures = otel.Measures()
        measures.hear(entry(provider="openai", attempts=1))
        measures.close()
    assert (fates.metrics.sent, fates.metrics.failed) == (1, 1)


@pytest.mark.parametrize(("written", "size"), [("", 2048), ("x", 2048), ("0", 2048), ("-1", 2048), ("4096", 4096)])
def test_the_standards_variable_says_how_many_spans_may_wait(
    monkeypatch: pytest.MonkeyPatch, written: str, size: int
) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", written)
    assert otel.longest_queue() == size


def test_a_forked_process_has_nothing_that_waits() -> None:
    pace = otel.Pace(Exporter(SpanExportResult.SUCCESS))
    assert [pace.enter(1) for _ in range(2)] == [True, False]
    pace._pid += 1  # As it is in a child.
    assert [pace.enter(1) for _ in range(2)] == [True, False]


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each for each in caplog.messages if "did not reach the collector" in each]


class Exporter(SpanExporter):
    """Sends nothing anywhere."""

    def __init__(self, result: SpanExportResult) -> None:
        self.result = result

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self.result


def test_a_collector_that_takes_nothing_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    pace = otel.Pace(Exporter(SpanExportResult.FAILURE))
    monkeypatch.setattr(otel, "PATIENCE", 0.01)
    pace.add(otel.MOST_UNDER_WAY + 1)  # It hangs.
    assert pace.export([]) is SpanExportResult.FAILURE
    monkeypatch.setattr(otel, "PATIENCE", 3600.0)
    pace.add(otel.MOST_UNDER_WAY + 1)  # It is away.
    pace.force_flush()
    pace.shutdown()
