"""What happened to each call: where it went, how it ended, how long it took, what it used and what that cost.

Times and sizes are log-normal, as they are in life: most are short, a few are very long. Coding agents work in
sessions, whose context grows from turn to turn and is read from the provider's cache. One provider has a bad afternoon,
which routes with fallbacks hide and others do not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, time, timedelta
from math import log
from random import Random
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from ai_gateway.consumption import Consumption
from ai_gateway.demo import cast
from ai_gateway.demo.cast import Key, Model, Use
from ai_gateway.demo.hours import SATURDAY, Hour
from ai_gateway.meter import Entry
from ai_gateway.pricing import read_price
from ai_gateway.protocols.conversation import TokenUsage

ROUTES = {route.name: route for route in cast.ROUTES}
DIALECTS = {provider.alias: provider.dialect for provider in cast.PROVIDERS}
PRICES = {name: None if model.price is None else read_price(model.price) for name, model in cast.MODELS.items()}
ENDPOINTS = {
    "openai_chat": "chat/completions",
    "anthropic_messages": "messages",
    "gemini": "models/{model}:generateContent",
}

SIZES = {Use.CHAT: (900, 260), Use.AGENT: (1400, 380), Use.EXTRACTION: (3800, 420), Use.EMBEDDING: (320, 0)}
"""The medians of tokens that are asked with, beside what was said before, and answered."""

SPREAD = 0.9
"""The sigma of the log-normal distribution of sizes."""

LONGEST_CONTEXT = 170_000
"""Tokens at which an agent begins a new session."""

PAUSE = 45 * 60.0
"""Seconds without a call after which an agent begins a new session."""

FAULTS = {cast.LAB: 0.03}
FAULT = 0.004
"""Which part of the attempts fails on an ordinary day, by provider and otherwise."""

OUTAGE_FAULT = 0.6
"""Which part of the attempts fails on the bad afternoon."""

REFUSED, DISCONNECTED = 0.005, 0.012
"""Which part of the calls is wrong by itself, and is left by its caller."""

USED_UP = 36 * 3600.0
"""Seconds for which the budget of the one key is used up."""


class Holder(NamedTuple):
    """A key of the cast, with the primary keys that it and its people have in the database."""

    key: Key
    key_id: Any
    user_id: Any
    group_id: Any


class Span(NamedTuple):
    """A span of time, in seconds since 1970."""

    begins_at: float
    ends_at: float

    def __contains__(self, moment: object) -> bool:
        return isinstance(moment, float) and self.begins_at <= moment < self.ends_at


class Session:
    """What an agent is at: a task, and how much was said of it so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.context = 9000
        self.last_at = 0.0


class Failed(NamedTuple):
    """How an attempt failed."""

    status: int
    code: str
    milliseconds: int


def outage(now: datetime, zone: ZoneInfo) -> Span:
    """Tell when the one provider has its bad afternoon: on a working day of the week before."""
    day = now.astimezone(zone).date() - timedelta(days=3)
    while day.weekday() >= SATURDAY:
        day -= timedelta(days=1)
    begin = datetime.combine(day, time(13, 20), zone)
    return Span(begin.timestamp(), (begin + timedelta(hours=3, minutes=40)).timestamp())


class Incident(NamedTuple):
    """A breaker that opened, and closed so many seconds later."""

    at: float
    provider: str
    model: str
    seconds: float


def incidents(bad: Span, random: Random) -> Iterator[Incident]:
    """Tell when the breakers of the one provider opened, on its bad afternoon."""
    for model in cast.MODELS.values():
        at = bad.begins_at + random.uniform(60, 300)
        while model.provider == cast.ANTHROPIC and at in bad:
            seconds = random.choice((30.0, 60.0, 120.0, 240.0))
            yield Incident(at, model.provider, model.name, seconds)
            at += seconds + random.expovariate(1 / 1500)


def metadata(key: Key) -> dict[str, Any]:
    """Write the metadata of a key, which its calls carry."""
    return {cast.MARK: True, **({"project": key.project} if key.project else {})}


def wording(key: Key, model: Model) -> tuple[str, str]:
    """Tell in which wire format, and at which endpoint, a key asks for a model."""
    if key.use is Use.EMBEDDING:
        return "openai", "embeddings"
    dialect = DIALECTS[model.provider]
    return dialect, ENDPOINTS[dialect].format(model=model.name)


class Calls:
    """Makes up calls, in the order of time. Everything is drawn from one source of random numbers."""

    def __init__(self, holders: Iterable[Holder], random: Random, bad: Span, ends_at: float) -> None:
        self._holders = tuple(holders)
        self._random = random
        self._bad = bad
        self._used_up_at = ends_at - USED_UP
        self._sessions: dict[Any, Session] = {}

    def of(self, hours: Iterable[Hour]) -> Iterator[Entry]:
        """Make up the calls of some hours."""
        for hour in hours:
            moments = sorted(self._random.uniform(hour.begins_at, hour.ends_at) for _ in range(hour.calls))
            callers = self._random.choices(self._holders, hour.weights, k=hour.calls)
            yield from map(self._call, callers, moments)

    def _call(self, holder: Holder, at: float) -> Entry:
        key = holder.key
        asked = self._choose(key.asks_for)
        route = ROUTES.get(asked)
        models = [cast.MODELS[name] for name in (route.targets if route is not None else (asked,))]
        dialect, endpoint = wording(key, models[0])
        entry = Entry(
            id=self._id(at),
            request_id=self._request_id(at),
            started_at=at,
            outcome="answered",
            status=200,
            key_id=holder.key_id,
            key_name=key.name,
            user_id=holder.user_id,
            group_id=holder.group_id,
            project=key.project,
            tags=list(key.tags) or None,
            metadata=metadata(key),
            dialect=dialect,
            endpoint=endpoint,
            model=asked,
            route=route.name if route is not None else "",
            is_stream=self._random.random() < key.is_stream,
            cost_nanos=0,
        )
        if key.is_used_up and at >= self._used_up_at:
            return self._refuse(entry, "limited", 429, "insufficient_quota")
        if self._random.random() < REFUSED:
            return self._refuse(entry, "refused", 403, "permission_denied")
        self._send(entry, key, models)
        return entry

    def _refuse(self, entry: Entry, outcome: str, status: int, code: str) -> Entry:
        entry.outcome, entry.status, entry.error_code = outcome, status, code
        entry.duration_ms = self._random.randint(1, 4)
        entry.bytes_out = self._random.randint(180, 260)
        return entry

    def _send(self, entry: Entry, key: Key, models: list[Model]) -> None:
        """Ask one model after the other, until one answers."""
        own_us = round(self._around(620, 0.35))
        waited = 0
        trail: list[dict[str, Any]] = []
        for model in models:
            entry.attempts += 1
            entry.provider, entry.served_model = model.provider, model.name
            entry.overhead_us = own_us + waited * 1000
            failed = self._fail(model, entry.started_at)
            if failed is None:
                self._answer(entry, key, model, waited)
                break
            trail.append(
                {
                    "provider": model.provider,
                    "model": model.name,
                    "status": failed.status,
                    "error": failed.code,
                    "ms": failed.milliseconds,
                    "at": waited,
                }
            )
            waited += failed.milliseconds
            self._give_up(entry, failed, waited)
        if trail:
            entry.trail = trail

    def _give_up(self, entry: Entry, failed: Failed, waited: int) -> None:
        """End a call as this attempt ended; if another one answers, that counts."""
        entry.outcome = "timed_out" if failed.code == "upstream_timeout" else "failed"
        entry.status, entry.error_code, entry.duration_ms = failed.status, failed.code, waited
        entry.bytes_out = self._random.randint(150, 400)

    def _fail(self, model: Model, at: float) -> Failed | None:
        """Tell how an attempt fails, if it does."""
        is_bad = model.provider == cast.ANTHROPIC and at in self._bad
        if self._random.random() >= (OUTAGE_FAULT if is_bad else FAULTS.get(model.provider, FAULT)):
            return None
        dice = self._random.random()
        if dice < 0.12:
            return Failed(504, "upstream_timeout", 30_000)
        if dice < 0.2:
            return Failed(502, "upstream_closed", round(self._around(900, 0.8)))
        if dice < 0.4 and not is_bad:
            return Failed(429, "rate_limit_exceeded", round(self._around(120, 0.3)))
        status, code = (529, "overloaded") if is_bad else (500, "server_error")
        return Failed(status, code, round(self._around(380, 0.6)))

    def _answer(self, entry: Entry, key: Key, model: Model, waited: int) -> None:
        tokens = self._tokens(entry, key, model)
        entry.outcome, entry.status, entry.error_code = "answered", 200, ""
        first = waited + round(self._around(model.first_token_ms, model.spread))
        spoken = (tokens.output + tokens.reasoning) / model.tokens_per_second * 1000 if model.tokens_per_second else 0
        entry.first_byte_ms = max(first - self._random.randint(0, 30), 1)
        entry.duration_ms = first + round(spoken * self._random.uniform(0.85, 1.25))
        if entry.is_stream:
            entry.first_token_ms = first
            if self._random.random() < DISCONNECTED:
                tokens = self._hang_up(entry, tokens)
        entry.bytes_in = tokens.total_input * 4
        entry.bytes_out = (tokens.output or 1500) * (170 if entry.is_stream else 5)
        entry.input_tokens, entry.output_tokens, entry.reasoning_tokens = tokens.input, tokens.output, tokens.reasoning
        entry.cache_read_tokens, entry.cache_write_tokens = tokens.cache_read, tokens.cache_write
        entry.is_estimated = tokens.is_estimated
        price = PRICES[f"{model.provider}/{model.name}"]
        entry.cost_nanos = None if price is None else price.cost(Consumption(tokens=tokens))

    def _hang_up(self, entry: Entry, tokens: TokenUsage) -> TokenUsage:
        """Have the caller leave in the middle of the answer; give what was used until then."""
        heard = self._random.uniform(0.05, 0.9)
        entry.outcome = "disconnected"
        entry.duration_ms = round(entry.duration_ms * max(heard, 0.3))
        entry.first_token_ms = min(entry.first_token_ms or 0, entry.duration_ms)
        return TokenUsage(
            input=tokens.input,
            cache_read=tokens.cache_read,
            cache_write=tokens.cache_write,
            output=round(tokens.output * heard),
            is_estimated=True,
        )

    def _tokens(self, entry: Entry, key: Key, model: Model) -> TokenUsage:
        asked, answered = (round(self._around(median, SPREAD)) if median else 0 for median in SIZES[key.use])
        reasoning = round(answered * self._random.uniform(0.5, 3.0)) if model.is_thinking else 0
        known = 0
        if key.use is Use.AGENT:
            session = self._session(entry)
            known, session.context = session.context, session.context + asked + answered
        elif key.use is Use.CHAT:
            entry.end_user = f"visitor-{int(self._random.paretovariate(0.6)) % 4000:04}" if key.project else ""
            known = self._random.choice((0, 0, 1800, 2600))
        if not model.is_cached:
            return TokenUsage(input=known + asked, output=answered, reasoning=reasoning)
        written = asked if known and model.price is not None and "cache_write" in model.price else 0
        return TokenUsage(
            input=max(asked - written, 3), cache_read=known, cache_write=written, output=answered, reasoning=reasoning
        )

    def _session(self, entry: Entry) -> Session:
        """Find the session that an agent is in, or begin one."""
        session = self._sessions.get(entry.key_id)
        if (
            session is None
            or entry.started_at - session.last_at > PAUSE
            or session.context > LONGEST_CONTEXT
            or self._random.random() < 0.01
        ):
            session = self._sessions[entry.key_id] = Session(self._uuid())
        session.last_at = entry.started_at
        entry.session = session.name
        if self._random.random() < 0.15:
            entry.agent = self._random.choice(("explore", "review", "test-runner"))
        return session

    def _choose(self, shares: Mapping[str, float]) -> str:
        return self._random.choices(tuple(shares), tuple(shares.values()))[0]

    def _around(self, median: float, spread: float) -> float:
        return self._random.lognormvariate(log(median), spread)

    def _uuid(self) -> str:
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def _id(self, at: float) -> str:
        """Make an id of a moment, as `ids.new_id` makes one of the present."""
        digits = f"{self._random.getrandbits(72):018x}"
        return f"{int(at * 1000):012x}7{digits[:3]}a{digits[3:]}"

    def _request_id(self, at: float) -> str:
        """Make a request id of a moment, as `ids.new_request_id` makes one of the present."""
        digits = self._id(at)
        return f"req_{digits[:12]}{digits[20:]}"
