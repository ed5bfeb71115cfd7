"""The site's own calls: several threads make them, each with an event loop of its own that comes and goes."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ai_gateway import gateway, inprocess
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
