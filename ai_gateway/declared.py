"""What the settings declare, as a source of the configuration; `stored.py` is that of the database.

What cannot be read is logged and left out, as it is there: one wrong entry does not take the others down.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from ai_gateway.allowances import LimitRule, read_limit
from ai_gateway.calls import Target
from ai_gateway.conf import settings
from ai_gateway.configuration import Configuration, RoutedTarget, RouteRule, arrange
from ai_gateway.pricing import PriceRow, read_price

logger = logging.getLogger("ai_gateway")


def from_settings() -> Configuration:
    """Read the configuration of `settings.AI_GATEWAY`."""
    routes, rules = read_routes(settings.ROUTES)
    return Configuration(
        providers=settings.PROVIDERS,
        routes=routes,
        rules=rules,
        keys=settings.KEYS,
        prices=read_prices(settings.PRICES),
        limits=read_limits(settings.LIMITS, settings.TIME_ZONE),
    )


def read_routes(
    entries: Mapping[str, Sequence[str] | Mapping[str, Any]],
) -> tuple[dict[str, Sequence[Target]], dict[str, RouteRule]]:
    """Read the routes of the settings: a list of targets, or a dict with them and how they are asked."""
    routes: dict[str, Sequence[Target]] = {}
    rules: dict[str, RouteRule] = {}
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            if all(isinstance(each, str) for each in entry):
                routes[name] = read_targets(entry)
            else:
                logger.error('The route %r is left out: details of targets stand in {"targets": [...]}', name)
            continue
        facts = {ROUTE_KEYS[key]: value for key, value in entry.items() if key in ROUTE_KEYS}
        if "guardrails" in entry:
            facts["guardrails"] = tuple(entry["guardrails"])
        routes[name], rules[name] = arrange(read_routed_targets(entry), **facts)
    return routes, rules


ROUTE_KEYS = {
    "strategy": "strategy",
    "sticky": "sticky",
    "timeouts": "timeouts",
    "continue_streams": "continues_streams",
    "ask_to_continue": "asks_to_continue",
    "experiment": "experiment",
    "cache": "caching",
    "cache_seconds": "cache_seconds",
    "cache_replay": "cache_replay",
}
"""The keys of a route in the settings, with the fields of its rule."""


def read_routed_targets(entry: Mapping[str, Any]) -> list[RoutedTarget]:
    """Read the targets of a route in the settings: "provider/model", or a dict with that as its `target`."""
    rows = []
    for number, each in enumerate(entry["targets"]):
        details = dict(each) if isinstance(each, Mapping) else {"target": each}
        target = read_target(details.pop("target"))
        weight = entry["weights"][number] if entry.get("weights") else 1
        rows.append(RoutedTarget(**{"target": target, "weight": weight, **details}))
    return rows


def read_targets(route: Sequence[str | Target]) -> tuple[Target, ...]:
    """Read a route's targets, each written as "provider/model"."""
    return tuple(read_target(target) if isinstance(target, str) else target for target in route)


def read_target(target: str) -> Target:
    """Read a target that is written as "provider/model"."""
    provider, _, model = target.partition("/")
    return Target(provider.lower(), model)


def read_prices(entries: Sequence[Mapping[str, Any]]) -> list[PriceRow]:
    """Read the prices of the settings. One that cannot be read is logged and left out."""
    rows = []
    for entry in entries:
        columns = {name: value for name, value in entry.items() if name not in ("provider", "model")}
        try:
            rows.append(PriceRow(provider=entry.get("provider", "*"), model=entry["model"], price=read_price(columns)))
        except (ValueError, KeyError) as error:
            logger.error("An entry of PRICES is left out: %s", error)
    return rows


def read_limits(entries: Sequence[Mapping[str, Any]], zone: str) -> list[LimitRule]:
    """Read the limits of the settings. One that cannot be read is logged and left out."""
    rules = []
    for number, entry in enumerate(entries):
        name = entry.get("name") or f"limit {number + 1}"
        try:
            rules.append(read_limit(entry, id=f"settings:{name}", zone=zone))
        except ValueError as error:
            logger.error("The limit %r is left out: %s", name, error)
    return rules
