"""What a day's records sum up to: which records belong together, and how each column of `UsageDaily` is made of them.

The one definition of both. The ledger adds up the rows that it has just written by it, and `gateway_reconcile_usage`
the rows that it finds. A row is a tuple of `COLUMNS`, of an entry (`row_of`) or of a record (`values_list(*COLUMNS)`).
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from operator import add, attrgetter
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ai_gateway import histograms
from ai_gateway.histograms import DURATION_BOUNDS, FIRST_TOKEN_BOUNDS, tally
from ai_gateway.models.usage_queries import BUCKETS, FAILURES

ERRORS = frozenset(FAILURES)
"""The outcomes that are counted as errors: the caller got one. What a limit refused has a column of its own, and a
caller that hung up got what it waited for."""

WHO = ("key_id", "key_name", "user_id", "group_id", "provider", "served_model", "route")
"""What is summed up together. Of a key that the database knows the name is only a label, and the first of a day stays;
a key of the settings has nothing but its name."""

SUMMED = ("duration_ms", "bytes_out", "saved_nanos", *BUCKETS)
"""Columns that are sums of the column of the same name, which is never null."""

COLUMNS = ("started_at", *WHO, "outcome", "is_estimated", "cost_nanos", "first_token_ms", *SUMMED)

MEASURES = (
    *("requests", "errors", "limited", "cached", "estimated", "unpriced", "cost_nanos", "first_tokens"),
    *("first_token_ms", *SUMMED, *histograms.COLUMNS),
)
"""The columns of `UsageDaily` that are counted up, in the order of `Rollup.sums`."""

row_of = attrgetter(*COLUMNS)
"""Gives the row of an entry."""

REMEMBERED = 10_000
"""Digests that are kept in memory."""


class Rollup(NamedTuple):
    """A row of `UsageDaily`, or what is to be added to one. `who` is in the order of `WHO`."""

    day: date
    slot: str
    who: tuple[Any, ...]
    sums: tuple[int, ...]


class Days:
    """Tells the days of points in time, in one time zone; the day of the last one is remembered."""

    def __init__(self, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._day = date.min
        self._begin = self._end = 0.0

    def of(self, moment: float) -> date:
        """Tell the day of a moment in seconds since 1970."""
        if not self._begin <= moment < self._end:
            self._day = datetime.fromtimestamp(moment, self._zone).date()
            self._begin = self.begin(self._day).timestamp()
            self._end = self.begin(self._day + timedelta(days=1)).timestamp()
        return self._day

    def begin(self, day: date) -> datetime:
        """Tell when a day begins."""
        return datetime.combine(day, time.min, self._zone)


_slots: dict[tuple[Any, ...], str] = {}


def slot_of(who: tuple[Any, ...]) -> str:
    """Give the digest of what is summed up together, remembered."""
    found = _slots.get(who)
    if found is None:
        key_id, key_name, *others = who
        if len(_slots) >= REMEMBERED:
            _slots.clear()
        found = _slots[who] = digest((key_id, "" if key_id is not None else key_name, *others))
    return found


def digest(names: Iterable[Any]) -> str:
    """Give a digest of names, 32 hexadecimal digits: the same in every process, and whatever type primary keys are
    of."""
    text = json.dumps([None if name is None else str(name) for name in names])
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def roll_up(rows: Iterable[tuple[Any, ...]], days: Days) -> list[Rollup]:
    """Sum rows up, in the order of day and slot: whoever writes them in the same order never waits in a circle."""
    groups: defaultdict[tuple[Any, ...], list[tuple[Any, ...]]] = defaultdict(list)
    for row in rows:
        started_at = row[0]
        moment = started_at if isinstance(started_at, float) else started_at.timestamp()
        groups[days.of(moment), *row[1:8]].append(row[8:])
    found: dict[tuple[date, str], Rollup] = {}
    for (day, *names), members in groups.items():
        who = tuple(names)
        slot = slot_of(who)
        sums = _sums(members)
        before = found.get((day, slot))  # A key that was renamed.
        if before is not None:
            who, sums = before.who, tuple(map(add, before.sums, sums))
        found[day, slot] = Rollup(day, slot, who, sums)
    return [found[key] for key in sorted(found)]


def _sums(members: list[tuple[Any, ...]]) -> tuple[int, ...]:
    """Sum up rows without what they have in common; column by column, which is several times as fast as row by row."""
    outcomes, estimated, costs, first_tokens, *others = zip(*members, strict=True)
    answered = [milliseconds for milliseconds in first_tokens if milliseconds is not None]
    return (
        len(members),
        sum(outcome in ERRORS for outcome in outcomes),
        outcomes.count("limited"),
        outcomes.count("cached"),
        sum(estimated),
        costs.count(None),
        sum(filter(None, costs)),
        len(answered),
        sum(answered),
        *map(sum, others),
        *tally(others[0], DURATION_BOUNDS),
        *tally(answered, FIRST_TOKEN_BOUNDS),
    )
