"""When calls are made: working hours, weekends, nights, and a company that uses more from week to week."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from ai_gateway.demo.cast import Habit, Key

OFFICE = (0, 0, 0, 0, 0, 0, 1, 5, 25, 70, 95, 90, 55, 70, 100, 95, 80, 50, 22, 12, 8, 6, 3, 1)
PRODUCT = (18, 12, 9, 8, 9, 14, 26, 42, 60, 78, 90, 95, 88, 90, 96, 100, 95, 88, 80, 76, 70, 58, 42, 28)
NIGHTLY = (90, 100, 85, 60, 25, 5, 1, 1, 1, 1, 2, 2, 1, 1, 1, 2, 1, 1, 1, 1, 2, 4, 20, 60)
HOURS = {Habit.OFFICE: OFFICE, Habit.PRODUCT: PRODUCT, Habit.NIGHTLY: NIGHTLY}
"""How much is used in each hour of the day, in percent of the busiest one."""

WEEKENDS = {Habit.OFFICE: 0.07, Habit.PRODUCT: 0.6, Habit.NIGHTLY: 0.9}
"""What is used on a day of the weekend, as a part of a working day."""

AT_FIRST = 0.55
"""What was used in the first hour, as a part of what is used in the last one."""

REVOKED = 0.7
"""After which part of the time the key is revoked that is not used any more."""

SATURDAY = 5


class Hour(NamedTuple):
    """An hour of the clock, with how much each key is used in it, and how many calls are made."""

    begins_at: float
    ends_at: float
    weights: Sequence[float]
    calls: int


def hours(keys: Sequence[Key], *, days: int, calls: int, now: datetime, zone: ZoneInfo) -> Iterator[Hour]:
    """Divide calls among the hours of the days before a moment. The hour under way counts in full and ends now."""
    last = now.replace(minute=0, second=0, microsecond=0)
    begins = [last - timedelta(hours=back) for back in range(days * 24 - 1, -1, -1)]
    weights = [_weights(keys, begin.astimezone(zone), place / len(begins)) for place, begin in enumerate(begins)]
    total = sum(map(sum, weights))
    so_far, given = 0.0, 0
    for begin, each in zip(begins, weights, strict=True):
        so_far += sum(each)
        due = calls if begin is begins[-1] else round(calls * so_far / total)
        yield Hour(begin.timestamp(), min(begin + timedelta(hours=1), now).timestamp(), each, due - given)
        given = due


def _weights(keys: Sequence[Key], local: datetime, progress: float) -> list[float]:
    growth = AT_FIRST + (1 - AT_FIRST) * progress
    return [
        0.0 if key.is_revoked and progress > REVOKED else growth * key.share * _of_day(key.habit, local) for key in keys
    ]


def _of_day(habit: Habit, local: datetime) -> float:
    weekend = WEEKENDS[habit] if local.weekday() >= SATURDAY else 1.0
    return weekend * HOURS[habit][local.hour] / 100
