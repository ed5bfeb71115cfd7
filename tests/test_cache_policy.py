"""Whose calls are answered from the cache, and what a caller may want of it."""

from __future__ import annotations

import pytest

from ai_gateway.cache_policy import ANYTHING, CachePolicy, Wishes, owner_of, wishes_of
from ai_gateway.calls import Caller

ANN = Caller(key_name="ann's", key_id=7, user_id=3)
SITE = Caller(key_name="team")


@pytest.mark.parametrize(
    ("setting", "caching", "route", "switch", "is_covered"),
    [
        ({}, "", "", "", True),
        ({"keys": ["other-*"]}, "", "", "", False),
        ({"keys": ["ann*"]}, "", "", "", True),
        ({"keys": [], "routes": ["fa*"]}, "", "fast", "", True),
        ({"keys": [], "routes": ["fa*"]}, "", "slow", "", False),
        ({"keys": [], "routes": ["*"]}, "", "", "", False),
        ({"keys": []}, "on", "", "", True),
        ({"keys": []}, "", "fast", "on", True),
        ({}, "off", "fast", "on", False),
        ({}, "on", "fast", "off", False),
    ],
)
def test_whose_calls_are_answered(setting: object, caching: str, route: str, switch: str, is_covered: bool) -> None:
    caller = Caller(key_name="ann's", caching=caching)
    assert CachePolicy.read(setting).covers(caller, route, switch) is is_covered  # type: ignore[arg-type]


def test_a_caller_without_a_gateway_key_is_not() -> None:
    assert not CachePolicy().covers(Caller(credential=(b"authorization", b"Bearer sk")), "fast", "on")


@pytest.mark.parametrize(
    ("caller", "scope", "owner"),
    [
        (ANN, "key", "key:7"),
        (ANN, "user", "user:3"),
        (ANN, "everyone", "everyone"),
        (SITE, "key", "settings:team"),
        (SITE, "user", "settings:team"),
        (SITE, "everyone", "everyone"),
    ],
)
def test_who_gets_an_answer_again(caller: Caller, scope: str, owner: str) -> None:
    assert owner_of(caller, scope) == owner


@pytest.mark.parametrize(
    ("header", "wishes"),
    [
        (b"", ANYTHING),
        (b"no-cache", Wishes(reads=False)),
        (b"NO-STORE", Wishes(keeps=False)),
        (b"no-cache, no-store", Wishes(reads=False, keeps=False)),
        (b"max-age=60", Wishes(max_age=60)),
        (b'max-age="60", ttl=5', Wishes(max_age=60, ttl=5)),
        (b"ttl=0", Wishes(ttl=0)),
        (b"replay=paced", Wishes(replay="paced")),
        (b"max-age=60, Replay=At-Once", Wishes(max_age=60, replay="at-once")),
        (b"replay, replay=slowly", ANYTHING),
        (b"max-age, ttl=-1, max-age=1e9, stale-if-error=5", ANYTHING),
        (b"max-age=99999999999", ANYTHING),
        (b"\xff=\xff", ANYTHING),
    ],
)
def test_what_a_caller_wants(header: bytes, wishes: Wishes) -> None:
    assert wishes_of({b"x-gateway-cache": header}) == wishes


def test_most_want_nothing() -> None:
    assert wishes_of({}) is ANYTHING
