"""Which targets, in what order?

1. `x-provider` names the provider, in any case; the model stays as it is.
2. A model that is the name of a route: the route's targets.
3. A model written as `provider/model`, with a provider that the gateway knows.
4. The provider of the dialect: Anthropic's API leads to anthropic, Google's to gemini, Bedrock's to bedrock, all else
   to DEFAULT_PROVIDER.
"""

from __future__ import annotations

from collections.abc import Sequence

from ai_gateway import strategies
from ai_gateway.calls import Call, Target
from ai_gateway.errors import ProviderNotConfigured, UnknownProvider
from ai_gateway.registry import Snapshot

FAMILY_PROVIDERS = {"anthropic": "anthropic", "gemini": "gemini", "bedrock": "bedrock"}
"""Whom a caller means that speaks the API of one vendor and names nobody."""


def resolve(call: Call, snapshot: Snapshot) -> Sequence[Target]:
    """List the targets of a call, best first; at least one. Raises UnknownProvider or ProviderNotConfigured."""
    named = call.fields.get(b"x-provider")
    if named is not None:
        return [Target(known(named.decode("latin-1").strip().lower(), snapshot), call.model)]
    if call.model is not None:
        route = snapshot.routes.get(call.model)
        if route:
            return usable(route, call.model, call, snapshot)
        alias, slash, model = call.model.partition("/")
        if slash and model and (alias.lower() in snapshot.providers or alias.lower() in snapshot.broken):
            return [Target(known(alias.lower(), snapshot), model)]
    return [Target(known(default_provider(call, snapshot), snapshot), call.model)]


def route_of(call: Call, snapshot: Snapshot) -> str | None:
    """Name the route that a call takes, if it takes one."""
    return call.model if call.model in snapshot.routes and b"x-provider" not in call.fields else None


def usable(route: Sequence[Target], name: str, call: Call, snapshot: Snapshot) -> Sequence[Target]:
    """Put a route's targets in the order in which they are tried, without those whose provider is broken or gone.
    Raises ProviderNotConfigured if none is left."""
    rule = snapshot.rules.get(name)
    order = route if rule is None else strategies.ordered(name, route, rule, call, snapshot)
    left = [target for target in order if target.provider in snapshot.providers]
    if len(left) == len(order):
        return order
    if not left:
        raise ProviderNotConfigured("No provider of this route is set up correctly. The gateway's log says why.")
    return left


def default_provider(call: Call, snapshot: Snapshot) -> str:
    """Name the provider that a call goes to when it names none."""
    return FAMILY_PROVIDERS.get(call.dialect.family, snapshot.default_provider)


def known(alias: str, snapshot: Snapshot) -> str:
    """Give the alias back if there is such a provider. Raises UnknownProvider listing those that there are."""
    if alias in snapshot.providers:
        return alias
    if alias in snapshot.broken:
        raise ProviderNotConfigured(f"The provider {alias!r} is not set up correctly. The gateway's log says why.")
    names = ", ".join(sorted(snapshot.providers))
    shown = alias[:64].encode("ascii", "backslashreplace").decode()
    raise UnknownProvider(f"Unknown provider {shown!r}. Known providers: {names}.", param="x-provider")
