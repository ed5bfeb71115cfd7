"""So many percent of a route's calls are part of its experiment."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import experiments, registry, routing
from ai_gateway.calls import Call, Caller, Target
from tests.factories import make_call, make_meter

HOLDER = Caller(key_name="team")
TRIED = {"target": "groq/new", "part": "experiment", "percent": 20}
OTHER = {"target": "xai/newer", "part": "experiment", "percent": 30}


def take_part(
    *trials: Any, call: Call | None = None, caller: Caller = HOLDER, times: int = 1, **route: Any
) -> list[tuple[str, str]]:
    """Serve calls by a route with these targets on trial. Gives who is asked first, and the part, of each."""
    routes = {"chat": {"targets": ["openai/old", *trials], **route}}
    found = []
    with override_settings(AI_GATEWAY={"ROUTES": routes}):
        snapshot = registry.snapshot()
        for _ in range(times):
            asked = call or make_call(model="chat", body=b'{"model": "chat"}')
            meter = make_meter(asked, caller)
            meter.route = "chat"
            targets = experiments.take_part(meter, routing.resolve(asked, snapshot), snapshot)
            assert targets[-1] == Target("openai", "old")
            found.append((targets[0].provider, meter.variant))
    return found


def of_session(number: int) -> Call:
    return make_call("/v1/chat/completions", (b"x-session-id", b"session-%d" % number), model="chat")


def test_each_target_on_trial_gets_its_percentage() -> None:
    found = Counter(take_part(TRIED, OTHER, times=4000, experiment="spring"))
    assert set(found) == {("groq", "spring:groq/new"), ("xai", "spring:xai/newer"), ("openai", "spring:control")}
    assert found["groq", "spring:groq/new"] == pytest.approx(800, rel=0.2)
    assert found["xai", "spring:xai/newer"] == pytest.approx(1200, rel=0.2)


def test_an_experiment_without_a_name_has_the_routes() -> None:
    assert take_part({**TRIED, "percent": 100}) == [("groq", "chat:groq/new")]


def test_a_target_on_trial_for_nobody_is_never_asked() -> None:
    assert take_part({**TRIED, "percent": 0}, times=100) == [("openai", "")] * 100


def test_a_route_without_an_experiment_has_no_parts() -> None:
    assert take_part(sticky="session") == [("openai", "")]


def test_a_session_stays_in_its_part() -> None:
    half = {**TRIED, "percent": 50}
    parts = set()
    for number in range(30):
        (part,) = set(take_part(half, call=of_session(number), times=20))
        parts.add(part)
    assert len(parts) == 2


def test_the_experiments_of_two_routes_divide_the_sessions_differently() -> None:
    half = {**TRIED, "percent": 50}
    calls = [
        make_call("/v1/chat/completions", (b"x-session-id", b"session-%d" % number), model="chat")
        for number in range(40)
    ]
    first = [take_part(half, call=call, experiment="first")[0][0] for call in calls]
    second = [take_part(half, call=call, experiment="second")[0][0] for call in calls]
    assert first != second


def test_a_key_that_must_not_use_the_provider_takes_no_part() -> None:
    caller = Caller(key_name="team", allowed_providers=("openai",))
    assert take_part({**TRIED, "percent": 100}, caller=caller) == [("openai", "")]


def test_a_provider_that_is_broken_is_not_on_trial() -> None:
    gone = {**TRIED, "target": "nobody/new", "percent": 100}
    assert take_part(gone) == [("openai", "")]
