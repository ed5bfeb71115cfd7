"""A gateway, a Prometheus and a collector: what those are told is what the usage records say, to the last token."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests import databases
from tests.conftest import default_settings
from tests.gateway_process import ROOT, Door, GatewayProcess
from tests.raw_client import RawClient
from tests.telemetry.collector import CLIENT, SERVER, Collector, Point, Span
from tests.upstream import Upstream, event_stream, json_answer
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, MESSAGES, MESSAGES_PATH
from tests.wire.test_accounting import ANSWER, PRICES, STREAM

TOKEN = "token-for-metrics"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TOKENS = (
    *("input_tokens", "cache_read_tokens", "cache_write_tokens", "cache_write_1h_tokens"),
    *("output_tokens", "reasoning_tokens"),
)


class Scrape:
    """What a Prometheus reads."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in families for sample in family.samples]
        self.names = {sample.name for sample in self.samples} | {family.name for family in families}

    def series(self, name: str, *labels: str) -> Counter[tuple[str, ...]]:
        """The values of a metric, summed up by these labels; what is 0 is left out."""
        found: Counter[tuple[str, ...]] = Counter()
        for sample in self.samples:
            if sample.name == name and sample.value:
                found[tuple(sample.labels[label] for label in labels)] += sample.value  # type: ignore[assignment]
        return found

    def total(self, name: str) -> float:
        return float(self.series(name).get((), 0))


class Watched:
    """A gateway that a Prometheus and a collector watch."""

    def __init__(self, process: GatewayProcess, ledger: LedgerReader, collector: Collector) -> None:
        self.process = process
        self.raw = RawClient(process.port)
        self.ledger = ledger
        self.collector = collector
        self.ids: list[str] = []

    def ask(self, body: Any = CHAT, path: str = CHAT_PATH, *headers: tuple[str, str]) -> None:
        self.ids.append(new_request_id())
        self.raw.post(path, body, [BEARER, ("x-request-id", self.ids[-1]), *headers])

    def rows(self) -> list[dict[str, Any]]:
        """What was written down, with the attempts that failed."""
        rows = self.ledger.entries(self.ids)
        return [{**row, "trail": json.loads(row["trail"] or "[]")} for row in rows]

    def scrape(self, authorization: str = f"Bearer {TOKEN}") -> Scrape:
        answer = self.raw.get("/metrics", [("authorization", authorization)])
        assert answer.status == 200, answer
        assert answer.header("content-type") == "text/plain; version=0.0.4; charset=utf-8"
        return Scrape(answer.body.decode())

    def scrape_of(self, count: int) -> Scrape:
        """What is told when so many calls are counted, which is a moment after they are written down."""
        deadline = time.monotonic() + 5
        while (scrape := self.scrape()).total("ai_gateway_requests_total") < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return scrape


@pytest.fixture
def watched(door: Door, upstream: Upstream, site_database: databases.Database, tmp_path: Path) -> Iterator[Watched]:
    collector = Collector()
    default = default_settings(upstream)
    away = {
        "BACKEND": "custom",
        "OPTIONS": {"base_url": "http://127.0.0.1:9/v1", "allow_private": True, "api_key": "x"},
    }
    settings = {
        **default,
        "PROVIDERS": {**default["PROVIDERS"], "unreachable": away},
        "METRICS": True,
        "METRICS_TOKEN": TOKEN,
        "USAGE_INTERVAL": 0.05,
        "PRICES": PRICES,
        "ROUTES": {"fast": ["unreachable/gpt-5-mini", "openai/gpt-5-mini"]},
    }
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "gateway-of-the-tests"}
    process = GatewayProcess(
        door,
        settings,
        tmp_path / "gateway.log",
        site={"DATABASES": {"default": site_database}},
        environment=environment,
    )
    yield Watched(process, LedgerReader(site_database["NAME"]), collector)
    process.stop()
    collector.stop()
    process.assert_log_in_order()


def test_all_of_them_are_told_what_is_written_down(watched: Watched, upstream: Upstream) -> None:
    refused = json_answer({"error": {"message": "no such model", "code": "model_not_found"}}, status=404)
    failed = json_answer({"error": {"message": "try later"}}, status=503)
    overloaded = json_answer({"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, status=529)
    upstream.answer(
        json_answer(ANSWER),
        event_stream(*STREAM),
        refused,
        failed,
        json_answer(ANSWER),
        event_stream(*STREAM[:2]),
        overloaded,
    )
    watched.ask(CHAT, CHAT_PATH, ("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "vendor=1"))
    watched.ask({**CHAT, "stream": True})
    watched.ask({**CHAT, "model": "openai/made-up-by-a-caller"})
    watched.ask()
    watched.ask({**CHAT, "model": "fast"})
    watched.ask({**CHAT, "stream": True})
    watched.ask(MESSAGES, MESSAGES_PATH, ("traceparent", f"00-{TRACE}-{SPAN}-00"))
    watched.ask(CHAT, f"{CHAT_PATH}/deeper/{'x' * 300}", ("x-provider", "nobody"))
    rows = watched.rows()
    assert [row["outcome"] for row in rows] == [
        *("answered", "answered", "failed", "failed", "answered", "failed", "failed", "refused"),
    ]
    assert_told_to_prometheus(watched.scrape_of(len(rows)), rows)
    assert_grafana_knows(watched.scrape())
    watched.process.stop()
    assert_spans(watched.collector.spans, rows, upstream)
    assert watched.collector.services == {"gateway-of-the-tests"}
    assert_measures(watched.collector.metrics, rows)


def model_of(row: dict[str, Any]) -> tuple[str, str]:
    """The labels of a call: the model that a provider does not know is none."""
    return row["provider"], "other" if row["served_model"] in ("made-up-by-a-caller", "claude-haiku-4-5") else row[
        "served_model"
    ]


def assert_told_to_prometheus(scrape: Scrape, rows: list[dict[str, Any]]) -> None:
    labels = ("provider", "model", "outcome", "status")
    requests = Counter((*model_of(row), row["outcome"], f"{row['status'] // 100}xx") for row in rows)
    assert scrape.series("ai_gateway_requests_total", *labels) == requests
    endpoints = {("chat/completions",): len(rows) - 1, ("messages",): 1}
    assert scrape.series("ai_gateway_requests_total", "endpoint") == endpoints
    for name in TOKENS:
        bucket = (name.removesuffix("_tokens"),)
        assert scrape.series("ai_gateway_tokens_total", "bucket").get(bucket, 0) == sum(row[name] for row in rows)
    costs = sum(row["cost_nanos"] or 0 for row in rows)
    assert scrape.total("ai_gateway_cost_dollars_total") == pytest.approx(costs / 1e9, abs=1e-12)
    assert scrape.total("ai_gateway_unpriced_requests_total") == sum(row["cost_nanos"] is None for row in rows)
    duration = sum(row["duration_ms"] for row in rows) / 1e3
    assert scrape.total("ai_gateway_request_duration_seconds_count") == len(rows)
    assert scrape.total("ai_gateway_request_duration_seconds_sum") == pytest.approx(duration)
    first = [row["first_token_ms"] / 1e3 for row in rows if row["first_token_ms"] is not None]
    assert scrape.total("ai_gateway_time_to_first_token_seconds_count") == len(first)
    assert scrape.total("ai_gateway_time_to_first_token_seconds_sum") == pytest.approx(sum(first))
    once = [row["overhead_us"] / 1e6 for row in rows if row["attempts"] == 1 and not row["trail"]]
    assert scrape.total("ai_gateway_overhead_seconds_count") == len(once) > 2
    assert scrape.total("ai_gateway_overhead_seconds_sum") == pytest.approx(sum(once))
    assert scrape.series("ai_gateway_upstream_failures_total", "provider", "kind") == {
        ("openai", "unsuitable"): 1,
        ("openai", "overloaded"): 1,
        ("unreachable", "unreachable"): 1,
        ("openai", "broken"): 1,
        ("anthropic", "overloaded"): 1,
    }
    assert scrape.series("ai_gateway_reattempts_total", "provider", "kind") == {("openai", "fallback"): 1}
    assert scrape.total("ai_gateway_upstream_connections") > 0
    assert scrape.series("ai_gateway_ledger_entries_total", "fate") == {("written",): len(rows)}


def assert_spans(spans: list[Span], rows: list[dict[str, Any]], upstream: Upstream) -> None:
    recorded = [row for row in rows if row["status"] != 529]  # Its caller does not record its trace.
    servers = {span.attributes["ai_gateway.request_id"]: span for span in spans if span.kind == SERVER}
    assert servers.keys() == {row["request_id"] for row in recorded}
    for row in recorded:
        span = servers[row["request_id"]]
        assert span.trace_id == row["trace_id"]
        assert span.ended - span.began == pytest.approx(row["duration_ms"], abs=0.01)
        assert span.is_failed == (row["outcome"] != "answered")
        below = [each for each in spans if each.parent_id == span.span_id]
        assert len(below) == max(row["attempts"], len(row["trail"]))
        assert all(each.kind == CLIENT and each.trace_id == span.trace_id for each in below)
        assert all(span.began <= each.began <= each.ended <= span.ended for each in below)
        assert sum(each.attributes.get("gen_ai.usage.input_tokens", 0) for each in below) == row["input_tokens"]
        assert span.attributes.get("ai_gateway.cost", 0) == pytest.approx((row["cost_nanos"] or 0) / 1e9)
    first = servers[rows[0]["request_id"]]
    assert (first.trace_id, first.parent_id) == (TRACE, SPAN)
    assert first.name == "chat gpt-5-mini"
    assert (
        len({row["trace_id"] for row in rows[1:] if row["status"] != 529}) == len(rows) - 2
    )  # A trace for each of them.
    told = [str(request.header("traceparent")).split("-") for request in upstream.requests]
    clients = {(span.trace_id, span.span_id) for span in spans if span.kind == CLIENT}
    assert {(trace, span) for _, trace, span, flags in told if flags == "01"} <= clients
    assert told[-1][1:4:2] == [TRACE, "00"]
    assert upstream.requests[0].header("tracestate") == "vendor=1"


def assert_measures(metrics: dict[str, list[Point]], rows: list[dict[str, Any]]) -> None:
    used = {"input": 0.0, "output": 0.0}
    for point in metrics["gen_ai.client.token.usage"]:
        used[point.attributes["gen_ai.token.type"]] += point.sum
    assert used == {
        "input": sum(sum(row[name] for name in TOKENS[:4]) for row in rows),
        "output": sum(row["output_tokens"] + row["reasoning_tokens"] for row in rows),
    }
    request = metrics["gen_ai.server.request.duration"]
    assert sum(point.number for point in request) == len(rows)
    assert sum(point.sum for point in request) == pytest.approx(sum(row["duration_ms"] for row in rows) / 1e3)
    assert {point.attributes.get("gen_ai.request.model") for point in request} == {"gpt-5-mini", "other", None}
    first = [row["first_token_ms"] for row in rows if row["first_token_ms"] is not None]
    assert sum(point.number for point in metrics["gen_ai.server.time_to_first_token"]) == len(first)
    assert "gen_ai.server.time_per_output_token" in metrics
    (cost,) = metrics["ai_gateway.cost"]
    assert cost.sum == pytest.approx(sum(row["cost_nanos"] or 0 for row in rows) / 1e9)


SELECTOR = re.compile(r"(ai_gateway_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r"(\w+)\s*=~?")
GROUPING = re.compile(r"by \(([^)]*)\)")


def assert_grafana_knows(scrape: Scrape) -> None:
    """Every expression of the dashboard is of metrics that there are, and of labels that they have."""
    dashboard = json.loads((ROOT / "docs" / "grafana" / "ai-gateway.json").read_text(encoding="utf-8"))
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    expressions = [target["expr"] for panel in panels for target in panel["targets"]]
    labels: dict[str, set[str]] = {}
    for sample in scrape.samples:
        labels.setdefault(sample.name, set()).update(sample.labels)
    shown = set()
    for expression in expressions:
        found = SELECTOR.findall(expression)
        assert found, expression
        for name, selector in found:
            assert name in labels or is_empty(name, scrape), f"there is no {name}"
            shown.add(re.sub("_bucket$", "", name))
            wanted = {*LABEL.findall(selector), *re.findall(r"\w+", " ".join(GROUPING.findall(expression)))}
            assert name not in labels or wanted <= labels[name], (expression, labels[name])
    ours = {sample.name for sample in scrape.samples if sample.name.startswith("ai_gateway_")}
    hidden = {name for name in ours if not name.endswith(("_created", "_sum", "_count", "_bucket"))} - shown
    assert hidden == {"ai_gateway_info"}


def is_empty(name: str, scrape: Scrape) -> bool:
    """Whether a metric is there without a series so far."""
    return name.removesuffix("_total") in scrape.names
