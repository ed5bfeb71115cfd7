"""Questions to what was used: `UsageRecord.objects` and `UsageDaily.objects` answer the same ones.

    UsageDaily.objects.by_user(ann).between(date(2026, 11, 1), date(2026, 12, 1)).cost()
    UsageRecord.objects.by_model("openai/gpt-5-mini").failed().totals().requests
    UsageDaily.objects.between(since, until).group_totals("provider", "model")

The first kind of method narrows the rows and can be chained, also with Django's own; the second kind (`cost`, `tokens`,
`totals`, `group_totals`) asks the database, once. A year of a busy site is a few hundred thousand rows of `UsageDaily`
and many millions of `UsageRecord`: whoever wants sums of days asks the former.

A span is half open: from `since`, until just before `until`. A date stands for the beginning of its day in the time
zone of accounting (`AI_GATEWAY["TIME_ZONE"]`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, ClassVar, Self
from zoneinfo import ZoneInfo

from django.db import connections, models
from django.db.models import Case, Count, F, Max, Q, Sum, Value, When
from django.db.models.functions import Cast, Coalesce, StrIndex, TruncDate

from ai_gateway import pricing
from ai_gateway.conf import settings
from ai_gateway.models.base import as_stored
from ai_gateway.money import dollars
from ai_gateway.tracking import TRACKED

BUCKETS = tuple(f"{kind}_tokens" for kind in pricing.BUCKETS)
"""The columns of both tables that count tokens. What they count is disjoint."""

FAILURES = ("refused", "blocked", "failed", "timed_out", "stopped", "cancelled")
"""The outcomes that are errors: there was no whole answer, and neither a limit nor the caller itself is the reason."""

HEADERS = {header.decode(): column for header, column in TRACKED.items()}
"""The headers that callers track their calls by, with the columns that keep them."""

GROUPS: dict[str, tuple[str, ...]] = {
    "model": ("served_model",),
    "provider": ("provider",),
    "user": ("user_id",),
    "group": ("group_id",),
    "key": ("key_id", "key_label"),
    "route": ("route",),
    "day": ("day",),
}
"""What sums can be made by, with the columns that tell one from the other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageTotals:
    """The sum of some rows. Money is in nano-dollars, times are in milliseconds."""

    requests: int = 0
    errors: int = 0
    limited: int = 0
    cached: int = 0
    estimated: int = 0
    unpriced: int = 0
    duration_ms: int = 0
    first_tokens: int = 0
    first_token_ms: int = 0
    bytes_out: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_audio_tokens: int = 0
    output_image_tokens: int = 0
    cost_nanos: int = 0
    saved_nanos: int = 0

    @property
    def cost(self) -> Decimal:
        """What it cost, in dollars. Calls without a price count as nothing; `unpriced` tells how many there are."""
        return dollars(self.cost_nanos)

    @property
    def tokens(self) -> int:
        """All tokens, of prompts and answers."""
        total: int = sum(getattr(self, name) for name in BUCKETS)
        return total

    @property
    def buckets(self) -> dict[str, int]:
        """The tokens by kind, without `_tokens` at the end of the names."""
        return {name.removesuffix("_tokens"): getattr(self, name) for name in BUCKETS}

    @property
    def first_token_mean_ms(self) -> int | None:
        """The mean time to the first token, of the answers that had one."""
        return round(self.first_token_ms / self.first_tokens) if self.first_tokens else None

    def __add__(self, other: UsageTotals) -> UsageTotals:
        return UsageTotals(**{name: getattr(self, name) + getattr(other, name) for name in COLUMNS})


COLUMNS = tuple(each.name for each in fields(UsageTotals))


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageGroup:
    """The sum of the rows that have something in common: `by` says what, by the names that were asked for.

    A user, a group and a virtual key stand there by their primary keys, the key of the settings by its name.
    """

    by: Mapping[str, Any]
    totals: UsageTotals
    key_name: str = field(default="")
    """If they were summed up by key: what the key was called last."""


def beginning(moment: date, zone: str) -> datetime:
    """Give the moment at which a day begins in a time zone. A moment is given as it is."""
    if isinstance(moment, datetime):
        return moment
    return datetime.combine(moment, time(), ZoneInfo(zone))


def stored_beginning(moment: date, zone: str) -> datetime:
    """Give the same as a database is asked for it. A naive moment is one of a site that has no time zones."""
    return as_stored(beginning(moment, zone))


def day_of(moment: date, zone: str) -> date:
    """Give the day of a moment in a time zone. A day is given as it is."""
    return moment.astimezone(ZoneInfo(zone)).date() if isinstance(moment, datetime) else moment


class UsageQuerySet(models.QuerySet[Any]):
    """What both tables can be asked."""

    sums: ClassVar[Mapping[str, Any]]
    """How each column of `UsageTotals` is summed up."""

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = GROUPS
    """What sums can be made by."""

    # What narrows the rows.

    def between(self, since: date | None, until: date | None = None) -> Self:
        """Those from `since`, until just before `until`. Both are dates or aware datetimes; None is no bound."""
        raise NotImplementedError

    def by_user(self, user: Any) -> Self:
        """Those of a user, given as the user or its primary key."""
        return self.filter(user_id=getattr(user, "pk", user))

    def by_group(self, group: Any) -> Self:
        """Those of the keys of a group, given as the group or its primary key."""
        return self.filter(group_id=getattr(group, "pk", group))

    def by_key(self, key: Any) -> Self:
        """Those of a key: a virtual key, given as itself or its primary key, or one of the settings, by its name."""
        if isinstance(key, str):
            return self.filter(key_id__isnull=True, key_name=key)
        return self.filter(key_id=getattr(key, "pk", key))

    def by_model(self, name: str) -> Self:
        """Those that a model served, by the provider's own name of it, or by `provider/model`."""
        named = Q(served_model=name)
        provider, slash, rest = name.partition("/")
        return self.filter(named | Q(provider=provider, served_model=rest) if slash else named)

    def by_provider(self, alias: str) -> Self:
        """Those that a provider served."""
        return self.filter(provider=alias)

    def by_route(self, name: str) -> Self:
        """Those that asked for a route."""
        return self.filter(route=name)

    def failed(self) -> Self:
        """Those that ended in an error, and, of days, those with an error among them."""
        raise NotImplementedError

    # What asks the database.

    def cost(self) -> Decimal:
        """What they cost, in dollars, exactly."""
        found = self.order_by().aggregate(cost=Coalesce(self.sums["cost_nanos"], 0))
        return dollars(found["cost"])

    def tokens(self) -> int:
        """How many tokens they used."""
        found = self.order_by().aggregate(**{name: Coalesce(self.sums[name], 0) for name in BUCKETS})
        return sum(found.values())

    def totals(self) -> UsageTotals:
        """Sum all of it up."""
        found = self.order_by().aggregate(**{f"sum_{name}": self.sums[name] for name in COLUMNS})
        return _read_totals(found)

    def group_totals(self, *names: str) -> list[UsageGroup]:
        """Sum up by one or more of `groups`: the most expensive first, days in their order if they come first."""
        unknown = set(names) - set(self.groups)
        if unknown or not names:
            raise ValueError(
                f"sums can be made by {', '.join(self.groups)}, not by {', '.join(sorted(unknown)) or 'nothing'}"
            )
        columns = [column for name in names for column in self.groups[name]]
        rows = self._with_groups(names).order_by().values(*columns)
        if "key" in names:
            rows = rows.annotate(last_key_name=Max("key_name"))
        rows = rows.annotate(**{f"sum_{name}": self.sums[name] for name in COLUMNS})
        found = [_read_group(row, {name: self.groups[name] for name in names}) for row in rows]
        if names[0] == "day":
            return sorted(found, key=lambda each: (each.by["day"], *_most_expensive_first(each)))
        return sorted(found, key=_most_expensive_first)

    def _with_groups(self, names: Iterable[str]) -> Self:
        """Add the columns that are made for summing up."""
        if "key" not in names:
            return self
        # A key of the settings has nothing but its name. A virtual key may have been renamed and is still the same.
        label = Case(When(key_id__isnull=True, then=F("key_name")), default=Value(""))
        return self.annotate(key_label=label)


def _most_expensive_first(group: UsageGroup) -> tuple[int, int, str]:
    """Order groups, those that cost alike by what was asked how often, and by name: in the same way every time."""
    return -group.totals.cost_nanos, -group.totals.requests, str(tuple(group.by.values()))


def _read_totals(row: Mapping[str, Any]) -> UsageTotals:
    return UsageTotals(**{name: int(row[f"sum_{name}"] or 0) for name in COLUMNS})


def _read_group(row: Mapping[str, Any], groups: Mapping[str, tuple[str, ...]]) -> UsageGroup:
    by: dict[str, Any] = {}
    for name, columns in groups.items():
        value = row[columns[0]]
        by[name] = row["key_label"] if name == "key" and value is None else value
    return UsageGroup(by=by, totals=_read_totals(row), key_name=row.get("last_key_name") or "")


class UsageDailyQuerySet(UsageQuerySet):
    """What days can be asked."""

    sums: ClassVar[Mapping[str, Any]] = {name: Sum(name) for name in COLUMNS}

    def between(self, since: date | None, until: date | None = None) -> Self:
        """Whole days: the one that `since` falls into is the first, the one before `until` falls into is the last."""
        found = self
        if since is not None:
            found = found.filter(day__gte=day_of(since, settings.TIME_ZONE))
        if until is not None:
            last = until - timedelta(microseconds=1) if isinstance(until, datetime) else until - timedelta(days=1)
            found = found.filter(day__lte=day_of(last, settings.TIME_ZONE))
        return found

    def failed(self) -> Self:
        """Days with an error among them."""
        return self.filter(errors__gt=0)


def _tally(**condition: Any) -> Count:
    return Count("pk", filter=Q(**condition))


MEASURED = ("duration_ms", "first_token_ms", "bytes_out", "cost_nanos", "saved_nanos", *BUCKETS)


class UsageRecordQuerySet(UsageQuerySet):
    """What single calls can be asked."""

    sums: ClassVar[Mapping[str, Any]] = {
        "requests": Count("pk"),
        "errors": _tally(outcome__in=FAILURES),
        "limited": _tally(outcome="limited"),
        "cached": _tally(outcome="cached"),
        "estimated": _tally(is_estimated=True),
        "unpriced": _tally(cost_nanos__isnull=True),
        "first_tokens": Count("first_token_ms"),
        **{name: Sum(name) for name in MEASURED},
    }

    groups: ClassVar[Mapping[str, tuple[str, ...]]] = {**GROUPS, "variant": ("variant",)}

    def between(self, since: date | None, until: date | None = None) -> Self:
        """Those that arrived in a span of time."""
        found = self
        if since is not None:
            found = found.filter(started_at__gte=stored_beginning(since, settings.TIME_ZONE))
        if until is not None:
            found = found.filter(started_at__lt=stored_beginning(until, settings.TIME_ZONE))
        return found

    def failed(self) -> Self:
        """Those that ended in an error."""
        return self.filter(outcome__in=FAILURES)

    def by_tag(self, tag: str) -> Self:
        """Those of a key with a tag. There is no index for that: name a span of time along with it."""
        if connections[self.db].features.supports_json_field_contains:
            return self.filter(tags__contains=[tag])
        # SQLite: a text is in the JSON as it is written there, quotes included.
        written = models.JSONField().get_db_prep_value(tag, connections[self.db])
        return self.annotate(tag_at=StrIndex(Cast("tags", models.TextField()), Value(written))).filter(tag_at__gt=0)

    def in_experiments(self) -> Self:
        """Those that were part of a route's experiment, whichever."""
        return self.exclude(variant="")

    def mirrored(self) -> Self:
        """Those that were copies of others."""
        return self.filter(is_mirror=True)

    def by_header(self, header: str, value: str) -> Self:
        """Those that carried a value in one of HEADERS. Raises ValueError for a header that is not kept."""
        column = HEADERS.get(header.lower())
        if column is None:
            raise ValueError(f"{header!r} is not kept; kept are {', '.join(HEADERS)}")
        return self.filter(**{column: value})

    def tag_totals(self) -> list[UsageGroup]:
        """Sum up by tag, the most expensive first. A call with two tags counts for both, one without for none."""
        rows = self.filter(tags__isnull=False).order_by().values("tags")
        found: dict[str, UsageTotals] = {}
        for row in rows.annotate(**{f"sum_{name}": self.sums[name] for name in COLUMNS}):
            totals = _read_totals(row)
            for tag in dict.fromkeys(row["tags"]):
                found[tag] = found.get(tag, UsageTotals()) + totals
        groups = [UsageGroup(by={"tag": tag}, totals=totals) for tag, totals in found.items()]
        return sorted(groups, key=_most_expensive_first)

    def _with_groups(self, names: Iterable[str]) -> Self:
        found = super()._with_groups(names)
        if "day" in names:
            found = found.annotate(day=TruncDate("started_at", tzinfo=ZoneInfo(settings.TIME_ZONE)))
        return found
