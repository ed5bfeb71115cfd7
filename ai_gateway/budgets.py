"""How fast is a budget used up, and when will it be? What is used so far, carried on at the same pace."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from ai_gateway.allowances import period
from ai_gateway.standings import Standing

WINDOWS = ("hour", "day", "week", "month")

EARLY = 0.05
"""The share of a window that must be over before anything is projected."""


class Burn(NamedTuple):
    """How far a window is over, and when the budget will be used up at this pace: None for not before its end."""

    elapsed: float
    exhausted_at: datetime | None


def burn(standing: Standing, now: datetime) -> Burn | None:
    """Project a budget of a calendar's window; None for others, and if it is too early to tell."""
    if standing.resets_in is None or standing.rule.window not in WINDOWS:
        return None
    # Of its last second: the end may be a moment off.
    window = period(standing.rule.window, standing.rule.zone, now.timestamp() + standing.resets_in - 1)
    length = window.ends_at - window.begins_at
    passed = length - standing.resets_in
    elapsed = min(max(passed / length, 0.0), 1.0)
    if elapsed < EARLY or not standing.used:
        return Burn(elapsed, None)
    left = max(standing.rule.amount - standing.used, 0) * passed / standing.used
    return Burn(elapsed, now + timedelta(seconds=left) if left < standing.resets_in else None)
