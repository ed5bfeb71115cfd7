"""What is left of a caller's budgets, as far as this process has heard."""

from __future__ import annotations

import time
from functools import partial
from math import inf
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import admission, balances, gateway
from ai_gateway.calls import Caller
from ai_gateway.charges import Charges, State, Verdict
from tests.factories import JSON, Answer, Recorder, Scripted, make_arrival, run

SOMEBODY, OTHER = Caller(key_id=1, key_name="a"), Caller(key_id=2, key_name="a")


def test_a_caller_that_was_not_heard_of_has_everything() -> None:
    balances.note(SOMEBODY, 5, inf)
    assert (balances.left(SOMEBODY), balances.left(OTHER)) == (5, 100)


def test_what_was_heard_holds_until_the_period_ends() -> None:
    balances.note(SOMEBODY, 5, time.time() - 1)
    assert balances.left(SOMEBODY) == 100


def test_memory_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(balances, "REMEMBERED", 2)
    for number in range(4):
        balances.note(Caller(key_id=number), number, inf)
    assert [balances.left(Caller(key_id=number)) for number in range(4)] == [100, 100, 2, 3]


KEY = (b"authorization", b"Bearer gw_a-key-of-the-settings")
BUDGET = {"name": "team", "scope": "key", "measure": "cost", "window": "month", "amount": 10}
SITE: dict[str, Any] = {
    "PROVIDERS": {name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in ("openai", "groq")},
    "KEYS": {"team": "gw_a-key-of-the-settings"},
    "PRICES": [{"model": "*", "input": 1, "output": 10}],
    "ROUTES": {"r": {"targets": [{"target": "openai/dear", "conditions": {"min_budget_left": 20}}, "groq/cheap"]}},
}


def providers(*remaining: int, limits: list[dict[str, Any]]) -> list[str]:
    """Who serves a key's calls, if the store says of each, in turn, so many percent of every limit remain."""
    served = []
    with override_settings(AI_GATEWAY={**SITE, "LIMITS": limits}), pytest.MonkeyPatch.context() as patch:
        for percent in remaining:
            admits = Recorder()
            patch.setattr(admits, "admit", partial(admit, percent))
            patch.setattr(admission, "store", lambda admits=admits: admits)
            call = make_arrival("/v1/chat/completions", KEY, body=b'{"model": "r", "messages": []}')
            reply = run(gateway.handle(call, Scripted(Answer(b"{}", headers=[JSON]))))
            served.append(dict(reply.headers)[b"x-gateway-provider"].decode())
    return served


async def admit(percent: int, charges: Charges, ttl: float) -> Verdict:
    return Verdict(True, [State(0, counter.ceiling * percent // 100, 0.0) for counter in charges.counters])


def test_a_key_with_little_left_goes_to_the_cheaper_model_and_comes_back() -> None:
    assert providers(60, 20, 19, 50, 50, limits=[BUDGET]) == ["openai", "openai", "openai", "groq", "openai"]


@pytest.mark.parametrize(
    "limit",
    [
        {"name": "rate", "scope": "key", "measure": "tokens", "amount": 1000},
        {"name": "at once", "scope": "key", "measure": "concurrency", "amount": 5},
        {"name": "model", "scope": "model", "measure": "requests", "window": "day", "amount": 5},
    ],
    ids=lambda limit: limit["name"],
)
def test_rates_and_limits_of_targets_are_no_budgets(limit: dict[str, Any]) -> None:
    assert providers(1, 1, limits=[limit]) == ["openai", "openai"]


def test_nothing_is_remembered_where_nobody_asks() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SITE, "ROUTES", {"r": ["openai/dear", "groq/cheap"]})
        assert providers(1, 1, limits=[BUDGET]) == ["openai", "openai"]
    assert balances._left == {}
