"""The figures of a dashboard: sums of a span and of the one before it, by time and by what they can be told apart by.

Days answer, however many calls there were: a year of ten million calls is some hundred thousand rows. Single calls are
asked for the last 24 hours, by their time, and for what days do not tell apart: filters by tag or session. So that no
page reads a table of ten million rows, it is looked first whether there are more than `MOST_CALLS` of them.

A page asks five questions of the rows, whatever it shows: the sums of each step of time, the sums of each combination
that days tell apart, in each of the two spans (all lists of a page are made of these), the steps of the foremost, and
those of each provider.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, timedelta
from functools import reduce
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings as site
from django.core.exceptions import ValidationError
from django.db.models import Count, DateTimeField, DurationField, ExpressionWrapper, F, Q, Sum, Value
from django.db.models.functions import TruncDate, TruncHour
from django.utils.timezone import get_default_timezone, is_naive

from ai_gateway import histograms
from ai_gateway.conf import settings
from ai_gateway.histograms import DURATION, DURATION_BOUNDS, FIRST_TOKEN, FIRST_TOKEN_BOUNDS, percentile
from ai_gateway.models import UsageDaily, UsageLabelDaily, UsageRecord
from ai_gateway.models.base import as_told
from ai_gateway.models.usage_queries import BUCKETS, FAILURES, UsageGroup, UsageTotals, stored_beginning
from ai_gateway.questions import LABELS, NOBODY, Question
from ai_gateway.spending import Names

MOST_CALLS = 200_000
"""Single calls that a page reads."""

MOST_COMBINATIONS = 50_000

OF_SETTINGS = "name:"
"""How an address begins what it says of a key of the settings."""

FOREMOST = 7
"""Values that a chart tells apart. The rest is shown as one."""

MOST_NAMED = 500
"""Users, groups and keys that are looked up by name."""

LISTED = 8

MOVERS = 5

HOUR = timedelta(hours=1)

COMBINED = ("provider", "served_model", "key_id", "key_name", "user_id", "group_id", "route")

TOPS = ("model", "provider", "key", "user", "route")

TOKENS = reduce(operator.add, (F(name) for name in BUCKETS))


class TooMany(Exception):
    """There are more calls than a page reads."""


@dataclass(slots=True, kw_only=True)
class Sums:
    """What is summed up of any rows. Money is in nano-dollars."""

    requests: int = 0
    errors: int = 0
    unpriced: int = 0
    tokens: int = 0
    cost_nanos: int = 0

    def add(self, other: Sums) -> None:
        """Add to it."""
        for name in SUMMED:
            setattr(self, name, getattr(self, name) + getattr(other, name))


SUMMED = tuple(each.name for each in fields(Sums))

COMPARED = ("requests", "unpriced", "cost_nanos")
"""What is asked of the span before."""

MORE = ("limited", "cached", "saved_nanos", "cache_read_tokens", "prompt_tokens")
PROMPT = reduce(operator.add, (F(name) for name in BUCKETS if not name.startswith(("output", "reasoning"))))


@dataclass(slots=True, kw_only=True)
class Step(Sums):
    """The sum of an hour, a day, or a span."""

    limited: int = 0
    cached: int = 0
    saved_nanos: int = 0
    cache_read_tokens: int = 0
    prompt_tokens: int = 0
    durations: Sequence[int] = (0,) * len(DURATION)
    first_tokens: Sequence[int] = (0,) * len(FIRST_TOKEN)

    @property
    def error_rate(self) -> float | None:
        """Errors by requests."""
        return self.errors / self.requests if self.requests else None

    @property
    def cached_share(self) -> float | None:
        """Which share of the tokens of prompts came out of a provider's cache."""
        return self.cache_read_tokens / self.prompt_tokens if self.prompt_tokens else None

    def duration(self, share: float) -> int | None:
        """Give a percentile of durations, in milliseconds."""
        return percentile(self.durations, DURATION_BOUNDS, share)

    def first_token(self, share: float) -> int | None:
        """Give a percentile of times to the first token, in milliseconds."""
        return percentile(self.first_tokens, FIRST_TOKEN_BOUNDS, share)

    def include(self, other: Step) -> None:
        """Add to it."""
        self.add(other)
        for name in MORE:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.durations = list(map(operator.add, self.durations, other.durations))
        self.first_tokens = list(map(operator.add, self.first_tokens, other.first_tokens))


@dataclass(slots=True, kw_only=True)
class Share:
    """What one value used: in the span, and in the one before."""

    value: Any
    name: str = ""
    now: Sums
    before: Sums

    @property
    def change(self) -> int:
        """How much more it cost than before, in nano-dollars."""
        return self.now.cost_nanos - self.before.cost_nanos


Found = Iterable[tuple[Mapping[str, Any], Sums, bool]]
"""Rows with their sums, and whether they are of the span, not of the one before."""


class Rows:
    """The rows that a question is about: days, or single calls. Raises TooMany."""

    def __init__(self, question: Question, user_id: Any | None) -> None:
        self.question = question
        self.user_id = user_id
        of_labels = question.by in LABELS and not set(question.filters) <= {"key", "user"}
        self.is_calls = question.is_hourly or of_labels or bool({"tag", "session"} & set(question.filters))
        self.step = "hour" if question.is_hourly else "day"
        offset = datetime.now(UTC if site.USE_TZ else get_default_timezone()).utcoffset() or timedelta()
        self._past = offset % HOUR
        self._time = "started_at" if self.is_calls else "day"
        self.rows = self._stepped(self._filtered(UsageRecord if self.is_calls else UsageDaily))
        self.since = Q(**{f"{self._time}__gte": self._bound(question.since)})
        if self.is_calls and self.rows[MOST_CALLS : MOST_CALLS + 1].values_list("pk"):
            raise TooMany

    def _bound(self, moment: date) -> date:
        return stored_beginning(moment, settings.TIME_ZONE) if self.is_calls else moment

    def _filtered(self, table: Any) -> Any:
        rows = table.objects.between(self.question.before, self.question.until).order_by()
        if self.user_id is not None:
            rows = rows.by_user(self.user_id)
        for name, value in self.question.filters.items():
            rows = narrowed(rows, name, value)
        return rows

    def _stepped(self, rows: Any) -> Any:
        if self.question.is_hourly:
            return rows.annotate(hour=TruncHour(self._started_at(), tzinfo=UTC))
        if self.is_calls:
            return rows.annotate(day=TruncDate("started_at", tzinfo=ZoneInfo(settings.TIME_ZONE)))
        return rows

    def _started_at(self) -> Any:
        """When a call began, by a clock whose hours begin with those of UTC."""
        if not self._past:
            return F("started_at")
        return ExpressionWrapper(F("started_at") - Value(self._past, DurationField()), DateTimeField())

    def _moment(self, row: Mapping[str, Any]) -> date:
        """Give the step that a row is of. Without USE_TZ a database tells hours by the site's own clock."""
        step: date = row[self.step]
        if isinstance(step, datetime) and is_naive(step):
            return as_told(step + self._past).astimezone(UTC)
        return step

    # How a sum is made.

    def _sums(self, names: Iterable[str], by: str = "") -> dict[str, Any]:
        make = _of_calls if self.is_calls else Sum if by in LABELS else _of_days
        return {f"sum_{name}": make(name) for name in names}

    # What is asked.

    def timeline(self) -> dict[date, Step]:
        """Sum each step of both spans up."""
        rows = self.rows.values(self.step).annotate(**self._sums((*SUMMED, *MORE, *histograms.COLUMNS)))
        return {self._moment(row): _read_step(row) for row in rows}

    def combinations(self) -> Found:
        """Sum each combination up that days tell apart: those of the span, and those of the one before."""
        return self._compared(self.rows, COMBINED, "")

    def _compared(self, rows: Any, columns: Sequence[str], by: str) -> Found:
        # Two questions: sums under a condition take a database longer than half of the rows do.
        for condition, names, is_now in ((self.since, SUMMED, True), (~self.since, COMPARED, False)):
            summed = rows.filter(condition).values(*columns).annotate(**self._sums(names, by=by))
            for row in summed.order_by("-sum_cost_nanos")[:MOST_COMBINATIONS]:
                yield row, _read(row, names), is_now

    def health(self) -> dict[tuple[str, date], Sums]:
        """Sum each step of each provider up, in the span."""
        rows = self.rows.filter(self.since).exclude(provider="").values("provider", self.step)
        names = ("requests", "errors")
        return {(row["provider"], self._moment(row)): _read(row, names) for row in rows.annotate(**self._sums(names))}

    def labelled(self, kind: str) -> list[Share]:
        """Sum each label of a kind up, the most expensive first."""
        found = self._compared(self._labels(kind), ["label"], kind)
        return shares((label, sums, is_now) for row, sums, is_now in found for label in _labels_of(row))

    def foremost(self, kind: str) -> list[Share]:
        """Sum the most expensive labels of a kind up, in the span alone: there may be very many of the others."""
        summed = self._labels(kind).filter(self.since).values("label").annotate(**self._sums(SUMMED, by=kind))
        first = summed.order_by(F("sum_cost_nanos").desc(nulls_last=True), "-sum_requests", "label")[:LISTED]
        return [Share(value=row["label"], now=_read(row), before=Sums()) for row in first]

    def steps_of(self, by: str, values: Sequence[Any]) -> dict[tuple[Any, date], Sums]:
        """Sum each step of these values up, in the span."""
        rows, columns = (self._labels(by), ["label"]) if by in LABELS else (self.rows, COLUMNS_OF[by])
        if not (by == "tag" and self.is_calls):
            rows = rows.filter(reduce(operator.or_, (_is(by, value) for value in values), Q(pk__in=[])))
        found: dict[tuple[Any, date], Sums] = defaultdict(Sums)
        for row in rows.filter(self.since).values(self.step, *columns).annotate(**self._sums(SUMMED, by=by)):
            for value in _labels_of(row) if by in LABELS else (value_of(row, by),):
                found[value, self._moment(row)].add(_read(row))
        return found

    def _labels(self, kind: str) -> Any:
        if self.is_calls:
            rows = self.rows.filter(tags__isnull=False) if kind == "tag" else self.rows.exclude(**{kind: ""})
            return rows.annotate(label=F("tags" if kind == "tag" else kind))
        question = self.question
        rows = UsageLabelDaily.objects.filter(kind=kind, day__gte=question.before, day__lt=question.until)
        if self.user_id is not None:
            rows = rows.filter(user_id=self.user_id)
        for name in ("key", "user"):
            if name in question.filters:
                rows = narrowed(rows, name, question.filters[name])
        return rows.annotate(label=F("value"))


def _of_days(name: str) -> Any:
    return Sum({"tokens": TOKENS, "prompt_tokens": PROMPT}.get(name, name))


def _of_calls(name: str) -> Any:
    if name in ("tokens", "prompt_tokens", "cost_nanos", "saved_nanos", "cache_read_tokens"):
        return _of_days(name)
    return Count("pk", filter=CONDITIONS[name])


def _between(column: str, names: Sequence[str], bounds: Sequence[int]) -> dict[str, Q]:
    ends = zip(names, (None, *bounds), (*bounds, None), strict=True)
    return {
        name: Q(**{f"{column}__isnull": False})
        & (Q() if above is None else Q(**{f"{column}__gt": above}))
        & (Q() if to is None else Q(**{f"{column}__lte": to}))
        for name, above, to in ends
    }


CONDITIONS: dict[str, Q] = {
    "requests": Q(),
    "errors": Q(outcome__in=FAILURES),
    "limited": Q(outcome="limited"),
    "cached": Q(outcome="cached"),
    "unpriced": Q(cost_nanos__isnull=True),
    **_between("duration_ms", DURATION, DURATION_BOUNDS),
    **_between("first_token_ms", FIRST_TOKEN, FIRST_TOKEN_BOUNDS),
}
"""Which calls a column of days counts."""

COLUMNS_OF: dict[str, tuple[str, ...]] = {
    "model": ("provider", "served_model"),
    "provider": ("provider",),
    "key": ("key_id", "key_name"),
    "user": ("user_id",),
    "group": ("group_id",),
    "route": ("route",),
}


def value_of(row: Mapping[str, Any], by: str) -> Any:
    """Give what a row is told apart by. A key of the settings is its name, and a virtual key its primary key."""
    if by == "model":
        return "/".join(filter(None, (row["provider"], row["served_model"])))
    if by == "key" and row["key_id"] is None:
        return row["key_name"] or None
    value = row[COLUMNS_OF[by][0]]
    return None if value == "" else value


def _labels_of(row: Mapping[str, Any]) -> Sequence[str]:
    label = row["label"]
    return list(dict.fromkeys(label)) if isinstance(label, list) else [label]


def _is(by: str, value: Any) -> Q:
    if by in LABELS:
        return Q(label=value)
    if by == "model":
        provider, _slash, model = value.partition("/")
        return Q(provider=provider, served_model=model)
    if by == "key" and not isinstance(value, int):
        return Q(key_id__isnull=True, key_name=value or "")
    column = COLUMNS_OF[by][0]
    if value is None and column.endswith("_id"):
        return Q(**{f"{column}__isnull": True})
    return Q(**{column: value or ""})


def narrowed(rows: Any, name: str, value: str) -> Any:
    """Keep the rows that a filter of an address means. Nothing is kept of what cannot be."""
    if name in ("key", "user", "group"):
        return _narrowed_to(rows, name, value)
    if name == "session":
        return rows.filter(session=value)
    by: Callable[[str], Any] = getattr(rows, f"by_{name}")
    return by(value)


def _narrowed_to(rows: Any, name: str, value: str) -> Any:
    """Keep those of somebody, named as people write it, or by a primary key, or NOBODY's."""
    if value == NOBODY:
        return rows.filter(**{f"{name}_id__isnull": True})
    if name == "key" and value.startswith(OF_SETTINGS):
        # Labels do not keep the names of keys.
        is_known = rows.model is not UsageLabelDaily
        return rows.by_key(value.removeprefix(OF_SETTINGS)) if is_known else rows.filter(key_id__isnull=True)
    target: Any = rows.model._meta.get_field(name).related_model
    column = target.USERNAME_FIELD if name == "user" else "name"
    ids = list(target._default_manager.filter(**{column: value}).values_list("pk", flat=True)[:MOST_NAMED])
    if not ids:
        try:
            ids = [target._meta.pk.to_python(value)]
        except ValidationError:
            return rows.none()
    # No row has a number of more than 64 bits, and no database can be asked for one.
    return rows.filter(**{f"{name}_id__in": [id for id in ids if not isinstance(id, int) or abs(id) < 2**63]})


def _read(row: Mapping[str, Any], names: Sequence[str] = SUMMED) -> Sums:
    return Sums(**{name: int(row[f"sum_{name}"] or 0) for name in names})


def _read_step(row: Mapping[str, Any]) -> Step:
    return Step(
        **{name: int(row[f"sum_{name}"] or 0) for name in (*SUMMED, *MORE)},
        durations=[int(row[f"sum_{name}"] or 0) for name in DURATION],
        first_tokens=[int(row[f"sum_{name}"] or 0) for name in FIRST_TOKEN],
    )


def shares(found: Iterable[tuple[Any, Sums, bool]]) -> list[Share]:
    """Put together what is of one value; the most expensive first, and those that cost alike by their requests."""
    together: dict[Any, Share] = {}
    for value, sums, is_now in found:
        share = together.get(value)
        if share is None:
            share = together[value] = Share(value=value, now=Sums(), before=Sums())
        (share.now if is_now else share.before).add(sums)
    return sorted(together.values(), key=_most_expensive_first)


def _most_expensive_first(share: Share) -> tuple[int, int, int, str]:
    return -share.now.cost_nanos, -share.now.requests, -share.before.cost_nanos, str(share.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What a page shows."""

    question: Question
    now: Step
    before: Step
    steps: Mapping[date, Step]
    """Those of the span."""
    shares: Sequence[Share]
    """By what the question tells apart."""
    stacks: Sequence[tuple[str | None, Sequence[Sums]]]
    """The foremost of them, step by step, and the rest, whose name is None."""
    tops: Mapping[str, Sequence[Share]]
    health: Mapping[str, Sequence[Sums]]
    """Of each provider, step by step."""
    is_calls: bool

    @property
    def movers(self) -> list[Share]:
        """Those whose cost changed most since the span before."""
        moved = [share for share in self.shares if share.change]
        return sorted(moved, key=lambda each: -abs(each.change))[:MOVERS]


def ask(question: Question, user_id: Any | None) -> Figures:
    """Ask for all figures, of everybody or of one user. Raises TooMany."""
    rows = Rows(question, user_id)
    moments = question.steps()
    timeline = rows.timeline()
    now, before = Step(), Step()
    for moment, step in timeline.items():
        (now if moment >= question.since else before).include(step)
    steps = {moment: timeline.get(moment) or Step() for moment in moments}
    combinations = list(rows.combinations())
    tops = {by: _shares_of(combinations, by) for by in COLUMNS_OF}
    tops["session"] = rows.foremost("session")
    if question.by in LABELS:
        tops[question.by] = rows.labelled(question.by)
    chosen = tops[question.by]
    _name(tops)
    return Figures(
        question=question,
        now=now,
        before=before,
        steps=steps,
        shares=chosen,
        stacks=_stacks(rows, chosen, steps),
        tops={by: tops[by][:LISTED] for by in (*TOPS, "session")},
        health=_health(rows, moments),
        is_calls=rows.is_calls,
    )


def _shares_of(combinations: Found, by: str) -> list[Share]:
    return shares((value_of(row, by), sums, is_now) for row, sums, is_now in combinations)


def _name(tops: Mapping[str, Sequence[Share]]) -> None:
    """Name the users, groups and keys by their names."""
    groups = [
        UsageGroup(by={by: share.value}, totals=UsageTotals())
        for by in ("user", "group", "key")
        for share in tops[by][:MOST_NAMED]
    ]
    names = Names(groups)
    for by, found in tops.items():
        for share in found:
            group = UsageGroup(by={by: share.value}, totals=UsageTotals())
            share.name = names.of(group, by) if by in ("user", "group", "key") else str(share.value or "")


def _stacks(rows: Rows, chosen: Sequence[Share], steps: Mapping[date, Step]) -> list[tuple[str | None, Sequence[Sums]]]:
    """The steps of the foremost, and what is left of all."""
    foremost = [share for share in chosen if share.now.requests][:FOREMOST]
    found = rows.steps_of(rows.question.by, [share.value for share in foremost])
    nothing = Sums()
    stacks: list[tuple[str | None, Sequence[Sums]]] = [
        (share.name, [found.get((share.value, moment), nothing) for moment in steps]) for share in foremost
    ]
    rest = []
    for place, step in enumerate(steps.values()):
        known = [each[place] for _name, each in stacks]
        # Of a call with two tags both are counted, and so the rest may be less than nothing.
        left = {name: max(getattr(step, name) - sum(getattr(sums, name) for sums in known), 0) for name in SUMMED}
        rest.append(Sums(**left))
    return [*stacks, (None, rest)] if any(sums.requests or sums.cost_nanos for sums in rest) else stacks


def _health(rows: Rows, moments: Sequence[date]) -> dict[str, Sequence[Sums]]:
    found = rows.health()
    providers = sorted({provider for provider, _moment in found})
    return {name: [found.get((name, moment), Sums()) for moment in moments] for name in providers}
