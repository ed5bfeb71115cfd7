"""Which limits are there, and which of them does a call have to keep to?

A limit of the settings or the database becomes a `LimitRule`, and all rules a `LimitTable`, which finds those of a call
by looking up who calls, by what route, and where to: most calls of most sites meet none or a few of many thousands.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from fnmatch import fnmatchcase
from math import inf
from operator import itemgetter
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import msgspec

from ai_gateway.calls import Call, Caller
from ai_gateway.charges import MOST, Algorithm, Counter

SECRET_HEADERS = frozenset(("authorization", "proxy-authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie"))
"""Headers by whose values nothing is counted: the names of counters are written down in clear."""

SCOPES = ("everyone", "key", "user", "group", "route", "provider", "model", "header")
MEASURES = ("requests", "tokens", "cost", "concurrency")
WINDOWS = ("minute", "hour", "day", "week", "month", "total", "")

TOLD = ("requests", "tokens")
"""Of which limits per minute a caller is told in headers: both vendors have some for these."""

QUOTA = Algorithm.QUOTA

NANOS = 1_000_000_000
"""Nano-dollars of a dollar."""

BY_NAME = "name:"
"""What the subject of a key of the settings begins with, if its name could be the number of a virtual key."""

REMEMBERED = 4096
"""Callers and targets whose limits are remembered."""


class LimitRule(msgspec.Struct, frozen=True, kw_only=True):
    """One limit. `amount` is in requests, tokens, nano-dollars or calls; `subject` is whom it is for, with `*` for
    anything, or empty for each one by itself. `id` stays the same when it is changed."""

    id: str
    name: str
    scope: str
    measure: str
    window: str
    amount: int
    subject: str = ""
    header: bytes = b""
    soft_percent: int | None = None
    is_soft: bool = False
    zone: str = "UTC"

    @property
    def algorithm(self) -> Algorithm:
        """How it is counted."""
        if self.window == "minute":
            return Algorithm.RATE
        return Algorithm.CONCURRENCY if self.measure == "concurrency" else Algorithm.QUOTA

    @property
    def prefix(self) -> str:
        """What the names of its counters begin with. What it measures of whom is in it: if that is changed, it has
        other counters."""
        return f"{self.id}:{self.measure}:{self.header.decode() or self.scope}:"


class Period(NamedTuple):
    """A span of the calendar: its name, and its beginning and end in seconds since 1970 (0: none)."""

    label: str
    begins_at: float
    ends_at: float


_periods: dict[tuple[str, str], Period] = {}


def period(window: str, zone: str, now: float) -> Period:
    """Give the hour, day, week (from Monday), month or eternity of a time, by the clocks of a time zone."""
    known = _periods.get((window, zone))
    if known is not None and known.begins_at <= now and (now < known.ends_at or not known.ends_at):
        return known
    found = _periods[window, zone] = _period(window, ZoneInfo(zone), now)
    return found


def _period(window: str, zone: ZoneInfo, now: float) -> Period:
    if window == "total":
        return Period("total", 0.0, 0.0)
    local = datetime.fromtimestamp(now, zone)
    if window == "hour":
        # Of the clock that everybody shares: in the hour that is there twice, local time would have two of one name.
        begin = datetime.fromtimestamp(now - (now % 3600), UTC)
        return Period(f"{begin:%Y-%m-%dT%H}", begin.timestamp(), begin.timestamp() + 3600)
    day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    if window == "day":
        first, after, label = day, day + timedelta(days=1), f"{day:%Y-%m-%d}"
    elif window == "week":
        first = day - timedelta(days=day.weekday())
        after, label = first + timedelta(days=7), f"{first:%G-W%V}"
    elif window == "month":
        first = day.replace(day=1)
        after, label = (first + timedelta(days=32)).replace(day=1), f"{first:%Y-%m}"
    else:
        raise ValueError(f"{window!r} is not a window")
    return Period(label, first.timestamp(), after.timestamp())


class Span(NamedTuple):
    """Counters, and since and until when they are those that count, in seconds since 1970."""

    counters: tuple[Counter, ...]
    since: float = -inf
    until: float = inf


NO_SPAN = Span((), inf, -inf)
"""One that no time is in."""


class Due:
    """A rule that a call has to keep to, and whose counter it is."""

    __slots__ = ("_counted", "_name", "is_rate", "measure", "rule", "subject", "warns")

    def __init__(self, rule: LimitRule, subject: str) -> None:
        self.rule = rule
        self.subject = subject
        self.measure = rule.measure
        self.warns = rule.is_soft or rule.soft_percent is not None
        self.is_rate = rule.window == "minute"
        self._name = f"{rule.prefix}{subject}"
        self._counted = NO_SPAN
        if rule.algorithm is not QUOTA:
            # A rate has a label, too: a subject that ends like a day would be taken for a quota's of another one.
            name = f"{self._name}:{rule.window}" if rule.window else self._name
            self._counted = Span((Counter(name, rule.algorithm, rule.amount, is_soft=rule.is_soft),))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Due) and (self.rule, self.subject) == (other.rule, other.subject)

    def __hash__(self) -> int:
        return hash((self.rule.id, self.subject))

    def span(self, now: float) -> Span:
        """Give the counter that counts at a time in seconds since 1970, and as long as it does."""
        if not self._counted.since <= now < self._counted.until:
            rule = self.rule
            label, begins_at, ends_at = period(rule.window, rule.zone, now)
            counter = Counter(f"{self._name}:{label}", QUOTA, rule.amount, 0, ends_at, rule.is_soft)
            self._counted = Span((counter,), begins_at, ends_at or inf)
        return self._counted

    def counter(self, now: float) -> Counter:
        """Give the counter that counts at a time in seconds since 1970."""
        return self.span(now).counters[0]


class Dues:
    """All that a call has to keep to, and what can be told of it before there is a call: it is remembered, and the same
    for all calls that have to keep to the same."""

    __slots__ = ("_counted", "_pick", "dues", "has_costs", "has_rivals", "has_tokens", "rates", "warns")

    def __init__(self, dues: Iterable[Due]) -> None:
        self.dues = tuple(dues)
        measures = [due.measure for due in self.dues]
        self._pick = _picker([MEASURES.index(measure) for measure in measures])
        self.has_costs = "cost" in measures
        self.has_tokens = "tokens" in measures
        self.warns = any(due.warns for due in self.dues)
        self.rates = [
            (measure, place)
            for measure in TOLD
            for place, due in enumerate(self.dues)
            if due.is_rate and due.measure == measure
        ]
        """What those per minute measure that a caller is told of, and their places."""
        self.has_rivals = len({measure for measure, _ in self.rates}) < len(self.rates)
        """Whether two of those measure the same."""
        self._counted = NO_SPAN

    def counters(self, now: float) -> tuple[Counter, ...]:
        """Give the counters that count at a time in seconds since 1970: the same until a period ends."""
        counters, since, until = self._counted
        if since <= now < until:
            return counters
        spans = [due.span(now) for due in self.dues]
        counters = tuple(span.counters[0] for span in spans)
        since, until = max(span.since for span in spans), min(span.until for span in spans)
        self._counted = Span(counters, since, until)
        return counters

    def amounts(self, tokens: int, cost: int) -> Sequence[int]:
        """Write a call of so many tokens, and of such a cost in nano-dollars, as each of the rules measures it. It is
        one request, and one of the calls at once. What is beyond all measure is written as the most there is."""
        if tokens > MOST or cost > MOST:
            tokens, cost = min(tokens, MOST), min(cost, MOST)
        return self._pick((1, tokens, cost, 1))  # In the order of MEASURES.


def _picker(places: Sequence[int]) -> Callable[[Sequence[int]], Sequence[int]]:
    """Make what takes the values at some places. The one that C has makes no sequence of a single one."""
    return itemgetter(*places) if len(places) > 1 else lambda values: [values[place] for place in places]


def in_order(dues: Iterable[Due]) -> Dues:
    """Put dues in the one order: whoever takes the same counters takes them in the same order."""
    return Dues(sorted(dues, key=lambda due: (due.rule.id, due.subject)))


NOTHING_DUE = in_order(())


class LimitTable:
    """All limits."""

    def __init__(self, rules: Iterable[LimitRule]) -> None:
        self.rules = tuple(rules)
        self._by_subject: defaultdict[tuple[str, str], list[LimitRule]] = defaultdict(list)
        self._by_pattern: defaultdict[str, list[LimitRule]] = defaultdict(list)
        self.headers = tuple({rule.header for rule in self.rules if rule.scope == "header"})
        for rule in self.rules:
            if rule.subject and "*" not in rule.subject:
                self._by_subject[rule.scope, compared(rule)].append(rule)
            else:
                self._by_pattern[rule.scope].append(rule)
        self._targets: dict[tuple[str, str], Dues] = {}
        self._calls: dict[tuple[Any, ...], Dues] = {}
        self._dues: dict[tuple[str, str], Due] = {}
        self._has_target_rules = any(rule.scope in ("provider", "model") for rule in self.rules)

    def __bool__(self) -> bool:
        return bool(self.rules)

    def of_call(self, call: Call, caller: Caller, route: str) -> list[Due]:
        """List what a call has to keep to wherever it goes."""
        found = self.of_caller(caller)
        if route:
            self._add(found, "route", route)
        for header in self.headers:
            value = call.fields.get(header)
            if value:
                name = value.decode("utf-8", "replace")[:128]
                found += [due for due in self._of("header", name) if due.rule.header == header]
        return found

    def are_on_route(self, route: str) -> bool:
        """Whether a route has limits of its own."""
        return bool(self._of("route", route))

    def of_caller(self, caller: Caller) -> list[Due]:
        """List what all calls of a caller have to keep to."""
        found: list[Due] = []
        self._add(found, "everyone", "all")
        if caller.key_id is not None:
            self._add(found, "key", str(caller.key_id))
        elif caller.key_name and caller.user_id is None:  # A key of the settings.
            self._add(found, "key", subject_of(caller.key_name))
        if caller.user_id is not None:
            self._add(found, "user", str(caller.user_id))
        if caller.group_id is not None:
            self._add(found, "group", str(caller.group_id))
        return found

    def of_target(self, provider: str, model: str) -> Dues:
        """List what a call has to keep to that goes to a model of a provider."""
        if not self._has_target_rules:
            return NOTHING_DUE
        found = self._targets.get((provider, model))
        if found is None:
            found = self._targets[provider, model] = in_order(self._of_target(provider, model))
            if len(self._targets) > REMEMBERED:
                self._targets.clear()
        return found

    def of_first(self, call: Call, caller: Caller, route: str, provider: str, model: str) -> Dues:
        """List what a call has to keep to with the first target that it goes to: all of that. Remembered, because most
        calls come from the same few callers."""
        if self.headers:
            return in_order([*self.of_call(call, caller, route), *self.of_target(provider, model).dues])
        name = (caller.key_id, caller.key_name, caller.user_id, caller.group_id, route, provider, model)
        found = self._calls.get(name)
        if found is None:
            dues = [*self.of_call(call, caller, route), *self.of_target(provider, model).dues]
            found = self._calls[name] = in_order(dues)
            if len(self._calls) > REMEMBERED:
                self._calls.clear()
        return found

    def _of_target(self, provider: str, model: str) -> Sequence[Due]:
        found, model = self._of("provider", provider), model.lower()
        if model:
            found += [due for due in self._of("model", model) if "/" not in due.rule.subject or "/" in model]
            qualified = f"{provider.lower()}/{model}"
            found += [due for due in self._of("model", qualified) if "/" in due.rule.subject]
        unique = {due.rule.id: due for due in found}
        return tuple(unique.values())

    def _add(self, found: list[Due], scope: str, subject: str) -> None:
        if (scope, subject) in self._by_subject or scope in self._by_pattern:
            found += self._of(scope, subject)

    def _of(self, scope: str, subject: str) -> list[Due]:
        found = [self._due(rule, rule.subject) for rule in self._by_subject.get((scope, subject), ())]
        for rule in self._by_pattern.get(scope, ()):
            if not rule.subject:
                found.append(self._due(rule, subject))
            elif fnmatchcase(subject, compared(rule)):
                found.append(self._due(rule, rule.subject))  # Whatever fits the pattern is counted together.
        return found

    def _due(self, rule: LimitRule, subject: str) -> Due:
        """Give the same one to all, so that they have the same counters."""
        found = self._dues.get((rule.id, subject))
        if found is None:
            if len(self._dues) >= REMEMBERED:
                self._dues.clear()
            found = self._dues[rule.id, subject] = Due(rule, subject)
        return found


def subject_of(key_name: str) -> str:
    """Give the subject of a key of the settings, which is no virtual key's: those have their numbers."""
    return f"{BY_NAME}{key_name}" if key_name.isdecimal() or key_name.startswith(BY_NAME) else key_name


def name_in(subject: str) -> str | None:
    """Give the name of the key of the settings that a subject is; None if it is a virtual key."""
    return None if subject.isdecimal() else subject.removeprefix(BY_NAME)


def compared(rule: LimitRule) -> str:
    """Give the subject of a rule as it is compared. Some providers serve a model by any spelling of its name, and
    prices know it by any: so do limits."""
    return rule.subject.lower() if rule.scope == "model" else rule.subject


def read_limit(entry: Mapping[str, Any], *, id: str, zone: str) -> LimitRule:
    """Read a limit as `Limit.entry()` and `AI_GATEWAY["LIMITS"]` write it. Raises ValueError saying what is wrong."""
    unknown = set(entry) - _ENTRY
    if unknown:
        raise ValueError(f"unknown key {min(unknown)!r}")
    scope, measure = entry.get("scope", "everyone"), entry.get("measure", "requests")
    window = entry.get("window", "" if measure == "concurrency" else "minute")
    for value, choices, what in ((scope, SCOPES, "scope"), (measure, MEASURES, "measure"), (window, WINDOWS, "window")):
        if value not in choices:
            raise ValueError(f"{what} is {value!r}, and not one of: {', '.join(filter(None, choices))}")
    if (measure == "concurrency") != (window == ""):
        raise ValueError("only concurrency has no window, and it has none")
    if measure == "cost" and window == "minute":
        raise ValueError("money is counted by the hour or longer")
    header = str(entry.get("header", "")).lower()
    if bool(header) != (scope == "header"):
        raise ValueError("a header belongs to the scope header, and to no other")
    if header in SECRET_HEADERS:
        raise ValueError(f"the header {header!r} holds a secret, which a counter would be named by: use the scope key")
    zone = entry.get("time_zone") or zone
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(f"{zone!r} is not a time zone") from error
    return LimitRule(
        id=id,
        name=str(entry.get("name") or id),
        scope=scope,
        measure=measure,
        window=window,
        amount=_amount(entry.get("amount"), measure),
        subject=_subject(scope, entry.get("subject")),
        header=header.encode("ascii", "replace"),
        soft_percent=entry.get("soft_percent"),
        is_soft=bool(entry.get("is_soft", False)),
        zone=zone,
    )


def _subject(scope: str, value: Any) -> str:
    """Read whom a limit is for. A key of the settings is named by a text, a virtual key by its number."""
    if scope == "everyone":
        return "all"
    if value is None:
        return ""
    return subject_of(value) if scope == "key" and isinstance(value, str) else str(value)


_ENTRY = frozenset(
    ("name", "scope", "subject", "header", "measure", "window", "amount", "soft_percent", "is_soft", "time_zone")
)


def _amount(value: object, measure: str) -> int:
    try:
        amount = Decimal(str(value))
    except InvalidOperation:
        raise ValueError(f"amount is {value!r}, and not a number") from None
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"amount is {value!r}, and must be 0 or more")
    most = most_of(measure)
    if amount > most:
        raise ValueError(f"amount is {value!r}, and must be at most {most}")
    if measure == "cost":
        return int(amount * NANOS)
    if amount % 1:
        raise ValueError("only money has a fraction")
    return int(amount)


def most_of(measure: str) -> int:
    """Tell the most that a limit may allow, as people write it: in dollars, tokens, requests or calls."""
    return MOST // NANOS if measure == "cost" else MOST


def now() -> float:
    """Tell the time in seconds since 1970."""
    return time.time()
