"""So many at once, and a few more that wait for their turn.

A bulkhead keeps what floods one part of a ship from the others. Here it has places, and a queue that is short, in
length and in time. The queue is fair among the parties that wait in it: they take turns, however many calls each of
them has there, and within a party who came first goes first. A full queue makes room for a party that has fewer calls
in it, at the cost of the last call of the one that has the most. So nobody can keep others out by coming often.

A place that is given back goes to the next in the queue, and not to who happens to come at that moment. As long as
nobody waits, to take a place and to give it back cost no more than counting does. Calls of the site's own pages come
from other threads with event loops of their own, and that is what the lock is for.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Hashable
from typing import NamedTuple


class Queue(NamedTuple):
    """How many may wait, and for how many seconds."""

    size: int = 100
    seconds: float = 2.0


class Waiter:
    """Somebody in a queue. `turn` tells whether there is a place, once that is known."""

    __slots__ = ("has_place", "is_waiting", "party", "turn")

    def __init__(self, party: Hashable) -> None:
        self.party = party
        self.turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self.is_waiting = True
        self.has_place = False

    def call(self) -> None:
        """Tell the waiter how it stands, in its own event loop."""
        self.turn.get_loop().call_soon_threadsafe(self._come)

    def _come(self) -> None:
        if not self.turn.done():
            self.turn.set_result(self.has_place)


class Bulkhead:
    """Places that are taken and given back. Whoever took one gives it back exactly once."""

    __slots__ = ("_limit", "_lines", "_lock", "refused", "taken", "waiting")

    def __init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Begin with all places free; in a forked process as well, which has none of its parent's calls."""
        self.taken = 0
        self.waiting = 0
        self.refused = 0
        """How many came in vain so far."""
        self._limit = 0
        self._lines: dict[Hashable, deque[Waiter]] = {}
        """Who waits, by party; the party whose turn is next stands first."""
        self._lock = threading.Lock()

    def enter(self, limit: int) -> bool:
        """Take one of so many places. False if none is free, or others wait for it."""
        if self.taken < limit and not self._lines:
            self.taken += 1
            return True
        return False

    def leave(self) -> None:
        """Give a place back."""
        self.taken -= 1
        if self._lines:
            with self._lock:
                self._hand_out()

    def line_up(self, party: Hashable, limit: int, size: int) -> Waiter | None:
        """Join a queue of this size for one of so many places. None if it is full."""
        with self._lock:
            if self.waiting >= size and not (size and self._make_room(party)):
                self.refused += 1
                return None
            waiter = Waiter(party)
            self._lines.setdefault(party, deque()).append(waiter)
            self.waiting += 1
            self._limit = limit
            self._hand_out()  # Another thread may have given a place back a moment ago.
        return waiter

    async def wait(self, waiter: Waiter, seconds: float) -> bool:
        """Wait for a place. False if the turn does not come in time, or the waiter was sent away."""
        try:
            async with asyncio.timeout(seconds):
                await waiter.turn
        except TimeoutError:
            self._withdraw(waiter)
        except BaseException:
            self._withdraw(waiter)
            if waiter.has_place:  # Given in the moment in which the caller left: the next one has it.
                self.leave()
            raise
        if not waiter.has_place:
            self.refused += 1
        return waiter.has_place

    def dismiss(self) -> None:
        """Send away everybody who waits."""
        with self._lock:
            while self._lines:
                self._next().call()

    def _make_room(self, party: Hashable) -> bool:
        """Send away the last of the longest line, if that is fairer than to turn this party away."""
        longest = max(self._lines.values(), key=len, default=None)
        if longest is None or len(longest) <= len(self._lines.get(party, ())) + 1:
            return False
        last = longest[-1]
        self._remove(last)
        last.call()
        return True

    def _hand_out(self) -> None:
        while self._lines and self.taken < self._limit:
            waiter = self._next()
            self.taken += 1
            waiter.has_place = True
            waiter.call()

    def _next(self) -> Waiter:
        """Take out who is next. The party goes behind the others."""
        party, line = next(iter(self._lines.items()))
        waiter = line[0]
        self._remove(waiter)
        if line:
            self._lines[party] = self._lines.pop(party)
        return waiter

    def _withdraw(self, waiter: Waiter) -> None:
        with self._lock:
            if waiter.is_waiting:
                self._remove(waiter)

    def _remove(self, waiter: Waiter) -> None:
        line = self._lines[waiter.party]
        line.remove(waiter)
        if not line:
            del self._lines[waiter.party]
        waiter.is_waiting = False
        self.waiting -= 1
