"""Which calls are recorded: none unless somebody said so, then those of the keys and routes, and a part of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ai_gateway import recording, registry
from ai_gateway.calls import Caller, Target
from ai_gateway.conf import settings
from ai_gateway.configuration import RouteRule
from ai_gateway.ids import new_id
from ai_gateway.meter import Meter
from ai_gateway.recording_policy import RecordingPolicy
from ai_gateway.registry import Snapshot
from tests.factories import make_arrival

HOLDER = Caller(key_name="team-a")


def make_snapshot(**fields: Any) -> Snapshot:
    return replace(registry.snapshot(), **fields)


def wanted(caller: Caller = HOLDER, route: str = "", *, closed: bool = False, **policy: Any) -> bool:
    meter = Meter(make_arrival(), caller, route=route)
    meter.is_closed = closed
    snapshot = make_snapshot(recording=RecordingPolicy.read(policy))
    return recording.is_wanted(meter, snapshot)


def test_nothing_is_recorded_by_default() -> None:
    assert settings.BODY_LOGGING is None
    assert not recording.is_wanted(Meter(make_arrival(), HOLDER), make_snapshot(recording=None))


@pytest.mark.parametrize(
    ("policy", "is_wanted"),
    [
        ({}, False),
        ({"keys": ["team-a"]}, True),
        ({"keys": ["team-*"]}, True),
        ({"keys": ["team-b"]}, False),
        ({"routes": ["fast"]}, True),
        ({"routes": ["*"]}, True),
        ({"routes": ["slow"]}, False),
        ({"keys": ["*"], "percent": 0}, False),
    ],
)
def test_the_setting_names_keys_and_routes(policy: dict[str, Any], is_wanted: bool) -> None:
    assert wanted(route="fast", **policy) is is_wanted


def test_a_call_without_a_route_is_of_no_route() -> None:
    assert not wanted(routes=["*"])


def test_the_switch_of_a_key_counts_if_the_setting_is_there() -> None:
    switched = Caller(key_name="laptop", records_bodies=True)
    assert wanted(switched)
    assert not recording.is_wanted(Meter(make_arrival(), switched), make_snapshot(recording=None))


def test_the_switch_of_a_route_counts_if_the_setting_is_there() -> None:
    meter = Meter(make_arrival(), HOLDER, route="fast")
    rules = {"fast": RouteRule(records_bodies=True)}
    assert recording.is_wanted(meter, make_snapshot(rules=rules, recording=RecordingPolicy()))
    assert not recording.is_wanted(meter, make_snapshot(rules=rules, recording=None))


def test_strangers_that_got_nowhere_are_not_recorded() -> None:
    stranger = Meter(make_arrival(), Caller(), route="fast")
    snapshot = make_snapshot(recording=RecordingPolicy(routes=("fast",)))
    assert not recording.is_wanted(stranger, snapshot)
    stranger.begin_attempt(Target("openai", "m"))
    stranger.attempts = 1
    assert recording.is_wanted(stranger, snapshot)


def test_a_call_that_is_not_written_down_is_not_recorded() -> None:
    assert not wanted(keys=["*"], closed=True)


def test_a_percentage_is_drawn() -> None:
    policy = RecordingPolicy(percent=25)
    drawn = sum(policy.draws(new_id()) for _ in range(4000))
    assert 800 < drawn < 1200
