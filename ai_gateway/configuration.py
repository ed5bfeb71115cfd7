"""What a source of configuration says, before it is built into a snapshot."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ai_gateway.allowances import LimitRule
from ai_gateway.calls import Target
from ai_gateway.pricing import PriceRow
from ai_gateway.providers import Credential


class SourceUnavailable(Exception):
    """A source cannot be read now. What it said last stays in force. The message is for the operator."""


class NotHere(SourceUnavailable):
    """A source cannot be read in this place, which is no fault: a database on the event loop."""


class RouteRule(NamedTuple):
    """What there is to a route besides its targets. Routes without any have no rule: there may be many."""

    strategy: str = "failover"
    """In which order the targets are asked: a name of `strategies.STRATEGIES`."""

    sticky: str = ""
    """What keeps calls together with one target: "session", "prefix", or nothing."""

    weights: tuple[int, ...] = ()
    """The targets' shares of the calls, where the strategy goes by weight; empty if they are all equal."""

    tags: tuple[str, ...] = ()

    is_public: bool = True
    """Whether every caller may use it; else only the users and members of groups named here, and who may use all."""

    users: frozenset[Any] = frozenset()
    groups: frozenset[Any] = frozenset()


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
