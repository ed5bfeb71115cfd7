"""Checks of each key of `settings.AI_GATEWAY` by itself: is it known, of the right type, in range?"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_network
from typing import Any
from zoneinfo import ZoneInfo

from django.conf import settings as site
from django.core.checks import CheckMessage, Error, register

from ai_gateway import conf
from ai_gateway.breakers import BreakerPolicy
from ai_gateway.bulkheads import Queue
from ai_gateway.calls import UNLIMITED, Timeouts
from ai_gateway.capabilities import read_rule
from ai_gateway.limits import POLICIES
from ai_gateway.prober import ProbePolicy
from ai_gateway.retries import RetryPolicy
from ai_gateway.strategies import STRATEGIES

TAG = "ai_gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a key may hold. `example` is Python that may be pasted."""

    id: str
    expected: str
    example: str
    accepts: Callable[[Any], bool]
    is_secret: bool = False


def is_number(value: Any) -> bool:
    """Whether it is a finite number; a bool is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_positive(value: Any) -> bool:
    """Whether it is a number above 0."""
    return is_number(value) and value > 0


def is_count(value: Any) -> bool:
    """Whether it is a whole number of 1 or more."""
    return isinstance(value, int) and is_positive(value)


def is_whole(value: Any) -> bool:
    """Whether it is a whole number of 0 or more."""
    return is_count(value) or (value == 0 and isinstance(value, int) and not isinstance(value, bool))


def is_text(value: Any) -> bool:
    """Whether it is a string with something in it."""
    return isinstance(value, str) and bool(value.strip())


def is_mapping(value: Any, accepts: Callable[[Any], bool]) -> bool:
    """Whether it is a mapping from names to acceptable values."""
    return isinstance(value, Mapping) and all(is_text(key) and accepts(each) for key, each in value.items())


def is_route(value: Any) -> bool:
    """Whether it is a list or tuple of strings, one at least."""
    return isinstance(value, list | tuple) and bool(value) and all(is_text(target) for target in value)


ROUTE_VALUES: Mapping[str, Callable[[Any], bool]] = {
    "strategy": lambda value: isinstance(value, str) and value in STRATEGIES,
    "sticky": lambda value: value in ("", "session", "prefix"),
    "weights": lambda value: isinstance(value, list | tuple) and all(map(is_count, value)),
    "timeouts": lambda value: is_timeouts(value),
    "continue_streams": lambda value: isinstance(value, bool),
    "ask_to_continue": lambda value: isinstance(value, bool),
    "experiment": is_text,
}
"""The keys of a route besides its targets, with what accepts their values."""

TARGET_VALUES: Mapping[str, Callable[[Any], bool]] = {
    "target": is_text,
    "weight": is_count,
    "part": lambda value: value in ("serve", "experiment", "mirror"),
    "percent": lambda value: is_number(value) and 0 <= value <= 100,
    "conditions": lambda value: isinstance(value, Mapping),
    "timeouts": lambda value: is_timeouts(value),
}
"""The keys of a target that is written as a dict, with what accepts their values."""


def is_detailed_route(value: Any) -> bool:
    """Whether it is a dict with a list of targets, and how they are asked."""
    if not isinstance(value, Mapping):
        return False
    targets = value.get("targets")
    if not isinstance(targets, list | tuple) or not targets or not all(map(is_routed_target, targets)):
        return False
    others = {name: each for name, each in value.items() if name != "targets"}
    return are_accepted(others, ROUTE_VALUES) and len(value.get("weights") or targets) == len(targets)


def is_routed_target(value: Any) -> bool:
    """Whether it is a text, or a dict with one as its target."""
    return is_text(value) or (isinstance(value, Mapping) and "target" in value and are_accepted(value, TARGET_VALUES))


def are_accepted(values: Mapping[Any, Any], known: Mapping[str, Callable[[Any], bool]]) -> bool:
    """Whether all the keys are known, and their values accepted."""
    return all(name in known and known[name](value) for name, value in values.items())


def is_retries(value: Any) -> bool:
    """Whether it is what `RetryPolicy` takes."""
    known = {field.name: field.default for field in fields(RetryPolicy)}
    return (
        isinstance(value, Mapping)
        and set(value) <= set(known)
        and all(
            isinstance(each, bool) if isinstance(known[name], bool) else is_number(each) and each >= 0
            for name, each in value.items()
        )
        and is_count(value.get("attempts", 1))
        and is_count(value.get("rounds", 1))
    )


BREAKER_NAMES = [field.name for field in fields(BreakerPolicy)]


def is_breakers(value: Any) -> bool:
    """Whether it is what `BreakerPolicy` takes."""
    return (
        is_mapping(value, is_positive)
        and set(value) <= set(BREAKER_NAMES)
        and is_count(value.get("consecutive", 1))
        and is_count(value.get("volume", 1))
        and value.get("percent", 100) <= 100
    )


RECORDING_VALUES: Mapping[str, Callable[[Any], bool]] = {
    "keys": lambda value: is_names(value),
    "routes": lambda value: is_names(value),
    "percent": lambda value: is_number(value) and 0 <= value <= 100,
    "max_bytes": is_count,
    "headers": lambda value: isinstance(value, bool),
    "retention_days": lambda value: value is None or is_count(value),
    "redact": lambda value: isinstance(value, str),
}
"""The keys of `BODY_LOGGING`, with what accepts their values."""


def is_names(value: Any) -> bool:
    """Whether it is a list or tuple of strings, which may be empty."""
    return isinstance(value, list | tuple) and all(map(is_text, value))


def is_recording(value: Any) -> bool:
    """Whether it is what `RecordingPolicy` takes."""
    return isinstance(value, Mapping) and are_accepted(value, RECORDING_VALUES)


PROBE_NAMES = [field.name for field in fields(ProbePolicy)]


def is_probes(value: Any) -> bool:
    """Whether it is what `ProbePolicy` takes."""
    if not isinstance(value, Mapping) or not set(value) <= set(PROBE_NAMES):
        return False
    are_seconds = is_positive(value.get("interval", 1)) and is_positive(value.get("timeout", 1))
    return is_names(value.get("providers", ())) and are_seconds


def is_capabilities(value: Any) -> bool:
    """Whether it is a mapping of patterns to rows that can be read."""
    if not is_mapping(value, lambda row: isinstance(row, Mapping)):
        return False
    try:
        return all(read_rule(pattern, row) for pattern, row in value.items())
    except ValueError:
        return False


def is_queue(value: Any) -> bool:
    """Whether it is what `Queue` takes: a whole number of calls, and seconds."""
    if not isinstance(value, Mapping) or not set(value) <= set(Queue._fields):
        return False
    return is_whole(value.get("size", 0)) and is_positive(value.get("seconds", 1))


def is_reference_pattern(value: Any) -> bool:
    """Whether it says which variables or files may be meant."""
    return isinstance(value, str) and value.startswith(("env:", "file:/"))


def is_network(value: str) -> bool:
    """Whether it is an address, or a network in the notation with a slash."""
    try:
        return bool(ip_network(value, strict=False))
    except ValueError:
        return False


def is_prefix(value: Any) -> bool:
    """Whether it is "" or a path with a slash in front and none behind."""
    if not isinstance(value, str) or value.endswith("/") or "//" in value:
        return False
    return value == "" or (value.startswith("/") and value.isascii() and not set(value) & set("?#% \\"))


STORE_KEYS = ("BACKEND", "OPTIONS", "ON_FAILURE", "TIMEOUT")


def is_limit_store(value: Any) -> bool:
    """Whether it says which store it is, how it is made, and what happens while it does not answer."""
    return (
        isinstance(value, Mapping)
        and set(value) <= set(STORE_KEYS)
        and is_text(value.get("BACKEND", "memory"))
        and is_mapping(value.get("OPTIONS", {}), lambda option: True)
        and value.get("ON_FAILURE", "closed") in POLICIES
        and is_positive(value.get("TIMEOUT", 1))
    )


def is_peers(value: Any) -> bool:
    """Whether it says which Redis it is, and how that is reached; or nothing."""
    return (
        isinstance(value, Mapping)
        and set(value) <= {"URL", "OPTIONS"}
        and (not value or str(value.get("URL")).startswith(REDIS_SCHEMES))
        and is_mapping(value.get("OPTIONS", {}), lambda option: True)
    )


REDIS_SCHEMES = ("redis://", "rediss://", "unix://")


def is_time_zone(value: Any) -> bool:
    """Whether it is the name of a time zone that this machine knows."""
    try:
        return is_text(value) and bool(ZoneInfo(value))
    except (ValueError, OSError, KeyError):
        return False


TIMEOUT_NAMES = [field.name for field in fields(Timeouts)]


def is_timeouts(value: Any) -> bool:
    """Whether it is a mapping with known phases and positive seconds, or 0 where that means no limit."""
    return (
        is_mapping(value, is_number)
        and set(value) <= set(TIMEOUT_NAMES)
        and all(seconds > 0 or (seconds == 0 and phase in UNLIMITED) for phase, seconds in value.items())
    )


def _flag(id: str, example: str) -> Rule:
    return Rule(id=id, expected="True or False", example=example, accepts=lambda value: isinstance(value, bool))


def _seconds(id: str, example: str) -> Rule:
    return Rule(id=id, expected="a number of seconds above 0", example=example, accepts=is_positive)


def _seconds_or_zero(id: str, example: str) -> Rule:
    return Rule(
        id=id,
        expected="a number of seconds, 0 or more",
        example=example,
        accepts=lambda value: is_number(value) and value >= 0,
    )


def _whole(id: str, unit: str, example: str) -> Rule:
    return Rule(id=id, expected=f"a whole number of {unit} above 0", example=example, accepts=is_count)


RULES: dict[str, Rule] = {
    "PROVIDERS": Rule(
        id="ai_gateway.E003",
        expected="a dict of dicts by alias",
        example='{"openai": {"OPTIONS": {"api_key": "env:OPENAI_API_KEY"}}}',
        accepts=lambda value: is_mapping(value, lambda entry: isinstance(entry, Mapping)),
        is_secret=True,
    ),
    "ROUTES": Rule(
        id="ai_gateway.E004",
        expected="a dict by model name of non-empty lists of strings, or of dicts with targets and how they are asked",
        example='{"fast": ["openai/gpt-5-mini", "groq/llama-4"]}',
        accepts=lambda value: is_mapping(value, lambda entry: is_route(entry) or is_detailed_route(entry)),
    ),
    "KEYS": Rule(
        id="ai_gateway.E005",
        expected="a dict of non-empty strings by name",
        example='{"team-a": "env:TEAM_A_KEY"}',
        accepts=lambda value: is_mapping(value, is_text),
        is_secret=True,
    ),
    "DEFAULT_PROVIDER": Rule(
        id="ai_gateway.E006", expected="the alias of a provider", example='"openai"', accepts=is_text
    ),
    "PASSTHROUGH": _flag("ai_gateway.E007", "True"),
    "PREFIX": Rule(
        id="ai_gateway.E008",
        expected='"" or an ASCII path that starts with a slash and does not end with one',
        example='"/ai"',
        accepts=is_prefix,
    ),
    "DIRECT_DOOR": _flag("ai_gateway.E009", "True"),
    "MAX_BODY_BYTES": _whole("ai_gateway.E010", "bytes", "32 * 1024 * 1024"),
    "MAX_UPLOAD_BYTES": _whole("ai_gateway.E011", "bytes", "512 * 1024 * 1024"),
    "BODY_TIMEOUT": _seconds("ai_gateway.E012", "30.0"),
    "SEND_TIMEOUT": _seconds("ai_gateway.E013", "60.0"),
    "MAX_CALLS": Rule(
        id="ai_gateway.E110",
        expected="a whole number of calls, 0 for as many as come",
        example="1000",
        accepts=is_whole,
    ),
    "QUEUE": Rule(
        id="ai_gateway.E111",
        expected='a dict with "size", a whole number of calls, and "seconds" above 0, or one of them',
        example='{"size": 100, "seconds": 2}',
        accepts=is_queue,
    ),
    "TIMEOUTS": Rule(
        id="ai_gateway.E014",
        expected=f"a dict of seconds above 0 with keys out of {', '.join(TIMEOUT_NAMES)}; the last two may be 0",
        example='{"connect": 5, "first_byte": 600}',
        accepts=is_timeouts,
    ),
    "KEEP_ALIVE_INTERVAL": _seconds_or_zero("ai_gateway.E015", "15.0"),
    "TRANSPORT": Rule(
        id="ai_gateway.E016",
        expected='a dict with a string "BACKEND" and a dict "OPTIONS", or one of them',
        example='{"BACKEND": "ai_gateway.transports.httpx.HttpxTransport", "OPTIONS": {"http2": True}}',
        accepts=lambda value: (
            isinstance(value, Mapping)
            and set(value) <= {"BACKEND", "OPTIONS"}
            and is_text(value.get("BACKEND", "x"))
            and is_mapping(value.get("OPTIONS", {}), lambda option: True)
        ),
        is_secret=True,
    ),
    "ALLOW_PRIVATE_UPSTREAMS": _flag("ai_gateway.E017", "False"),
    "DRAIN_TIMEOUT": _seconds_or_zero("ai_gateway.E018", "20.0"),
    "DRAIN_DELAY": _seconds_or_zero("ai_gateway.E059", "5.0"),
    "METRICS": Rule(
        id="ai_gateway.E131",
        expected="True, False, or a list of networks that may read metrics without a token",
        example='["10.0.0.0/8", "127.0.0.1"]',
        accepts=lambda value: isinstance(value, bool) or (is_route(value) and all(map(is_network, value))),
    ),
    "METRICS_TOKEN": Rule(
        id="ai_gateway.E019",
        expected="a non-empty string, or None",
        example='"env:METRICS_TOKEN"',
        accepts=lambda value: value is None or is_text(value),
        is_secret=True,
    ),
    "DJANGO_THREADS": _whole("ai_gateway.E020", "threads", "8"),
    "ENCRYPTION_KEYS": Rule(
        id="ai_gateway.E021",
        expected="a list of strings, one at least",
        example='["env:AI_GATEWAY_ENCRYPTION_KEYS"]',
        accepts=is_route,
        is_secret=True,
    ),
    "STORED_REFERENCES": Rule(
        id="ai_gateway.E022",
        expected='a list of strings that start with "env:" or "file:/"',
        example='["env:*_API_KEY", "file:/run/secrets/*"]',
        accepts=lambda value: isinstance(value, list | tuple) and all(map(is_reference_pattern, value)),
    ),
    "LIMITS": Rule(
        id="ai_gateway.E090",
        expected="a list of dicts",
        example='[{"name": "each key", "scope": "key", "measure": "requests", "window": "minute", "amount": 60}]',
        accepts=lambda value: isinstance(value, list | tuple) and all(isinstance(each, Mapping) for each in value),
    ),
    "LIMIT_STORE": Rule(
        id="ai_gateway.E091",
        expected=f'a dict with keys out of {", ".join(STORE_KEYS)}, "ON_FAILURE" one of {", ".join(POLICIES)}',
        example='{"BACKEND": "redis", "OPTIONS": {"url": "redis://localhost:6379/0"}, "ON_FAILURE": "closed"}',
        accepts=is_limit_store,
        is_secret=True,
    ),
    "PEERS": Rule(
        id="ai_gateway.E121",
        expected=f'a dict with a "URL" that begins with {", ".join(REDIS_SCHEMES)}, and maybe "OPTIONS"; or {{}}',
        example='{"URL": "redis://localhost:6379/0"}',
        accepts=is_peers,
        is_secret=True,
    ),
    "RESERVED_OUTPUT": _whole("ai_gateway.E092", "tokens", "4096"),
    "RESERVATION_TTL": _seconds("ai_gateway.E093", "300.0"),
    "TIME_ZONE": Rule(
        id="ai_gateway.E094",
        expected="the name of a time zone",
        example='"Europe/Vienna"',
        accepts=lambda value: value == "" or is_time_zone(value),
    ),
    "USAGE": _flag("ai_gateway.E095", "True"),
    "USAGE_DURABILITY": Rule(
        id="ai_gateway.E096",
        expected='"batched" or "committed"',
        example='"batched"',
        accepts=lambda value: value in ("batched", "committed"),
    ),
    "USAGE_INTERVAL": _seconds("ai_gateway.E097", "0.5"),
    "USAGE_QUEUE": _whole("ai_gateway.E098", "calls", "10_000"),
    "USAGE_JOURNAL": Rule(
        id="ai_gateway.E099",
        expected="a string",
        example='"/var/lib/gateway/usage_journal"',
        accepts=lambda value: isinstance(value, str),
    ),
    "USAGE_STREAM_OPTIONS": _flag("ai_gateway.E100", "True"),
    "BODY_LOGGING": Rule(
        id="ai_gateway.E134",
        expected=f"None, or a dict with keys out of {', '.join(RECORDING_VALUES)}",
        example='{"keys": ["team-a"], "percent": 10, "retention_days": 14}',
        accepts=lambda value: value is None or is_recording(value),
    ),
    "RETRIES": Rule(
        id="ai_gateway.E029",
        expected="a dict with keys out of attempts, rounds, ambiguous, max_wait, percent and least",
        example='{"rounds": 2, "max_wait": 10}',
        accepts=is_retries,
    ),
    "BREAKERS": Rule(
        id="ai_gateway.E120",
        expected=f"a dict with keys out of {', '.join(BREAKER_NAMES)}",
        example='{"consecutive": 5, "open": 30}',
        accepts=is_breakers,
    ),
    "PROBES": Rule(
        id="ai_gateway.E125",
        expected=f"a dict with keys out of {', '.join(PROBE_NAMES)}",
        example='{"providers": ["openai"], "interval": 30}',
        accepts=is_probes,
    ),
    "POLL": _seconds("ai_gateway.E023", "2.0"),
    "CAPABILITIES": Rule(
        id="ai_gateway.E025",
        expected='a dict of dicts by "provider/model", with columns of docs/capabilities.md',
        example='{"our-gpu/*": {"images": False, "max_output_tokens": 8192}}',
        accepts=is_capabilities,
    ),
    "PRICES": Rule(
        id="ai_gateway.E026",
        expected="a list of dicts",
        example='[{"provider": "our-gpu", "model": "*", "input": 0, "output": 0}]',
        accepts=lambda value: isinstance(value, list | tuple) and all(isinstance(each, Mapping) for each in value),
    ),
    "REQUIRE_PRICE": Rule(
        id="ai_gateway.E027",
        expected='"always", "budgeted" or "never"',
        example='"budgeted"',
        accepts=lambda value: value in ("always", "budgeted", "never"),
    ),
}
"""What each key may hold: one for every key that `conf.Settings` has."""


def is_sound(key: str) -> bool:
    """Whether other checks may read this key and rely on its type; the default counts if it is not given."""
    given = getattr(site, "AI_GATEWAY", {})
    return isinstance(given, Mapping) and (key not in given or RULES[key].accepts(given[key]))


def suggestion(name: str, known: Iterable[str]) -> str:
    """Write "Did you mean X?" if something known is near, else list what is known."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1) or difflib.get_close_matches(name.upper(), names, n=1)
    return f'Did you mean "{near[0]}"?' if near else f"Known are: {', '.join(names)}."


@register(TAG)
def check_settings(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check every key that is given."""
    value = getattr(site, "AI_GATEWAY", {})
    if not isinstance(value, Mapping):
        message = f"AI_GATEWAY must be a dict, not {type(value).__name__}."
        return [Error(message, hint='Write AI_GATEWAY = {"PROVIDERS": {...}} in the settings.', id="ai_gateway.E001")]
    unknown = [name for name in value if name not in conf.KEYS]
    wrong = [key for key in RULES if not is_sound(key)]
    return [*map(_unknown_key, map(str, unknown)), *(_wrong_value(key, value[key]) for key in wrong)]


def _unknown_key(name: str) -> CheckMessage:
    return Error(
        f"AI_GATEWAY has no key {name!r}.",
        hint=suggestion(name, conf.KEYS) + " Rename or remove it.",
        id="ai_gateway.E002",
    )


def _wrong_value(key: str, value: Any) -> CheckMessage:
    rule = RULES[key]
    is_shown = not rule.is_secret and isinstance(value, str | int | float | None)
    found = repr(value) if is_shown else f"what it is now (a {type(value).__name__})"
    return Error(
        f'AI_GATEWAY["{key}"] must be {rule.expected}, not {found}.',
        hint=f'Write for example: "{key}": {rule.example}',
        id=rule.id,
    )
