"""Does a provider fail much more often than it used to? The last minutes against the hour before them."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

MINUTE = 60
WINDOW = 5
"""Minutes that are looked at."""

BEFORE = 60
"""Minutes before them, by which they are measured."""

LEAST_CALLS = 20
"""Calls that must be in the window. Of fewer nothing can be said."""

LEAST_RATE = 0.2
"""A share of errors below this one is no alert."""

TIMES = 3.0
"""How many times as often as before a provider must fail."""

RECOVERED = 0.5
"""The share of the rate that would be an alert, below which all is well again."""


class Jump(NamedTuple):
    """How a provider does: the share of errors now and before, and in how many calls; and what follows."""

    rate: float
    before: float
    calls: int
    is_alert: bool
    is_well: bool


class ErrorRates:
    """The calls and errors of one provider, minute by minute."""

    def __init__(self) -> None:
        self._minutes: deque[list[int]] = deque()
        """Each with its number, its calls and its errors."""

    def note(self, now: float, *, is_error: bool) -> Jump:
        """Take a call into account, and tell how the provider does."""
        minute = int(now // MINUTE)
        while self._minutes and self._minutes[-1][0] > minute:
            self._minutes.pop()  # The clock was ahead, and what was counted then would be of the last minutes for long.
        if not self._minutes or self._minutes[-1][0] < minute:
            self._minutes.append([minute, 0, 0])
        last = self._minutes[-1]
        last[1] += 1
        last[2] += is_error
        while self._minutes[0][0] <= minute - WINDOW - BEFORE:
            self._minutes.popleft()
        return self._judge(minute)

    def _judge(self, minute: int) -> Jump:
        calls = errors = calls_before = errors_before = 0
        for number, called, failed in self._minutes:
            if number > minute - WINDOW:
                calls, errors = calls + called, errors + failed
            else:
                calls_before, errors_before = calls_before + called, errors_before + failed
        rate = errors / calls
        before = errors_before / calls_before if calls_before else 0.0
        most = max(LEAST_RATE, before * TIMES)
        is_known = calls >= LEAST_CALLS
        return Jump(rate, before, calls, is_known and rate >= most, is_known and rate < most * RECOVERED)
