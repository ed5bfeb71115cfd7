"""How long may a target take?"""

from __future__ import annotations

from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import registry
from ai_gateway.calls import Target, Timeouts
from ai_gateway.configuration import RouteRule
from ai_gateway.declared import read_target
from ai_gateway.providers import CATALOG
from ai_gateway.timeouts import TimeoutTable

SETTINGS: dict[str, Any] = {
    "TIMEOUTS": {"connect": 1, "idle": 10, "first_byte": 100},
    "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "k", "timeouts": {"idle": 20, "stream": 30}}}},
    "ROUTES": {
        "plain": ["openai/m"],
        "quick": {
            "targets": [
                "openai/m",
                {"target": "groq/n", "timeouts": {"total": 0, "idle": 4}},
                {"target": "openai/trial", "part": "experiment", "percent": 5, "timeouts": {"connect": 2}},
            ],
            "timeouts": {"total": 50, "idle": 5},
        },
    },
}
OPENAI = Timeouts(connect=1, idle=20, first_byte=100, stream=30)


@pytest.fixture
def table() -> TimeoutTable:
    with override_settings(AI_GATEWAY=SETTINGS):
        return registry.snapshot().timeouts


def test_what_a_provider_does_not_say_is_the_sites(table: TimeoutTable) -> None:
    assert table.of_target("", Target("openai", "m")) == OPENAI
    assert table.of_target("", Target("groq", "n")) == Timeouts(connect=1, idle=10, first_byte=100)


def test_a_route_without_timeouts_changes_nothing(table: TimeoutTable) -> None:
    assert table.of_target("plain", Target("openai", "m")) == OPENAI


@pytest.mark.parametrize(
    ("target", "timeouts"),
    [
        ("openai/m", Timeouts(connect=1, idle=5, first_byte=100, stream=30, total=50)),
        ("groq/n", Timeouts(connect=1, idle=4, first_byte=100, total=0)),
        ("openai/trial", Timeouts(connect=2, idle=5, first_byte=100, stream=30, total=50)),
        ("openai/chosen-by-the-caller", Timeouts(connect=1, idle=5, first_byte=100, stream=30, total=50)),
    ],
)
def test_a_route_is_over_the_provider_and_a_target_over_the_route(
    table: TimeoutTable, target: str, timeouts: Timeouts
) -> None:
    assert table.of_target("quick", read_target(target)) == timeouts


def test_a_provider_of_no_snapshot_has_timeouts_too(table: TimeoutTable) -> None:
    tried = CATALOG["groq"].with_options({"timeouts": (("first_byte", 3.0),)})
    assert table.of(tried) == Timeouts(connect=1, idle=10, first_byte=3)
    assert table.of_target("", Target("unheard-of", "m")) == Timeouts(connect=1, idle=10, first_byte=100)


@pytest.mark.parametrize("given", [{"lunch": 5}, {"idle": "soon"}, {"idle": -1}, {"idle": 0}, [5]])
def test_what_cannot_be_read_is_logged_and_left_out(given: Any, caplog: pytest.LogCaptureFixture) -> None:
    target = Target("groq", "n")
    rule = RouteRule(timeouts=given, target_timeouts={target: {"idle": 3}})
    table = TimeoutTable(Timeouts(), CATALOG, {"r": [target]}, {"r": rule})
    assert table.of_target("r", target) == Timeouts(idle=3)
    assert "The timeouts of the route 'r' are left out" in caplog.text
