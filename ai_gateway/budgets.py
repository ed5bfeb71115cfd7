"""How fast is a budget used up, and when will it be? What is used so far, carried on at the same pace."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from ai_gateway.standings import Standing

LENGTHS = {"hour": 3600.0, "day": 86_400.0, "week": 7 * 86_400.0}
"""Seconds of windows; that of a month depends on the month."""

EARLY = 0.05
"""The share of a window that must be over before anything is projected."""


class Burn(NamedTuple):
    """How far a window is over, and when the budget will be used up at this pace: None for not before its end."""

    elapsed: float
    exhausted_at: datetime | None


def burn(standing: Standing, now: datetime) -> Burn | None:
    """Project a budget of a calendar's window; None for others, and if it is too early to tell."""
    if standing.resets_in is None or standing.rule.window not in (*LENGTHS, "month"):
        return None
    end = now + timedelta(seconds=standing.resets_in)
    length = LENGTHS.get(standing.rule.window) or _month_before(end)
    passed = length - standing.resets_in
    elapsed = min(max(passed / length, 0.0), 1.0)
    if elapsed < EARLY or not standing.used:
        return Burn(elapsed, None)
    left = max(standing.rule.amount - standing.used, 0) * passed / standing.used
    return Burn(elapsed, now + timedelta(seconds=left) if left < standing.resets_in else None)


def _month_before(end: datetime) -> float:
    """Give the seconds of the month that ends then, as good as: the end may be an hour off by summer time."""
    last = end - timedelta(days=1)
    return last.day * 86_400.0 if end.day == 1 else 30 * 86_400.0
