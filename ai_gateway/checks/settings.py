"""Checks of each key of `settings.AI_GATEWAY` by itself: is it known, of the right type, in range?"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings as site
from django.core.checks import CheckMessage, Error, register

from ai_gateway import conf
from ai_gateway.checks.values import (
    BREAKER_NAMES,
    CACHE_VALUES,
    GUARDRAIL_VALUES,
    RECORDING_VALUES,
    REDIS_SCHEMES,
    STORE_KEYS,
    is_alerts,
    is_breakers,
    is_cache,
    is_capabilities,
    is_count,
    is_detailed_route,
    is_guardrails,
    is_limit_store,
    is_mapping,
    is_network,
    is_number,
    is_path_pattern,
    is_peers,
    is_positive,
    is_prefix,
    is_probes,
    is_queue,
    is_recording,
    is_reference_pattern,
    is_retries,
    is_route,
    is_text,
    is_time_zone,
    is_timeouts,
    is_whole,
)
from ai_gateway.limits import POLICIES
from ai_gateway.providers.options import PHASES

TAG = "ai_gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a key may hold. `example` is Python that may be pasted."""

    id: str
    expected: str
    example: str
    accepts: Callable[[Any], bool]
    is_secret: bool = False


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
    "CLIENT_SECRETS": _flag("ai_gateway.E160", "False"),
    "UNCOUNTED_WORK": _flag("ai_gateway.E161", "False"),
    "PREFIX": Rule(
        id="ai_gateway.E008",
        expected='"" or an ASCII path that starts with a slash and does not end with one',
        example='"/ai"',
        accepts=is_prefix,
    ),
    "DIRECT_DOOR": _flag("ai_gateway.E009", "True"),
    "MAX_BODY_BYTES": _whole("ai_gateway.E010", "bytes", "32 * 1024 * 1024"),
    "MAX_UPLOAD_BYTES": _whole("ai_gateway.E011", "bytes", "512 * 1024 * 1024"),
    "HEAD_TIMEOUT": _seconds("ai_gateway.E162", "30.0"),
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
        expected=f"a dict of seconds above 0 with keys out of {', '.join(PHASES)}; the last two may be 0",
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
    "STORED_BACKENDS": Rule(
        id="ai_gateway.E055",
        expected="a list of dotted paths, with * for anything behind the first dot",
        example='["mysite.providers.*"]',
        accepts=lambda value: isinstance(value, list | tuple) and all(map(is_path_pattern, value)),
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
    "ALERTS": Rule(
        id="ai_gateway.E137",
        expected='a dict with "email", "webhooks", "events" and "every", or some of them',
        example='{"email": ["ops@example.com"], "webhooks": [{"url": "https://...", "secret": "env:..."}]}',
        accepts=is_alerts,
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
    "GUARDRAILS": Rule(
        id="ai_gateway.E150",
        expected=f"a dict by name of dicts with a BACKEND, and other keys out of {', '.join(GUARDRAIL_VALUES)}",
        example='{"secrets": {"BACKEND": "redaction", "EVERYWHERE": True}}',
        accepts=is_guardrails,
        is_secret=True,
    ),
    "BODY_LOGGING": Rule(
        id="ai_gateway.E134",
        expected=f"None, or a dict with keys out of {', '.join(RECORDING_VALUES)}",
        example='{"keys": ["team-a"], "percent": 10, "retention_days": 14}',
        accepts=lambda value: value is None or is_recording(value),
    ),
    "RESPONSE_CACHE": Rule(
        id="ai_gateway.E145",
        expected=f"None, or a dict with keys out of {', '.join(CACHE_VALUES)}",
        example='{"alias": "default", "ttl": 3600, "scope": "key"}',
        accepts=lambda value: value is None or is_cache(value),
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
        expected="a dict with keys out of providers, interval and timeout",
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
