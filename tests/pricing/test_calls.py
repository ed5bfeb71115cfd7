"""Prices on the way of a call: required before it is sent, and charged at its end."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import admission, registry, unpriced
from ai_gateway.accounting import cost_of
from ai_gateway.calls import Target
from ai_gateway.charges import Charges, State, Verdict
from ai_gateway.consumption import Consumption
from ai_gateway.errors import PriceUnknown
from ai_gateway.limits.memory import MemoryStore
from ai_gateway.meter import Meter
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.registry import Snapshot
from tests.factories import make_call, make_meter, run

BUDGET = {"name": "all", "scope": "everyone", "measure": "cost", "window": "day", "amount": 1}
RATE = {"name": "rate", "scope": "everyone", "measure": "requests", "window": "minute", "amount": 9}
PRICES = [
    {"provider": "gpu", "model": "priced", "input": 1, "output": 2},
    {"provider": "gpu", "model": "free", "input": 0, "output": 0},
]


class Recorder(MemoryStore):
    """A store that admits everything, and keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def admit_now(self, charges: Charges) -> Verdict:
        self.asked += charges.amounts
        return Verdict(True, [State(0, 1, 0.0) for _ in charges.counters])


def snapshot_of(**settings: Any) -> Snapshot:
    gpu = {"BACKEND": "custom", "OPTIONS": {"base_url": "https://gpu.example/v1", "api_key": "k"}}
    azure = {"BACKEND": "azure", "OPTIONS": {"resource": "ours", "api_key": "k"}}
    with override_settings(AI_GATEWAY={"PROVIDERS": {"gpu": gpu, "azure": azure}, "PRICES": PRICES, **settings}):
        return registry.snapshot()


# REQUIRE_PRICE.


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(admission, "store", lambda: recorder)
    return recorder


def admit(model: str, policy: str, *limits: dict[str, Any]) -> None:
    """Have a call admitted: 90 bytes of prompt are 30 tokens, and it allows 100 of an answer."""
    body = b'{"model": "m", "max_tokens": 100, "x": "'.ljust(88, b"a") + b'"}'
    snapshot = snapshot_of(REQUIRE_PRICE=policy, LIMITS=limits)
    run(admission.admit(make_meter(make_call(body=body)), Target("gpu", model), snapshot))


REFUSED = {
    ("always", "no limit"): True,
    ("always", "rate"): True,
    ("always", "budget"): True,
    ("budgeted", "no limit"): False,
    ("budgeted", "rate"): False,
    ("budgeted", "budget"): True,
    ("never", "no limit"): False,
    ("never", "rate"): False,
    ("never", "budget"): False,
}
LIMITS: dict[str, list[dict[str, Any]]] = {"no limit": [], "rate": [RATE], "budget": [BUDGET]}


@pytest.mark.parametrize(("policy", "limit"), REFUSED)
@pytest.mark.usefixtures("store")
def test_a_model_that_nobody_knows_the_price_of(policy: str, limit: str) -> None:
    if not REFUSED[policy, limit]:
        admit("mystery", policy, *LIMITS[limit])
        return
    with pytest.raises(PriceUnknown) as caught:
        admit("mystery", policy, *LIMITS[limit])
    assert "does not know what gpu/mystery costs" in caught.value.message
    assert "0 for what is free" in caught.value.message


@pytest.mark.parametrize("policy", ["always", "budgeted", "never"])
@pytest.mark.parametrize("model", ["priced", "free"])
def test_a_model_with_a_price_is_let_through_by_every_policy(store: Recorder, policy: str, model: str) -> None:
    admit(model, policy, BUDGET)
    # 30 tokens at a dollar and 100 at two dollars for a million, in nano-dollars.
    assert store.asked == [230_000 if model == "priced" else 0]


def test_a_call_without_a_price_counts_as_nothing_where_none_is_required(store: Recorder) -> None:
    admit("mystery", "never", BUDGET, RATE)
    assert sorted(store.asked) == [0, 1]


# What a call is charged at its end.


def ended(provider: str, model: str | None, consumption: Consumption | None, status: int = 200) -> Meter:
    meter = make_meter(make_call())
    meter.call = make_call()
    meter.target = Target(provider, model)
    meter.consumption, meter.status = consumption, status
    return meter


USED = Consumption(tokens=TokenUsage(input=10, output=5), model="gpt-5-mini-2025-08-07")


def test_a_call_costs_what_its_target_costs() -> None:
    assert cost_of(ended("gpu", "priced", USED), snapshot_of()) == 20_000


def test_a_deployment_costs_what_the_model_that_answered_costs() -> None:
    """Its name says nothing of the model. 10*0.25 + 5*2 dollars for a million, by the catalogue."""
    assert cost_of(ended("azure", "our-deployment", USED), snapshot_of()) == 12_500


def test_a_price_of_the_deployment_comes_before_that_of_the_model() -> None:
    prices = [{"provider": "azure", "model": "our-deployment", "input": 1, "output": 0}]
    assert cost_of(ended("azure", "our-deployment", USED), snapshot_of(PRICES=prices)) == 10_000


def test_a_call_that_used_nothing_costs_nothing() -> None:
    assert cost_of(ended("gpu", "mystery", None, status=400), snapshot_of()) == 0


def test_a_call_without_a_price_has_no_cost_and_the_operator_hears_of_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(unpriced, "_named_at", {})
    assert cost_of(ended("gpu", "mystery", USED), snapshot_of()) is None
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "gpu/mystery" in record.getMessage()
