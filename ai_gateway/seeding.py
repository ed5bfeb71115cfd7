"""What was spent before this process began to count: read from what is written down of finished calls.

A counter's name tells its rule and its subject, and the rule what to sum up. Whole days of the accounting time zone are
summed up from the days' sums; an hour, what a period of another time zone has beside such days, and what those sums do
not know (the value of a header) from the records of calls, as long as these are kept. Of headers that are not recorded
nobody can tell: their counters begin at 0.
"""

from __future__ import annotations

import functools
import logging
import operator
from collections.abc import Iterable
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Count, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce

from ai_gateway import registry, stored
from ai_gateway.allowances import LimitRule, name_in, period
from ai_gateway.charges import Counter
from ai_gateway.conf import settings
from ai_gateway.holds import TARGET_SCOPES
from ai_gateway.ids import first_id
from ai_gateway.models import UsageDaily, UsageRecord
from ai_gateway.models.base import stored_at
from ai_gateway.models.usage_queries import BUCKETS
from ai_gateway.rollups import Days
from ai_gateway.tracking import TRACKED

logger = logging.getLogger("ai_gateway")

WHOLE_DAYS = ("day", "week", "month", "total")

_reported: set[str] = set()


def spent(counter: Counter, since: float | None = None, /) -> int:
    """Sum up what was spent of a counter in its period, in its unit. Raises DatabaseError.

    Calls that were admitted `since` a time, in seconds since 1970, are left out: who asks has counted them itself.
    """
    found = find(counter.name, registry.snapshot().limits.rules)
    if found is None or not stored.has_database():
        return 0
    rule, subject = found
    if rule.scope == "header" and rule.header not in TRACKED:
        if rule.id not in _reported:
            _reported.add(rule.id)
            logger.warning("The limit %r is of a header that is not recorded, and begins at 0.", rule.name)
        return 0
    # First: what is written in between counts twice rather than not at all.
    counted = 0 if since is None else _sum([_admitted_since(rule, counter.ends_at, since)], rule, subject)
    return max(0, _sum(_of_period(rule, counter.ends_at), rule, subject) - counted)


def _sum(parts: Iterable[QuerySet[Any]], rule: LimitRule, subject: str) -> int:
    return sum(row["amount"] for rows in parts for row in _of_subject(rows, rule, subject))


def find(name: str, rules: Iterable[LimitRule]) -> tuple[LimitRule, str] | None:
    """Find the rule that a counter of a period belongs to, and its subject: `Due` wrote the name."""
    name = name.rpartition(":")[0]
    found = [rule for rule in rules if name.startswith(rule.prefix)]
    if not found:
        return None
    rule = max(found, key=lambda each: len(each.prefix))
    return rule, name.removeprefix(rule.prefix)


def _of_period(rule: LimitRule, ends_at: float) -> list[QuerySet[Any]]:
    """Select the rows of a period, the amounts of which are still to be summed up: as many days as can be, and the
    records of what is left over."""
    begins_at = period(rule.window, rule.zone, ends_at - 1).begins_at
    if rule.scope == "header" or rule.window not in WHOLE_DAYS:
        return [_records(begins_at, ends_at)]
    days = UsageDaily.objects.order_by()
    if not ends_at:
        return [days]
    zone = Days(settings.TIME_ZONE)
    first, after = zone.of(begins_at), zone.of(ends_at)
    if zone.begin(first).timestamp() < begins_at:
        first += timedelta(days=1)
    if first >= after:
        return [_records(begins_at, ends_at)]
    # Of a limit's own time zone, the hours before the first day that is all of it, and behind the last one.
    spans = (begins_at, zone.begin(first).timestamp()), (zone.begin(after).timestamp(), ends_at)
    over = [_records(since, until) for since, until in spans if since < until]
    return [days.filter(day__gte=first, day__lt=after), *over]


def _admitted_since(rule: LimitRule, ends_at: float, since: float) -> QuerySet[Any]:
    """Select the records of a period whose calls were admitted from a time on: that is when they get their ids."""
    begins_at = period(rule.window, rule.zone, ends_at - 1).begins_at
    return _records(begins_at, ends_at).filter(pk__gte=first_id(since))


def _records(since: float, until: float) -> QuerySet[Any]:
    """Select the records from between two moments in seconds since 1970; all of them, if there is no end."""
    records = UsageRecord.objects.order_by()
    if not until:
        return records
    return records.filter(started_at__gte=stored_at(since), started_at__lt=stored_at(until))


def _of_subject(rows: QuerySet[Any], rule: LimitRule, subject: str) -> Iterable[Any]:
    """Sum up the rows of a subject, or several of what a pattern fits."""
    columns = _columns(rule)
    if rule.scope == "everyone":
        return _summed(rows, rule)
    if rule.scope in ("key", "user", "group"):
        return _summed(rows.filter(_is_of(rows, rule.scope, subject)), rule)
    if "*" not in subject:
        return _summed(rows.filter(_is_named(rule.scope, columns[-1], subject)), rule)
    summed = _summed(rows, rule, *columns)
    if rule.scope == "model":
        subject = subject.lower()
        return [row for row in summed if _fits(subject, [str(row[column]).lower() for column in columns])]
    return [row for row in summed if _fits(subject, [str(row[column]) for column in columns])]


def _is_named(scope: str, column: str, subject: str) -> Q:
    """Say whose rows are meant: what has a name, or a model, which has it in any case, alone or with its provider."""
    if scope != "model":
        return Q(**{column: subject})
    is_it = Q(served_model__iexact=subject)
    if "/" in subject:
        provider, _, model = subject.partition("/")
        is_it |= Q(provider__iexact=provider, served_model__iexact=model)
    return is_it


def _columns(rule: LimitRule) -> tuple[str, ...]:
    """Name the columns that a rule's subject is looked for in."""
    if rule.scope == "model":
        return "provider", "served_model"
    return (TRACKED[rule.header] if rule.scope == "header" else rule.scope,)


def _fits(pattern: str, names: list[str]) -> bool:
    """Whether a name fits: a model's is what it is called, or the provider's name and that."""
    return fnmatchcase(names[-1], pattern) or fnmatchcase("/".join(names), pattern)


def _is_of(rows: QuerySet[Any], scope: str, subject: str) -> Q:
    """Say whose rows are meant: a key, a user or a group, or a key of the settings, which has only a name."""
    if scope == "key" and (name := name_in(subject)) is not None:
        return Q(key_id=None, key_name=name)
    try:
        key = rows.model._meta.get_field(scope).target_field.to_python(subject)
    except ValidationError:
        return Q(pk__in=())
    return Q(**{f"{scope}_id": key})


def _summed(rows: QuerySet[Any], rule: LimitRule, *columns: str) -> Iterable[Any]:
    """Sum up what a rule measures, for each combination of these columns."""
    if rule.measure == "cost":
        amount: Any = Sum("cost_nanos")
    elif rule.measure == "tokens":
        amount = Sum(functools.reduce(operator.add, map(F, BUCKETS)))
    else:
        rows, amount = _admitted(rows, rule)
    if not columns:
        return [rows.aggregate(amount=Coalesce(amount, 0))]
    return list(rows.values(*columns).annotate(amount=Coalesce(amount, 0)))


def _admitted(rows: QuerySet[Any], rule: LimitRule) -> tuple[QuerySet[Any], Any]:
    """Select the rows of calls that took something of a limit of requests, and say how these are counted.

    A call that never had a target took nothing: it was refused, blocked or given up before. Nor did one that a limit
    refused, nor of a provider and its models one that was answered from the cache. What the gateway answered in place
    of a target, such as an estimated count of tokens, is told apart in records only: of days it counts.
    """
    is_of_target = rule.scope in TARGET_SCOPES
    rows = rows.exclude(provider="")
    if rows.model is UsageDaily:
        return rows, Sum(F("requests") - F("limited") - (F("cached") if is_of_target else Value(0)))
    took_nothing = [UsageRecord.Outcome.LIMITED, *([UsageRecord.Outcome.CACHED] if is_of_target else [])]
    is_own = Q(outcome=UsageRecord.Outcome.ANSWERED, attempts=0)
    return rows, Count("pk", filter=~Q(outcome__in=took_nothing) & ~is_own)
