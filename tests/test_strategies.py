"""In which order are a route's targets asked?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import registry, traffic
from ai_gateway.calls import Call, Target
from ai_gateway.routing import resolve
from ai_gateway.strategies import STRATEGIES
from tests.factories import make_call

OPENAI, GROQ, MISTRAL = (Target(name, "m") for name in ("openai", "groq", "mistral"))
ALL = [OPENAI, GROQ, MISTRAL]
TARGETS = ["openai/m", "groq/m", "mistral/m"]


def order(call: Call | None = None, prices: Sequence[dict[str, Any]] = (), **route: Any) -> list[Target]:
    entry = {"targets": TARGETS, **route}
    with override_settings(AI_GATEWAY={"ROUTES": {"r": entry}, "PRICES": prices}):
        return list(resolve(call or make_call(model="r"), registry.snapshot()))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_gives_every_target_once(strategy: str) -> None:
    assert sorted(order(strategy=strategy)) == sorted(ALL)


def test_in_order() -> None:
    assert order(strategy="failover") == ALL


def test_by_weight() -> None:
    first = Counter(order(strategy="weighted", weights=[8, 1, 1])[0] for _ in range(500))
    assert first[OPENAI] > 300
    assert set(first) == set(ALL)


def test_in_turn() -> None:
    first = [order(strategy="round_robin")[0] for _ in range(6)]
    assert Counter(first) == dict.fromkeys(ALL, 2)
    assert first[:3] == first[3:]


def test_the_least_busy_first() -> None:
    for _ in range(2):
        traffic.begin(OPENAI)
    traffic.begin(MISTRAL)
    assert order(strategy="least_busy") == [GROQ, MISTRAL, OPENAI]
    traffic.end(MISTRAL)
    traffic.end(OPENAI)
    traffic.end(OPENAI)
    assert {order(strategy="least_busy")[0] for _ in range(60)} == set(ALL)


def test_the_slowest_is_never_first_where_two_are_drawn() -> None:
    for target, seconds in ((OPENAI, 0.9), (GROQ, 0.1), (MISTRAL, 0.5)):
        traffic.begin(target)
        traffic.end(target, seconds)
    orders = {tuple(order(strategy="lowest_latency")) for _ in range(100)}
    assert {first for first, *_ in orders} == {GROQ, MISTRAL}
    assert {rest[-1] for _, *rest in orders} == {OPENAI}


def test_who_nobody_asked_yet_is_tried() -> None:
    for target in (OPENAI, GROQ):
        traffic.begin(target)
        traffic.end(target, 0.1)
    assert MISTRAL in {order(strategy="lowest_latency")[0] for _ in range(60)}


def test_a_fast_target_with_many_calls_is_not_fast() -> None:
    for target, seconds in ((OPENAI, 0.1), (GROQ, 0.2)):
        traffic.begin(target)
        traffic.end(target, seconds)
    for _ in range(3):
        traffic.begin(OPENAI)
    assert traffic.expected_wait(OPENAI) > traffic.expected_wait(GROQ)


def test_a_slower_answer_counts_at_once_and_a_faster_one_bit_by_bit() -> None:
    for seconds in (0.1, 2.0, 0.1):
        traffic.begin(OPENAI)
        traffic.end(OPENAI, seconds)
    assert 1.5 < traffic.expected_wait(OPENAI) <= 2.0


PRICES = [
    {"provider": "openai", "model": "m", "input": 5, "output": 20},
    {"provider": "groq", "model": "m", "input": 1, "output": 1},
]


def test_the_cheapest_first_and_the_unknown_last() -> None:
    assert order(strategy="cheapest", prices=PRICES) == [GROQ, OPENAI, MISTRAL]


def said(text: str, *headers: tuple[bytes, bytes]) -> Call:
    return make_call("/v1/chat/completions", *headers, body=text.encode(), model="r")


def test_a_session_stays_with_its_target() -> None:
    sessions = [b"session-%d" % number for number in range(200)]
    first = {each: order(said("{}", (b"x-session-id", each)), sticky="session")[0] for each in sessions}
    again = {each: order(said('{"n":1}', (b"x-session-id", each)), sticky="session")[0] for each in sessions}
    assert first == again
    assert min(Counter(first.values()).values()) > 30


def test_sessions_follow_the_weights() -> None:
    calls = [said("{}", (b"x-user-id", b"%d" % number)) for number in range(300)]
    first = Counter(order(call, sticky="session", strategy="weighted", weights=[8, 1, 1])[0] for call in calls)
    assert first[OPENAI] > 180


def test_a_call_without_a_session_goes_by_the_strategy() -> None:
    assert order(said("{}"), sticky="session", strategy="failover") == ALL


def test_prompts_that_begin_alike_go_to_the_same_target() -> None:
    system = '{"model": "r", "messages": [{"role": "system", "content": "' + "You are helpful. " * 200
    firsts = {order(said(f"{system}{number}"), sticky="prefix")[0] for number in range(20)}
    assert len(firsts) == 1
    others = {order(said(f'{{"messages": "{number}"}}'), sticky="prefix")[0] for number in range(60)}
    assert others == set(ALL)


def test_when_a_target_goes_only_its_own_sessions_move() -> None:
    calls = [said("{}", (b"x-session-id", b"%d" % number)) for number in range(100)]
    before = [order(call, sticky="session") for call in calls]
    after = [order(call, sticky="session", targets=TARGETS[:2])[0] for call in calls]
    for full, left in zip(before, after, strict=True):
        assert left == next(target for target in full if target != MISTRAL)
