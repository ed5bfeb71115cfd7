"""How do the targets stand: how many calls are under way, and how long does it take until the first token comes?

The time is a peak-sensitive moving average (Finagle's "peak EWMA"): a slower answer counts at once, a faster one bit by
bit, with DECAY seconds for the past to lose all but a third of its weight. Known to this process only.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from ai_gateway.calls import Target

DECAY = 10.0

REMEMBERED = 4096
"""Targets that are remembered: callers make up the names of some."""

_under_way: dict[Target, int] = {}


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
    _under_way[target] = _under_way.get(target, 0) + 1


def end(target: Target, first_token: float | None = None) -> None:
    """Note that a call is over, and how many seconds it took until the first token if one came."""
    left = _under_way[target] - 1
    if left:
        _under_way[target] = left
    else:
        del _under_way[target]
    if first_token is None:
        return
    now = time.monotonic()
    pace = _paces.get(target)
    if pace is not None:
        pace.note(first_token, now)
        return
    if len(_paces) >= REMEMBERED:
        del _paces[next(iter(_paces))]
    _paces[target] = Pace(first_token, now)


def under_way(target: Target) -> int:
    """Count the calls under way."""
    return _under_way.get(target, 0)


def expected_wait(target: Target) -> float:
    """Guess the seconds to the first token, for a call more than there are. 0 for a target that nobody asked yet: the
    first calls find out."""
    pace = _paces.get(target)
    return 0.0 if pace is None else pace.seconds * (1 + under_way(target))


def forget() -> None:
    """Forget everything."""
    _under_way.clear()
    _paces.clear()
