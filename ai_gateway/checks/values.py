"""What the keys of `settings.AI_GATEWAY` may hold: predicates, from a number in range to a whole route."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import fields
from ipaddress import ip_network
from typing import Any
from zoneinfo import ZoneInfo

from ai_gateway.alerts.base import KINDS
from ai_gateway.breakers import BreakerPolicy
from ai_gateway.bulkheads import Queue
from ai_gateway.cache_policy import REPLAYS, SCOPES, SWITCH
from ai_gateway.capabilities import read_rule
from ai_gateway.guardrails.base import STAGES
from ai_gateway.guardrails.register import CHOICES, MODES
from ai_gateway.limits import POLICIES
from ai_gateway.providers.options import read_timeouts
from ai_gateway.retries import RetryPolicy
from ai_gateway.strategies import STRATEGIES


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
    "guardrails": lambda value: is_names(value),
    "cache": lambda value: isinstance(value, str) and value in SWITCH,
    "cache_seconds": lambda value: is_count(value),
    "cache_replay": lambda value: isinstance(value, str) and value in ("", *REPLAYS),
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


GUARDRAIL_VALUES: Mapping[str, Callable[[Any], bool]] = {
    "BACKEND": is_text,
    "OPTIONS": lambda value: is_mapping(value, lambda option: True),
    "STAGES": lambda value: isinstance(value, list | tuple) and bool(value) and all(each in STAGES for each in value),
    "MODE": lambda value: value in MODES,
    "ON_FAILURE": lambda value: value in CHOICES,
    "UPLOADS": lambda value: value in CHOICES,
    "TIMEOUT": is_positive,
    "WINDOW": lambda value: is_count(value) and value >= 2,
    "DELAY": is_positive,
    "EVERYWHERE": lambda value: isinstance(value, bool),
}
"""The keys of a guardrail, with what accepts their values."""


def is_guardrails(value: Any) -> bool:
    """Whether it is a dict of guardrails by name."""
    return is_mapping(
        value,
        lambda entry: isinstance(entry, Mapping) and "BACKEND" in entry and are_accepted(entry, GUARDRAIL_VALUES),
    )


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


CACHE_VALUES: Mapping[str, Callable[[Any], bool]] = {
    "alias": is_text,
    "ttl": is_count,
    "scope": lambda value: isinstance(value, str) and value in SCOPES,
    "keys": lambda value: is_names(value),
    "routes": lambda value: is_names(value),
    "max_bytes": is_count,
    "tools": lambda value: isinstance(value, bool),
    "only_deterministic": lambda value: isinstance(value, bool),
    "encrypt": lambda value: isinstance(value, bool),
    "wait": lambda value: is_number(value) and value >= 0,
    "timeout": is_positive,
    "memory": is_whole,
    "replay": lambda value: isinstance(value, str) and value in REPLAYS,
    "replay_seconds": lambda value: is_number(value) and value >= 0,
}
"""The keys of `RESPONSE_CACHE`, with what accepts their values."""


def is_cache(value: Any) -> bool:
    """Whether it is what `CachePolicy` takes."""
    return isinstance(value, Mapping) and are_accepted(value, CACHE_VALUES)


def is_names(value: Any) -> bool:
    """Whether it is a list or tuple of strings, which may be empty."""
    return isinstance(value, list | tuple) and all(map(is_text, value))


def is_recording(value: Any) -> bool:
    """Whether it is what `RecordingPolicy` takes."""
    return isinstance(value, Mapping) and are_accepted(value, RECORDING_VALUES)


def is_probes(value: Any) -> bool:
    """Whether it is what `ProbePolicy` takes."""
    known = {"providers": is_names, "interval": is_positive, "timeout": is_positive}
    return isinstance(value, Mapping) and are_accepted(value, known)


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


def is_path_pattern(value: Any) -> bool:
    """Whether it says which dotted paths may be meant, of one package at least."""
    return isinstance(value, str) and re.fullmatch(r"[A-Za-z_]\w*\.[\w.*]+", value) is not None


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


def is_alerts(value: Any) -> bool:
    """Whether it says who is told, and maybe of what and how often."""
    return (
        isinstance(value, Mapping)
        and set(value) <= {"email", "webhooks", "events", "every"}
        and is_list(value.get("email", []), lambda entry: is_text(entry) and "@" in entry)
        and is_list(value.get("webhooks", []), is_webhook)
        and is_list(value.get("events", []), lambda entry: entry in KINDS)
        and is_positive(value.get("every", 1))
    )


def is_webhook(value: Any) -> bool:
    """Whether it says where a webhook is, and maybe with which secret it is signed."""
    return (
        isinstance(value, Mapping)
        and set(value) <= {"url", "secret"}
        and is_text(value.get("url"))
        and value["url"].startswith(("https://", "http://"))
        and is_text(value.get("secret", "-"))
    )


def is_list(value: Any, accepts: Callable[[Any], bool]) -> bool:
    """Whether it is a list or tuple of acceptable values."""
    return isinstance(value, list | tuple) and all(accepts(each) for each in value)


def is_time_zone(value: Any) -> bool:
    """Whether it is the name of a time zone that this machine knows."""
    try:
        return is_text(value) and bool(ZoneInfo(value))
    except (ValueError, OSError, KeyError):
        return False


def is_timeouts(value: Any) -> bool:
    """Whether it is a mapping with known phases and positive seconds, or 0 where that means no limit."""
    try:
        read_timeouts(value)
    except (TypeError, ValueError):
        return False
    return is_mapping(value, is_number)
