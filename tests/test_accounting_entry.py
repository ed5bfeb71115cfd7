"""What an entry says fits into the columns that it is for, whatever callers, providers and settings come up with."""

from __future__ import annotations

import msgspec
import pytest

from ai_gateway import accounting, ledger_salvage, registry
from ai_gateway.calls import Caller, Target
from ai_gateway.consumption import Consumption
from ai_gateway.errors import Kind, ProviderError
from ai_gateway.meter import Entry, Meter
from ai_gateway.models import UsageRecord
from ai_gateway.protocols.conversation import BUCKETS, TokenUsage
from tests.factories import make_call, make_meter

NAME = "n" * 500 + "\0"
LONG = 40 * 60.0
"""Seconds in which more microseconds pass than a column holds."""


def closed(meter: Meter) -> Entry:
    entry = accounting.close(meter, registry.snapshot())
    assert entry is not None
    return entry


def test_names_and_times_fit() -> None:
    meter = make_meter(make_call(model=NAME), Caller(key_name=NAME, tags=(NAME, "beta")))
    meter.begin_attempt(Target(NAME, NAME))
    meter.fail_attempt(503, NAME, meter.arrival.received_at)
    meter.attempts, meter.route, meter.variant, meter.error_code = 1, NAME, NAME, NAME
    meter.sent_at = meter.arrival.received_at + LONG
    meter.consumption = Consumption(service_tier=NAME, upstream_id=NAME)
    entry = closed(meter)
    assert entry == ledger_salvage.fitted(entry)
    assert entry.overhead_us == 2**31 - 1
    assert len(entry.error_code) == UsageRecord._meta.get_field("error_code").max_length
    assert len(entry.service_tier) == UsageRecord._meta.get_field("service_tier").max_length
    assert entry.tags == ["n" * 200, "beta"]


def test_the_code_of_an_error_that_the_gateway_tells_fits() -> None:
    meter = make_meter(make_call(), Caller(key_name="k"))
    meter.fail(ProviderError("no", kind=Kind.UPSTREAM, status=400, code=NAME))
    assert closed(meter).error_code == "n" * 100


@pytest.mark.parametrize("bucket", BUCKETS)
def test_more_than_any_call_uses_is_bounded_and_logged(bucket: str, caplog: pytest.LogCaptureFixture) -> None:
    meter = make_meter(make_call(), Caller(key_name="k"))
    meter.target = Target("openai", "m")
    meter.consumption = Consumption(tokens=msgspec.structs.replace(TokenUsage(input=3, output=4), **{bucket: 10**30}))
    entry = closed(meter)
    assert getattr(entry, f"{bucket}_tokens") == accounting.MOST_TOKENS
    assert entry.input_tokens + entry.output_tokens in (7, accounting.MOST_TOKENS + 3, accounting.MOST_TOKENS + 4)
    assert "more than any call can" in caplog.text


def test_a_cost_that_no_call_has_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accounting, "cost_of", lambda *_: 10**25)
    meter = make_meter(make_call(), Caller(key_name="k"))
    assert closed(meter).cost_nanos == accounting.MOST_NANOS
