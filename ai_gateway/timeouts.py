"""How long may a target take? The site's timeouts, and over them the provider's, the route's and the target's.

Each of them says only the phases in which it differs. They are merged when a snapshot is built, so that a call finds
what counts for it in one look.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace

from ai_gateway.calls import Phases, Target, Timeouts
from ai_gateway.configuration import RouteRule
from ai_gateway.providers import Provider
from ai_gateway.providers.options import read_timeouts

logger = logging.getLogger("ai_gateway")


class TimeoutTable:
    """The timeouts of a snapshot's providers, and of the targets of those routes that have some of their own."""

    def __init__(
        self,
        site: Timeouts,
        providers: Mapping[str, Provider],
        routes: Mapping[str, Iterable[Target]],
        rules: Mapping[str, RouteRule],
    ) -> None:
        self._site = site
        self._providers = {alias: self.of(provider) for alias, provider in providers.items()}
        own = {name: rule for name, rule in rules.items() if rule.timeouts or rule.target_timeouts}
        self._phases = {name: phases(rule.timeouts, f"the route {name!r}") for name, rule in own.items()}
        self._routes = {name: self._of_route(name, rule, routes.get(name, ())) for name, rule in own.items()}

    def of(self, provider: Provider) -> Timeouts:
        """Give a provider's timeouts. It may be one that is in no snapshot."""
        return merged(self._site, provider.timeouts)

    def of_target(self, route: str, target: Target) -> Timeouts:
        """Give the timeouts of a target, on a route or, with "", on none. It may be one that is not the route's: the
        caller's own choice."""
        found = self._routes.get(route)
        if found is None:
            return self._of_provider(target.provider)
        return found.get(target) or merged(self._of_provider(target.provider), self._phases[route])

    def _of_provider(self, alias: str) -> Timeouts:
        return self._providers.get(alias, self._site)

    def _of_route(self, name: str, rule: RouteRule, serving: Iterable[Target]) -> dict[Target, Timeouts]:
        of_targets = {
            target: phases(given, f"the target {target.provider}/{target.model} of the route {name!r}")
            for target, given in rule.target_timeouts.items()
        }
        shares = (share.target for share in (*rule.variants, *rule.mirrors))
        return {
            target: merged(self._of_provider(target.provider), (*self._phases[name], *of_targets.get(target, ())))
            for target in (*serving, *shares)
        }


def merged(timeouts: Timeouts, over: Phases) -> Timeouts:
    """Put some phases over timeouts. Of a phase that is there twice, the last counts."""
    return replace(timeouts, **dict(over)) if over else timeouts


def phases(given: Mapping[str, float], whose: str) -> Phases:
    """Read what a route or a target says. What cannot be read is logged and left out."""
    try:
        return read_timeouts(given)
    except (ValueError, TypeError) as error:
        logger.error("The timeouts of %s are left out: %s", whose, error)
        return ()
