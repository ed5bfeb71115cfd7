"""How many calls there were, and how many failed, by time: drawn as SVG over their list.

The newest MOST calls of the list are counted, so that it costs the same however many there are. A bar is a link to its
calls. The numbers are in a table, too, and the size of bars is in the picture's coordinates: no style, no script.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.formats import date_format

from ai_gateway.models.base import as_shown
from ai_gateway.models.usage_queries import FAILURES

MOST = 10_000
"""Calls that are counted at the most."""

BARS = 48
"""Bars that are drawn at the most."""

HEIGHT = 100
STEP = 10
"""The picture's height, and a bar's share of its width, in its own coordinates."""

MINUTE = timedelta(minutes=1)

WIDTHS = tuple(
    timedelta(seconds=seconds)
    for seconds in (10, 30, 60, 300, 600, 1800, 3600, 3 * 3600, 6 * 3600, 12 * 3600, 86400, 2 * 86400, 7 * 86400)
)
"""What a bar may stand for."""


class Bar(NamedTuple):
    """The calls of a span of time, and their place in the picture, written for SVG."""

    since: datetime
    until: datetime
    calls: int
    failed: int
    label: str
    link: str
    x: str
    y: str
    height: str
    failed_y: str
    failed_height: str


class Histogram(NamedTuple):
    """The bars, and what they are of."""

    bars: list[Bar]
    width: int
    calls: int
    failed: int
    is_part: bool
    """Whether there are more calls than were counted."""
    highest: int
    first: str
    last: str

    @property
    def shown_calls(self) -> str:
        """The number of calls, for people."""
        return f"{self.calls:,}"

    @property
    def shown_failed(self) -> str:
        """The number of those that failed, for people."""
        return f"{self.failed:,}"

    @property
    def shown_highest(self) -> str:
        """The number of calls of the highest bar, for people."""
        return f"{self.highest:,}"


Link = Callable[[datetime, datetime], str]
"""Gives the address of the calls of a span."""


def histogram(rows: QuerySet[Any], link: Link) -> Histogram | None:
    """Count the calls of a list. None for one of fewer than two."""
    newest = rows.order_by("-started_at", "-pk").values_list("started_at", "outcome")[: MOST + 1]
    found: list[tuple[datetime, str]] = list(newest)
    return drawn(found[:MOST], link, is_part=len(found) > MOST)


def drawn(calls: Sequence[tuple[datetime, str]], link: Link, *, is_part: bool) -> Histogram | None:
    """Draw calls, the newest first."""
    if len(calls) < 2:
        return None
    first, last = calls[-1][0], calls[0][0]
    width = next((each for each in WIDTHS if (last - first) / each < BARS - 1), (last - first) / (BARS - 2))
    begin = _floor(first, width)
    counts = [[0, 0] for _ in range((last - begin) // width + 1)]
    for at, outcome in calls:
        bar = counts[(at - begin) // width]
        bar[0] += 1
        bar[1] += outcome in FAILURES
    highest = max(count for count, _failed in counts)
    bars = [
        _bar(number, count, failed, highest, begin + number * width, width, link)
        for number, (count, failed) in enumerate(counts)
    ]
    return Histogram(
        bars=bars,
        width=len(bars) * STEP,
        calls=len(calls),
        failed=sum(bar.failed for bar in bars),
        is_part=is_part,
        highest=highest,
        first=_told(begin),
        last=_told(last if width < MINUTE else last.replace(second=0)),
    )


def _floor(at: datetime, width: timedelta) -> datetime:
    """Give the full minute, hour or day that a moment is in, of the time zone that people see."""
    shown = as_shown(at)
    midnight = shown.replace(hour=0, minute=0, second=0, microsecond=0)
    begin = midnight + (shown - midnight) // width * width
    # Not in a time zone whose clocks are put forward: spans are added to it.
    return begin.astimezone(UTC) if timezone.is_aware(at) else begin


def _bar(number: int, count: int, failed: int, highest: int, since: datetime, width: timedelta, link: Link) -> Bar:
    height, red = count * HEIGHT / highest, failed * HEIGHT / highest
    return Bar(
        since=since,
        until=since + width,
        calls=count,
        failed=failed,
        label=_told(since),
        link=link(since, since + width),
        x=str(number * STEP),
        y=f"{HEIGHT - height:.1f}",
        height=f"{height:.1f}",
        failed_y=f"{HEIGHT - red:.1f}",
        failed_height=f"{red:.1f}",
    )


def _told(at: datetime) -> str:
    return date_format(as_shown(at), "M j H:i:s" if at.second else "M j H:i")
