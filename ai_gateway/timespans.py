"""Since when, until when? What people write for a point in time when they ask what was used."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

BACK = re.compile(r"([0-9]{1,5})([dwh])")

EXAMPLES = "7d, 4w, 12h, today, month, 2026-11-01 or 2026-11-01T12:00"


def read_moment(text: str, zone: str, now: datetime | None = None) -> date:
    """Read a day, or a moment, in a time zone. Raises ValueError.

    `7d` and `4w` are the first of so many days, of which today is the last; `12h` is so long ago; `today` is today and
    `month` is the first day of this month. Else it is a date, or a date and a time, as ISO 8601 writes them.
    """
    clock = ZoneInfo(zone)
    at = (now or datetime.now(UTC)).astimezone(clock)
    span = BACK.fullmatch(text)
    if span:
        number = int(span[1])
        if span[2] == "h":
            return at - timedelta(hours=number)
        days = number * (7 if span[2] == "w" else 1)
        return at.date() - timedelta(days=max(days - 1, 0))  # The longest span ends in the year 110.
    if text == "today":
        return at.date()
    if text == "month":
        return at.date().replace(day=1)
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:40]!r} is not a point in time: {EXAMPLES}") from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=clock)


class Span(NamedTuple):
    """From when, and until just before when; None is no bound."""

    since: date | None = None
    until: date | None = None
