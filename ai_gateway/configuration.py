"""What a source of configuration says, before it is built into a snapshot."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

from ai_gateway.allowances import LimitRule
from ai_gateway.calls import Target
from ai_gateway.conditions import Conditions, read_conditions
from ai_gateway.pricing import PriceRow
from ai_gateway.providers import Credential

logger = logging.getLogger("ai_gateway")


class SourceUnavailable(Exception):
    """A source cannot be read now. What it said last stays in force. The message is for the operator."""


class NotHere(SourceUnavailable):
    """A source cannot be read in this place, which is no fault: a database on the event loop."""


NOTHING: Mapping[Any, Any] = MappingProxyType({})


class Share(NamedTuple):
    """A target with its percentage of a route's calls, for an experiment or for copies."""

    target: Target
    percent: int


class RouteRule(NamedTuple):
    """What there is to a route besides its targets. Routes without any have no rule: there may be many."""

    strategy: str = "failover"
    """In which order the targets are asked: a name of `strategies.STRATEGIES`."""

    sticky: str = ""
    """What keeps calls together with one target: "session", "prefix", or nothing."""

    conditions: Mapping[Target, Conditions] = NOTHING
    """Which calls a target is there for, where it is not there for all."""

    timeouts: Mapping[str, float] = NOTHING
    """Seconds by phase, over those of the providers."""

    target_timeouts: Mapping[Target, Mapping[str, float]] = NOTHING
    """Seconds by phase, over those of the route."""

    continues_streams: bool = False
    """Whether a stream that dies in mid-text goes on with the next target."""

    asks_to_continue: bool = False
    """Whether models that do not go on with the beginning of an answer are asked to."""

    records_bodies: bool = False
    """Whether the bodies of its calls are kept, if the site keeps any."""

    guardrails: tuple[str, ...] = ()
    """Names of guardrails that its calls have to pass, besides those that all calls have to."""

    caching: str = ""
    """Whether its calls are answered from the cache, if the site has one: "on", "off", or as the settings say."""

    cache_seconds: int | None = None
    """For how long its answers are kept; None: as the settings say."""

    cache_replay: str = ""
    """How its kept streams are given again: "at-once", "paced", or as the settings say."""

    experiment: str = ""
    """What the experiment is called in reports."""

    variants: tuple[Share, ...] = ()
    """The targets of the experiment."""

    mirrors: tuple[Share, ...] = ()
    """The targets that get copies of calls."""

    weights: tuple[int, ...] = ()
    """The targets' shares of the calls, where the strategy goes by weight; empty if they are all equal."""

    tags: tuple[str, ...] = ()

    is_public: bool = True
    """Whether every caller may use it; else only the users and members of groups named here, and who may use all."""

    users: frozenset[Any] = frozenset()
    groups: frozenset[Any] = frozenset()


class RoutedTarget(NamedTuple):
    """One target of a route as it is written down: a row of the database, or an entry of the settings."""

    target: Target
    weight: int = 1
    part: str = "serve"
    """"serve", "experiment" or "mirror"."""
    percent: int = 0
    conditions: Mapping[str, Any] = NOTHING
    timeouts: Mapping[str, float] = NOTHING


def arrange(rows: Sequence[RoutedTarget], **facts: Any) -> tuple[tuple[Target, ...], RouteRule]:
    """Make of the targets of a route, and of what there is to it besides, the targets that serve and the rule. A target
    whose conditions cannot be read is logged and left out: nobody knows which calls it is there for."""
    conditions: dict[Target, Conditions] = {}
    for row in rows:
        if row.conditions:
            try:
                conditions[row.target] = read_conditions(row.conditions)
            except ValueError as error:
                logger.error("The target %s/%s of a route is left out: %s", *row.target, error)
    rows = [row for row in rows if not row.conditions or row.target in conditions]
    serving = [row for row in rows if row.part == "serve"]
    weights = tuple(row.weight for row in serving)
    rule = RouteRule(
        weights=weights if len(set(weights)) > 1 else (),
        conditions=conditions or NOTHING,
        target_timeouts={row.target: row.timeouts for row in rows if row.timeouts} or NOTHING,
        variants=tuple(Share(row.target, row.percent) for row in rows if row.part == "experiment" and row.percent),
        mirrors=tuple(Share(row.target, row.percent) for row in rows if row.part == "mirror" and row.percent),
        **facts,
    )
    return tuple(row.target for row in serving), rule


PLAIN = RouteRule()
"""The rule of a route that has none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """What one source says. The shapes are those of `settings.AI_GATEWAY`, unless something else is said."""

    providers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    credentials: Mapping[str, Sequence[Credential]] = field(default_factory=dict, repr=False)
    """Credentials by the alias of a provider, over what its entry says."""
    broken: Mapping[str, str] = field(default_factory=dict)
    """Providers that must not be called, with the reason."""
    hidden: Collection[str] = ()
    """Names of providers that do not exist here, whatever other sources and the catalogue say."""
    routes: Mapping[str, Sequence[str | Target]] = field(default_factory=dict)
    """A route without targets does not exist, whatever other sources say."""
    rules: Mapping[str, RouteRule] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    prices: Sequence[PriceRow] = ()
    limits: Sequence[LimitRule] = ()
