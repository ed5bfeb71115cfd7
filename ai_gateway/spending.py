"""What was spent, read from the sums of days: by the holder of a key; and the names of those whom sums are about."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from ai_gateway.calls import Caller
from ai_gateway.conf import settings
from ai_gateway.configuration import SourceUnavailable
from ai_gateway.models import UsageDaily, VirtualKey
from ai_gateway.models.usage_queries import UsageDailyQuerySet, UsageGroup, UsageTotals, day_of
from ai_gateway.money import exact
from ai_gateway.stored import has_database
from ai_gateway.timespans import Span

BATCH = 500
"""Names that are looked up with one query."""

GROUPINGS: dict[str, tuple[str, ...]] = {"model": ("provider", "model"), "day": ("day",)}
"""What the holder of a key may have sums made by, with what the sums are told apart by."""


def of_caller(caller: Caller, span: Span | None, by: str | None) -> dict[str, Any] | None:
    """Tell what the holder of a key spent with it: today, this month and in total; if asked for in a span of time; and
    there by one of GROUPINGS. None where nothing is written down. Raises SourceUnavailable."""
    if not settings.USAGE or not has_database():
        return None
    try:
        return _of_rows(rows_of(caller), span, by)
    except (DatabaseError, ImproperlyConfigured) as error:
        raise SourceUnavailable(f"the database: {error}") from error


def rows_of(caller: Caller) -> UsageDailyQuerySet:
    """Give the days of a caller's key, and of no other."""
    key = caller.key_id if caller.key_id is not None else caller.key_name or ""
    rows: UsageDailyQuerySet = UsageDaily.objects.by_key(key)
    return rows


def today() -> date:
    """Tell which day it is in the time zone of accounting."""
    return day_of(datetime.now(UTC), settings.TIME_ZONE)


def _of_rows(rows: UsageDailyQuerySet, span: Span | None, by: str | None) -> dict[str, Any]:
    day = today()
    found: dict[str, Any] = {
        "today": document(rows.between(day).totals()),
        "this_month": document(rows.between(day.replace(day=1)).totals()),
        "total": document(rows.totals()),
    }
    if span is not None:
        within = rows.between(*span)
        found["span"] = document(within.totals())
        if by is not None:
            found["span"][f"by_{by}"] = [
                {**{name: str(value) for name, value in group.by.items()}, **document(group.totals)}
                for group in within.group_totals(*GROUPINGS[by])
            ]
    return found


def document(totals: UsageTotals) -> dict[str, Any]:
    """Write a sum for a program. Money is in dollars, exact, and so a string."""
    return {
        "requests": totals.requests,
        "errors": totals.errors,
        "limited": totals.limited,
        "tokens": {"total": totals.tokens, **totals.buckets},
        "cost": exact(totals.cost_nanos),
        "cached_requests": totals.cached,
        "saved": exact(totals.saved_nanos),
        "unpriced_requests": totals.unpriced,
    }


class Names:
    """The names of the users, groups and keys that some sums are about, looked up with a query for each kind.

    A key has its owner's name with it: many are called alike.
    """

    def __init__(self, groups: Sequence[UsageGroup]) -> None:
        people: Any = get_user_model()
        self._names: dict[str, Mapping[Any, str]] = {
            "user": _names(people._default_manager.all(), people.USERNAME_FIELD, _ids(groups, "user")),
            "group": _names(Group.objects.all(), "name", _ids(groups, "group")),
            "key": {},
        }
        owner = f"user__{people.USERNAME_FIELD}"
        virtual = [each for each in _ids(groups, "key") if not isinstance(each, str)]
        keys = _rows(VirtualKey.objects.all(), ("name", owner), virtual)
        self._names["key"] = {key: f"{name} ({owned_by})" for key, name, owned_by in keys}

    def of(self, group: UsageGroup, kind: str) -> str:
        """Name what one sum is about: "" for nobody, and what there is of a name for what was deleted."""
        value = group.by[kind]
        if value is None or kind not in self._names or (kind == "key" and isinstance(value, str)):
            return "" if value is None else str(value)
        lost = group.key_name if kind == "key" and group.key_name else f"#{value}"
        return self._names[kind].get(value, lost)


def _ids(groups: Iterable[UsageGroup], kind: str) -> list[Any]:
    return list({each.by[kind] for each in groups if each.by.get(kind) is not None})


def _names(rows: Any, field: str, ids: Sequence[Any]) -> dict[Any, str]:
    return {key: str(name) for key, name in _rows(rows, (field,), ids)}


def _rows(rows: Any, columns: Sequence[str], ids: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    for first in range(0, len(ids), BATCH):
        yield from rows.filter(pk__in=ids[first : first + BATCH]).values_list("pk", *columns)
