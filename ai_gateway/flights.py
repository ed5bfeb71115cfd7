"""Equal calls that are under way at the same time, in one process: one asks, the others wait for its answer.

The one that asks is the flight's; the others follow it. If its answer can be kept, it is theirs too, when it is whole.
If it fails, or its caller hangs up, the next one asks and the rest wait for that. If its answer turns out to be for its
own call alone, all others ask for themselves; so do those whose flight is held up by a caller that does not take what
is there.
"""

from __future__ import annotations

import asyncio
from enum import Enum
from time import perf_counter
from weakref import WeakKeyDictionary, WeakValueDictionary

from ai_gateway.kept_answers import Kept

HELD_UP = 1.0
"""Seconds for which a caller may leave its stream alone before those who wait for it ask for themselves."""


class Ending(Enum):
    """How a flight ends that brings nothing."""

    LOST = "lost"
    """Somebody else has to ask."""
    NOT_SHARED = "not shared"
    """Everybody has to ask."""


class Flight:
    """One call that asks, and whoever waits for its answer."""

    __slots__ = ("__weakref__", "_landing", "_name", "_table", "given_at")

    def __init__(self, table: Table, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._table = table
        self._name = name
        self._landing: asyncio.Future[Kept | Ending] = loop.create_future()
        self.given_at: float | None = None
        """When its caller was given a piece, if it has not come for the next one since."""
        table[name] = self

    async def follow(self, seconds: float) -> Kept | Ending:
        """Wait for the answer, but no longer than so many seconds."""
        until = perf_counter() + seconds
        while not self._landing.done() and (now := perf_counter()) < until and not self._is_held_up(now):
            await asyncio.wait((self._landing,), timeout=min(until - now, HELD_UP / 2))
        return self._landing.result() if self._landing.done() else Ending.NOT_SHARED

    def _is_held_up(self, now: float) -> bool:
        return self.given_at is not None and now - self.given_at > HELD_UP

    def land(self, result: Kept | Ending) -> None:
        """End the flight. Only the first end counts."""
        if not self._landing.done():
            self._table.pop(self._name, None)
            self._landing.set_result(result)


Table = WeakValueDictionary[str, Flight]
"""Flights by the names of their answers. Whoever asks holds the flight: one that nobody ends is not waited for for
ever."""

_flights: WeakKeyDictionary[asyncio.AbstractEventLoop, Table] = WeakKeyDictionary()


def under_way(name: str) -> Flight | None:
    """Give the flight for an answer of this name in the running event loop, if there is one."""
    table = _flights.get(asyncio.get_running_loop())
    return table.get(name) if table is not None else None


def begin(name: str) -> Flight:
    """Begin a flight in the running event loop. Whoever does ends it."""
    loop = asyncio.get_running_loop()
    return Flight(_flights.setdefault(loop, WeakValueDictionary()), name, loop)
