"""Metrics for Prometheus, beside what a whole gateway shows: what there is at the moment, and several processes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from django.test import override_settings
from prometheus_client import REGISTRY

from ai_gateway import breakers, daemons, ledger, lifespan, overload, scraping
from ai_gateway.allowances import LimitRule
from ai_gateway.breakers import BreakerPolicy
from ai_gateway.bulkheads import Bulkhead
from ai_gateway.calls import Target
from ai_gateway.meter import Entry
from ai_gateway.signals import call_finished, calls_finished, limit_reached
from ai_gateway.telemetry import METRICS_DIRECTORY, fates, prometheus
from ai_gateway.transports import Connections
from ai_gateway.transports.pooled import PooledTransport
from tests.factories import run
from tests.gateway_process import ROOT
from tests.ledger.entries import entry
from tests.patience import until
from tests.threads import none_can_start


@pytest.fixture(autouse=True)
def routes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(METRICS_DIRECTORY, raising=False)
    with override_settings(AI_GATEWAY={"ROUTES": {"fast": ["openai/of-the-route", "openai/mirrored"]}}):
        yield


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def test_what_there_is_at_the_moment_is_looked_at_when_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, provider = Bulkhead(), Bulkhead()
    calls.taken, calls.waiting, calls.refused, provider.taken = 3, 2, 4, 5
    monkeypatch.setattr(overload, "calls", calls)
    monkeypatch.setitem(overload.at_providers, "openai", provider)
    before = value("ai_gateway_calls_turned_away_total")
    for _ in range(2):
        prometheus.sampler.look()
    assert value("ai_gateway_calls_in_flight") == 3
    assert value("ai_gateway_calls_waiting") == 2
    assert value("ai_gateway_calls_turned_away_total") >= before
    assert value("ai_gateway_provider_calls_in_flight", provider="openai") == 5


@pytest.fixture
def _connected(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A site that collects metrics."""
    monkeypatch.setattr(scraping, "source", None)
    monkeypatch.setattr(lifespan, "on_start", [])
    prometheus.connect()
    yield
    for signal, sender in ((call_finished, Entry), (calls_finished, Entry), (limit_reached, LimitRule)):
        signal.disconnect(sender=sender, dispatch_uid="ai_gateway.telemetry.prometheus")


@pytest.mark.usefixtures("_connected")
def test_what_became_of_records_is_counted_with_their_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    spool, writer = SimpleNamespace(waiting=0, kept=0, lost=0), SimpleNamespace(written=0, rejected=0)
    monkeypatch.setattr(ledger, "ledger", SimpleNamespace(spool=spool, writer=writer))
    monkeypatch.setattr(prometheus.sampler, "_seen", {})
    before = value("ai_gateway_ledger_entries_total", fate="written")
    writer.written = 2
    calls_finished.send(Entry, entries=[entry(), entry()])
    assert value("ai_gateway_ledger_entries_total", fate="written") == before + 2


def test_what_did_not_reach_a_collector_of_opentelemetrys_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    found = fates.Fates("spans")
    monkeypatch.setattr(fates, "spans", found)
    monkeypatch.setattr(prometheus.sampler, "_seen", {})
    prometheus.sampler.look()
    before = {fate: value("ai_gateway_otel_spans_total", fate=fate) for fate in ("sent", "dropped", "failed")}
    found.note_sent(5)
    found.note_dropped(3)
    for _ in range(2):
        prometheus.sampler.look()
    after = {fate: value("ai_gateway_otel_spans_total", fate=fate) - number for fate, number in before.items()}
    assert after == {"sent": 5, "dropped": 3, "failed": 0}


def test_a_worker_looks_from_its_start_on() -> None:
    prometheus.connect()
    assert lifespan.on_start.count(prometheus.sampler.begin) == 1


def test_a_look_that_fails_is_not_the_last(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    looks: list[None] = []

    def look() -> None:
        looks.append(None)
        assert len(looks) > 1

    monkeypatch.setattr(daemons, "PAUSE", 0.01)
    monkeypatch.setattr(prometheus, "SAMPLE", 0.01)
    sampler = prometheus.Sampler()
    monkeypatch.setattr(sampler, "look", look)
    sampler.begin()
    assert not sampler._daemon.is_running  # It answers for itself.
    monkeypatch.setenv(METRICS_DIRECTORY, str(tmp_path))
    with none_can_start():
        sampler.begin()
    sampler.begin()
    until(lambda: len(looks) > 2)
    sampler._daemon.end(5)


def test_a_breaker_that_has_closed_is_told_to_be_closed() -> None:
    target, labels = Target("openai", "of-the-route"), {"provider": "openai", "model": "of-the-route"}
    breakers.note(target, BreakerPolicy(consecutive=1), is_good=False)
    breakers.note(Target("openai", "made-up"), BreakerPolicy(consecutive=1), is_good=False)
    prometheus.sampler.look()
    assert value("ai_gateway_breaker_state", **labels) == prometheus.STATES["open"]
    assert value("ai_gateway_breaker_state", provider="openai", model="other") == prometheus.STATES["open"]
    breakers.forget()
    prometheus.sampler.look()
    assert value("ai_gateway_breaker_state", **labels) == 0


def test_copies_of_calls_cost_but_are_nobodys_requests() -> None:
    labels = {"provider": "openai", "model": "mirrored"}
    prometheus.hear(
        entry(provider="openai", served_model="mirrored", is_mirror=True, output_tokens=7, cost_nanos=10**9)
    )
    assert value("ai_gateway_mirrored_requests_total", **labels) == 1
    assert value("ai_gateway_request_duration_seconds_count", **labels) == 0
    assert value("ai_gateway_tokens_total", **labels, bucket="output") == 7
    assert value("ai_gateway_cost_dollars_total", **labels) == 1


def test_what_answers_from_the_cache_save_is_summed_up() -> None:
    prometheus.hear(
        entry(
            provider="openai",
            served_model="of-the-route",
            outcome="cached",
            status=200,
            cost_nanos=0,
            saved_nanos=2 * 10**9,
        )
    )
    labels = {"provider": "openai", "model": "of-the-route"}
    assert value("ai_gateway_saved_dollars_total", **labels) == 2
    assert value("ai_gateway_requests_total", **labels, endpoint="other", outcome="cached", status="2xx") == 1


def test_a_limit_that_refuses_is_counted_by_its_name() -> None:
    before = value("ai_gateway_limits_reached_total", limit="each key")
    rule = LimitRule(id="1", name="each key", scope="key", measure="requests", window="minute", amount=60)
    prometheus.hear_limit(rule)
    assert value("ai_gateway_limits_reached_total", limit="each key") == before + 1


def test_connections_are_counted_over_all_pools() -> None:
    async def main() -> Connections | None:
        transport = PooledTransport()
        try:
            return transport.connections()
        finally:
            await transport.aclose()

    assert run(main()) == Connections(0, 0, 0)


def test_processes_that_are_gone_are_found(tmp_path: Path) -> None:
    gone = 2**22 + 1  # More than any process id of Linux.
    for pid in (os.getpid(), gone):
        (tmp_path / f"gauge_livesum_{pid}.db").write_bytes(b"")
        (tmp_path / f"counter_{pid}.db").write_bytes(b"")
    assert [*prometheus.dead(tmp_path)] == [gone]


def test_every_metric_is_documented() -> None:
    page = (ROOT / "docs" / "telemetry.md").read_text(encoding="utf-8")
    ours = {family.name for family in REGISTRY.collect() if family.name.startswith("ai_gateway_")}
    documented = {name.removesuffix("_total") for name in re.findall(r"`(ai_gateway_\w+)", page)}
    assert ours == documented
