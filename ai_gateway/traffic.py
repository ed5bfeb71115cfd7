"""How do the targets stand: how many calls are under way, and how long does it take until the first token comes?

The time is a peak-sensitive moving average (Finagle's "peak EWMA"): a slower answer counts at once, a faster one bit by
bit, with DECAY seconds for the past to lose all but a third of its weight. Known to this process only.

Calls run in more than one thread: those of the site's own pages and code have event loops of their own. So a count is
changed in one step of the interpreter, which costs less than a lock; only to add one takes that.
"""

from __future__ import annotations

import math
import os
import threading
import time
from dataclasses import dataclass

from ai_gateway.calls import Target

DECAY = 10.0

REMEMBERED = 4096
"""Targets that are remembered: callers make up the names of some."""


class Count:
    """How many calls are under way with a target. One that has none stays until there are too many."""

    __slots__ = ("calls",)

    def __init__(self) -> None:
        self.calls = 0


_under_way: dict[Target, Count] = {}
_lock = threading.Lock()
"""Held to add a target."""


@dataclass(slots=True)
class Pace:
    """How fast a target is, in seconds to the first token, and when that was known (`time.monotonic()`)."""

    seconds: float
    at: float

    def note(self, seconds: float, now: float) -> None:
        """Take an answer into account."""
        if seconds >= self.seconds:
            self.seconds = seconds
        else:
            weight = math.exp(-(now - self.at) / DECAY)
            self.seconds = self.seconds * weight + seconds * (1 - weight)
        self.at = now


_paces: dict[Target, Pace] = {}


def begin(target: Target) -> None:
    """Note that a call is under way."""
    count = _under_way.get(target) or _added(target)
    count.calls += 1


def _added(target: Target) -> Count:
    """Give the count of a target that may be new."""
    with _lock:
        if len(_under_way) >= REMEMBERED:
            for idle in [each for each, count in _under_way.items() if not count.calls]:
                del _under_way[idle]
        return _under_way.setdefault(target, Count())


def end(target: Target, first_token: float | None = None) -> None:
    """Note that a call is over, and how many seconds it took until the first token if one came."""
    count = _under_way.get(target)
    if count is not None and count.calls:  # Else it was forgotten.
        count.calls -= 1
    if first_token is None:
        return
    now = time.monotonic()
    pace = _paces.get(target)
    if pace is not None:
        pace.note(first_token, now)
        return
    with _lock:
        if len(_paces) >= REMEMBERED:
            del _paces[next(iter(_paces))]
        _paces[target] = Pace(first_token, now)


def under_way(target: Target) -> int:
    """Count the calls under way."""
    count = _under_way.get(target)
    return 0 if count is None else count.calls


def expected_wait(target: Target) -> float:
    """Guess the seconds to the first token, for a call more than there are. 0 for a target that nobody asked yet: the
    first calls find out."""
    pace = _paces.get(target)
    return 0.0 if pace is None else pace.seconds * (1 + under_way(target))


def forget() -> None:
    """Forget everything."""
    _under_way.clear()
    _paces.clear()


def _forked() -> None:
    """Begin anew: the calls are the parent's, and so is whoever holds the lock."""
    global _lock
    _lock = threading.Lock()
    _under_way.clear()


os.register_at_fork(after_in_child=_forked)
