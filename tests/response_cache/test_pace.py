"""At which pace a kept stream is given again: as it came, if the settings, the route or the caller want it."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import msgspec
import pytest

from ai_gateway import replays
from ai_gateway.calls import Reply
from tests.response_cache.site import CHAT, EVENTS, Paused, Site, serve, stream, until
from tests.response_cache.test_flights import waiting

STREAM = {**CHAT, "stream": True}


class Again(msgspec.Struct):
    """An answer that was given again: the pauses that were noted, and how long it may take."""

    pauses: list[int]
    seconds: float
    silence: float | None


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> list[Again]:
    """The answers that were given again, at once in any case."""
    found: list[Again] = []
    again = replays.again

    def noted(kept: Any, meter: Any, headers: Any, *, seconds: float, silence: float | None) -> Reply:
        found.append(Again(kept.pauses, seconds, silence))
        return again(kept, meter, headers)

    monkeypatch.setattr(replays, "again", noted)
    return found


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes between two looks at the clock."""
    seconds = itertools.count()
    monkeypatch.setattr("ai_gateway.keeping.perf_counter", lambda: float(next(seconds)))


async def ask_twice(site: Site) -> None:
    await site.ask(STREAM)
    assert (await site.ask(STREAM)).cache == b"hit"


def test_what_is_noted_is_for_how_long_each_piece_but_the_first_was_waited_for(given: list[Again]) -> None:
    """A sign of life is none, and what lies between two waits is the caller's time."""
    serve(ask_twice, stream(None, EVENTS[0], None, *EVENTS[1:]))
    assert [each.pauses for each in given] == [[2_000, 1_000]]


def test_of_a_stream_without_pauses_none_is_noted(given: list[Again], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_gateway.keeping.perf_counter", lambda: 1.0)
    serve(ask_twice, stream())
    assert [each.pauses for each in given] == [[]]


SLOWLY, FAST = b"replay=paced", b"replay=at-once"


@pytest.mark.parametrize(
    ("settings", "route", "caller", "seconds"),
    [
        ({}, "", b"", 0.0),
        ({"replay": "paced"}, "", b"", 30.0),
        ({"replay": "paced", "replay_seconds": 7}, "", b"", 7.0),
        ({"replay": "paced", "replay_seconds": 0}, "", SLOWLY, 0.0),
        ({}, "paced", b"", 30.0),
        ({"replay": "paced"}, "at-once", b"", 0.0),
        ({}, "", SLOWLY, 30.0),
        ({}, "at-once", SLOWLY, 30.0),
        ({"replay": "paced"}, "paced", FAST, 0.0),
        ({"replay": "paced"}, "", b"replay=backwards", 30.0),
    ],
)
def test_the_caller_has_the_first_word_the_route_the_second_and_the_settings_the_last(
    given: list[Again], settings: Any, route: str, caller: bytes, seconds: float
) -> None:
    async def script(site: Site) -> None:
        asked = {**STREAM, "model": "r"}
        await site.ask(asked)
        assert (await site.ask(asked, (b"x-gateway-cache", caller))).cache == b"hit"

    routes = {"r": {"targets": ["openai/a"], "cache_replay": route}}
    serve(script, stream(), ROUTES=routes, RESPONSE_CACHE=settings, KEEP_ALIVE_INTERVAL=9)
    assert [(each.seconds, each.silence) for each in given] == [(seconds, 9)]


@pytest.mark.parametrize("whose", ["the caller's", "the operator's"])
def test_it_takes_no_longer_than_its_call_may(given: list[Again], whose: str) -> None:
    async def script(site: Site) -> None:
        asked = {**STREAM, "model": "r"}
        await site.ask(asked)
        head = [(b"x-gateway-timeout", b"1000")] if whose == "the caller's" else []
        assert (await site.ask(asked, *head)).cache == b"hit"

    routes = {"r": {"targets": ["openai/a"], "timeouts": {"total": 1000 if whose == "the operator's" else 5000}}}
    serve(script, stream(), ROUTES=routes, RESPONSE_CACHE={"replay": "paced", "replay_seconds": 1e6})
    assert [each.seconds < 1000 for each in given] == [True]


def test_whoever_waited_for_an_equal_call_gets_its_stream_at_once(given: list[Again]) -> None:
    async def script(site: Site) -> None:
        calls = [asyncio.create_task(site.ask(STREAM)) for _ in range(3)]
        await until(lambda: waiting() == 2)
        paused.gates[0].set()
        await asyncio.gather(*calls)
        await site.ask(STREAM)

    paused = Paused(stream())
    serve(script, transport=paused, RESPONSE_CACHE={"replay": "paced"})
    assert [each.seconds for each in given] == [0.0, 0.0, 30.0]
