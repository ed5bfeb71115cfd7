"""What a stream that guardrails look into may hold, whatever its provider sends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

import pytest

from ai_gateway import guarded_stream
from ai_gateway.calls import ReplyBody
from ai_gateway.edits import Edit
from ai_gateway.guarded_stream import GuardedStream
from ai_gateway.meter import Outcome
from ai_gateway.texts import Text
from tests.factories import make_call, make_meter, run

KIB = 1024


class Given(ReplyBody):
    """These pieces."""

    is_broken = False

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self.is_closed = False

    async def __anext__(self) -> bytes:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self.is_closed = True


class Guarded:
    """A stream that nothing is found in, and what it asked about."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.meter = make_meter(make_call())

    def read(self, pieces: Iterable[bytes]) -> bytes:
        """Give what its caller gets."""
        self.body = Given(pieces)
        self.stream = GuardedStream(self.body, self._review, self.meter, 100, 10.0)
        return run(self._read())

    async def _review(self, texts: Sequence[Text]) -> Mapping[int, Sequence[Edit]]:
        self.asked += [text.value for text in texts]
        return {}

    async def _read(self) -> bytes:
        passed = b"".join([piece async for piece in self.stream])
        await self.stream.aclose()
        return passed


def event(value: object) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def delta(index: int, text: str) -> bytes:
    return event({"choices": [{"index": index, "delta": {"content": text}}]})


def test_an_event_that_does_not_end_ends_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_stream, "MAX_EVENT", 100 * KIB)
    first = delta(0, "hi")
    pieces = iter([first, b"data: ", *(b"x" * KIB for _ in range(1000))])
    guarded = Guarded()
    passed = guarded.read(pieces)
    assert b"can be looked into" in passed
    assert b"xxx" not in passed
    assert guarded.body.is_closed
    assert guarded.meter.outcome is Outcome.FAILED
    assert len(list(pieces)) > 800


def test_a_sign_of_life_may_say_nothing_else() -> None:
    guarded = Guarded()
    ping = b'event: ping\ndata: {"type": "ping"}\n\n'
    spoken = b"event: ping\n" + delta(0, "smuggled words")
    assert guarded.read([ping, spoken, b"event: ping\ndata: {}\n\n"]) == ping + b"event: ping\ndata: {}\n\n" + spoken
    assert "".join(guarded.asked) == "smuggled words"


def test_a_long_event_that_ends_passes_as_it_came() -> None:
    long = delta(0, "word " * 100 * KIB)
    assert Guarded().read([long[: KIB * 100], long[KIB * 100 :]]) == long


def test_texts_that_come_as_a_whole_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_stream, "REMEMBERED", 10_000)
    pieces = [event({"message": f"number {number} of many"}) for number in range(1000) for _ in range(2)]
    guarded = Guarded()
    assert guarded.read(pieces) == b"".join(pieces)
    assert len(guarded.stream._known) < 100
    assert 1000 <= len(guarded.asked) < 1100


def test_texts_that_come_at_the_same_time_are_told_apart_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_stream, "MOST_CHANNELS", 20)
    pieces = [delta(number, f"number {number} of many") for number in range(1000)]
    guarded = Guarded()
    assert guarded.read(pieces) == b"".join(pieces)
    assert len(guarded.stream._channels) <= 21
    assert {f"number {number} of many" for number in range(1000)} <= set(guarded.asked)


def test_events_without_a_letter_are_held_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guarded_stream, "MOST_HELD", 10 * KIB)
    given, most = [delta(0, "hi"), *(delta(0, "") for _ in range(1000))], 0

    def pieces() -> Iterator[bytes]:
        nonlocal most
        for piece in given:
            yield piece
            most = max(most, guarded.stream._held)

    guarded = Guarded()
    assert guarded.read(pieces()) == b"".join(given)
    assert 9 * KIB < most < 11 * KIB
