"""What a day's calls with labels sum up to: by tag, session, agent, project and end user.

Callers make labels up, and a coding agent begins a new session every few minutes. So there is a bound: of each kind,
the first `MOST_VALUES` values that a process sees on a day are told apart, and what comes after is summed up under the
empty one, "others". A kind's sum over all values stays right, whatever is folded. A call with two tags counts for both.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import date
from operator import add, attrgetter
from typing import Any

from ai_gateway.models.usage_queries import BUCKETS
from ai_gateway.rollups import ERRORS, Days, Rollup, digest

KINDS = ("session", "agent", "project", "end_user")
"""The kinds of labels that a call has one of, or none; named as the columns of `UsageRecord` are. And `tag`."""

WHO = ("kind", "value", "key_id", "user_id")

MEASURES = ("requests", "errors", "unpriced", "tokens", "cost_nanos")

MOST_VALUES = 1000
"""Values of a kind that are told apart on a day."""

MOST_DAYS = 3
"""Days whose values are remembered: calls end about midnight, and journals are read again."""

OTHERS = ""

_labels_of = attrgetter("tags", *KINDS)
_tokens_of = attrgetter(*BUCKETS)


class Bound:
    """Remembers the values of the last days, and folds those that are too many."""

    def __init__(self) -> None:
        self._days: dict[date, defaultdict[str, set[str]]] = {}

    def fold(self, day: date, kind: str, value: str) -> str:
        """Give the value, or OTHERS if the day has enough of its kind."""
        kinds = self._days.get(day)
        if kinds is None:
            if len(self._days) >= MOST_DAYS:
                del self._days[min(self._days)]
            kinds = self._days[day] = defaultdict(set)
        known = kinds[kind]
        if value in known:
            return value
        if len(known) >= MOST_VALUES:
            return OTHERS
        known.add(value)
        return value


def roll_up(entries: Iterable[Any], days: Days, bound: Bound) -> list[Rollup]:
    """Sum up the entries that have labels, in the order of day and slot."""
    sums: dict[tuple[Any, ...], tuple[int, ...]] = {}
    for entry in entries:
        labels = _labels_of(entry)
        if not any(labels):
            continue
        day = days.of(entry.started_at)
        cost = entry.cost_nanos
        added = (1, int(entry.outcome in ERRORS), int(cost is None), sum(_tokens_of(entry)), cost or 0)
        # Values that are folded into one are still of one call.
        for kind, value in {(kind, bound.fold(day, kind, value)) for kind, value in _pairs(labels)}:
            place = (day, kind, value, entry.key_id, entry.user_id)
            before = sums.get(place)
            sums[place] = added if before is None else tuple(map(add, before, added))
    found = [Rollup(place[0], digest(place[1:]), place[1:], sums[place]) for place in sums]
    return sorted(_merged(found), key=lambda each: each[:2])


def _pairs(labels: tuple[Any, ...]) -> Iterator[tuple[str, str]]:
    tags, *others = labels
    for tag in tags or ():
        yield "tag", str(tag)
    for kind, value in zip(KINDS, others, strict=True):
        if value:
            yield kind, value


def _merged(rollups: Iterable[Rollup]) -> Iterable[Rollup]:
    """Put together what is of one slot: a key, and the same one as text."""
    found: dict[tuple[date, str], Rollup] = {}
    for each in rollups:
        before = found.get(each[:2])
        if before is not None:
            each = before._replace(sums=tuple(map(add, before.sums, each.sums)))
        found[each[:2]] = each
    return found.values()
