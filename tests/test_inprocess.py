"""The site's own calls: several threads make them, each with an event loop of its own that comes and goes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ai_gateway import gateway, inprocess
from ai_gateway.calls import Caller
from ai_gateway.test import Answer, FakeProviders, says, sends
from tests.factories import Scripted, run


@pytest.fixture
def _switching_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class Passing:
    """An event loop that has ended. While somebody looks at it, another thread comes with one, or takes this away."""

    def __init__(self, ends: dict[Any, Any], *, is_taken: bool) -> None:
        self._ends = ends
        self._is_taken = is_taken

    def is_closed(self) -> bool:
        if self._is_taken:
            del self._ends[self]
        else:
            self._ends[object()] = None
        return True


def test_a_loop_that_comes_while_others_are_looked_through_is_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    ends: dict[Any, Any] = {}
    for is_taken in (False, True, False, True):
        ends[Passing(ends, is_taken=is_taken)] = None
    monkeypatch.setattr(inprocess, "_ends", ends)

    async def main() -> None:
        await inprocess.transport_here()

    with gateway.asking_through(Scripted):
        run(main())
    assert not [loop for loop in ends if isinstance(loop, Passing)]


class Loop:
    """Stands for an event loop."""


@pytest.mark.usefixtures("_switching_often")
def test_transports_are_listed_while_others_come_and_go() -> None:
    is_over = threading.Event()

    def come_and_go() -> None:
        while not is_over.is_set():
            loops: list[Any] = [Loop() for _ in range(5)]
            for loop in loops:
                gateway.transport_of(loop)

    with gateway.asking_through(Scripted):
        thread = threading.Thread(target=come_and_go)
        thread.start()
        try:
            for _ in range(20_000):
                assert all(isinstance(each, Scripted) for each in gateway.transports())
        finally:
            is_over.set()
            thread.join()


# What the site's own pages ask.


@pytest.fixture
def providers() -> Iterator[FakeProviders]:
    with FakeProviders(database=False) as providers:
        yield providers


def asked(providers: FakeProviders, answer: Answer, *, stream: bool = False, patience: float = 20) -> inprocess.Answer:
    providers.answer(answer)
    body = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    return inprocess.ask("POST", "/v1/chat/completions", Caller(key_name="a page"), body, patience=patience)


def test_an_answer_that_is_late_is_one_that_says_so(providers: FakeProviders) -> None:
    answer = asked(providers, says("one two").stalled_after(1), stream=True, patience=0.1)
    assert (answer.status, "within 0.1 s" in answer.document["error"]["message"]) == (504, True)
    assert providers.usage.wait_for(1)[0].outcome == "disconnected"


def test_an_answer_in_one_piece_that_breaks_off_is_one_that_says_so(providers: FakeProviders) -> None:
    long = sends(b'{"id": "' + b"x" * 2000, b"x", content_type="application/json")
    answer = asked(providers, long.cut_after(1))
    assert (answer.status, "broke off" in answer.document["error"]["message"]) == (502, True)


def test_of_a_very_long_answer_the_beginning_is_given(
    providers: FakeProviders, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inprocess, "LONGEST", 100)
    for stream in (False, True):
        answer = asked(providers, says("word " * 200), stream=stream)
        assert (answer.status, len(answer.body), answer.document) == (200, 100, None)
