"""What a dashboard is asked: which span of time, of whom, told apart by what. Read from an address, and written back.

Everything that a page shows follows from its address, so that an address can be sent to somebody, kept, or opened
again. What makes no sense in it is left out instead of refused: people edit addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

HOURS = 24

DAYS = {"7d": 7, "30d": 30, "90d": 90}
"""Periods of so many days, of which today is the last."""

PERIODS = ("24h", *DAYS, "month", "custom")
USUAL = "7d"

MOST_DAYS = 400
"""Days of a custom period: a year, and what belongs to its last month."""

FILTERS = ("provider", "model", "key", "user", "group", "route", "tag", "session")

LABELS = ("tag", "session", "agent", "project", "end_user")

BY = ("model", "provider", "key", "user", "group", "route", *LABELS)
"""What can be told apart."""

NOBODY = "-"
"""What an address says for no user, no key, no group, no provider, no route."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A span with the one before it, of the same length. Days are dates, hours are moments; spans are half open."""

    period: str
    since: date
    until: date
    by: str
    filters: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_hourly(self) -> bool:
        """Whether hours are shown, not days."""
        return self.period == "24h"

    @property
    def before(self) -> date:
        """When the span before this one begins."""
        return self.since - (self.until - self.since)

    def steps(self) -> list[date]:
        """Give the beginnings of the days or hours of the span."""
        step = timedelta(hours=1) if self.is_hourly else timedelta(days=1)
        return [self.since + step * number for number in range((self.until - self.since) // step)]

    def address(self, **changes: Any) -> str:
        """Write it as a query string, with some of it changed; None leaves something out."""
        parts: dict[str, Any] = {"period": self.period, "by": self.by, **self.filters}
        if self.period == "custom":
            parts |= {"since": self.since.isoformat(), "until": (self.until - timedelta(days=1)).isoformat()}
        parts |= changes
        return f"?{urlencode({name: value for name, value in parts.items() if value is not None})}"


def read_question(given: Mapping[str, str], zone: str, now: datetime | None = None) -> Question:
    """Read what an address asks, in the time zone of accounting."""
    at = (now or datetime.now(UTC)).astimezone(ZoneInfo(zone))
    period = given.get("period", USUAL)
    span = _custom(given) if period == "custom" else None
    if period not in PERIODS or (period == "custom" and span is None):
        period = USUAL
    since, until = span or _span(period, at)
    by = given.get("by", "model")
    filters = {name: value[:200] for name in FILTERS if (value := given.get(name, "").strip()) and "\0" not in value}
    for name in ("user", "group"):
        if name in filters and len(filters[name]) > 40:
            del filters[name]
    return Question(period=period, since=since, until=until, by=by if by in BY else "model", filters=filters)


def _span(period: str, at: datetime) -> tuple[date, date]:
    if period == "24h":
        # Hours of the clock in UTC, where none is left out and none comes twice.
        end = at.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        return end - timedelta(hours=HOURS), end
    end_of_today = at.date() + timedelta(days=1)
    if period == "month":
        return at.date().replace(day=1), end_of_today
    return end_of_today - timedelta(days=DAYS[period]), end_of_today


def _custom(given: Mapping[str, str]) -> tuple[date, date] | None:
    """Read the first and the last day."""
    try:
        since, last = date.fromisoformat(given.get("since", "")), date.fromisoformat(given.get("until", ""))
        until = last + timedelta(days=1)
        before = since - (until - since)  # There must be a span before it, too, in each time zone.
    except (ValueError, OverflowError):
        return None
    if before.year == date.min.year or until.year == date.max.year:
        return None
    return (since, until) if timedelta(0) < until - since <= timedelta(days=MOST_DAYS) else None
