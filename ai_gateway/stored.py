"""What the database says of providers, routes, prices and limits, and how often it was changed.

Read in whole, in a handful of queries and never on the event loop. Rows that people may get wrong fail one by one: a
provider whose credentials do not open is named as broken, and what is encrypted never gets any further than here.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, connections, router

from ai_gateway.allowances import LimitRule, read_limit
from ai_gateway.calls import Target
from ai_gateway.conf import settings
from ai_gateway.configuration import (
    PLAIN,
    Configuration,
    NotHere,
    RoutedTarget,
    RouteRule,
    SourceUnavailable,
    arrange,
)
from ai_gateway.credentials import Secret, is_permitted, resolve
from ai_gateway.crypto import CryptoError, WrongContext
from ai_gateway.models import (
    ConfigurationVersion,
    Limit,
    Price,
    Provider,
    ProviderCredential,
    Route,
    RouteTarget,
)
from ai_gateway.pricing import PriceRow, read_price
from ai_gateway.providers import Credential

logger = logging.getLogger("ai_gateway")

SECRET = ProviderCredential._meta.get_field("secret")

MAIN_OPTION = "api_key"
"""The option of which a provider may have several; of any other the first credential counts."""

CHUNK = 2000
"""Rows that are held at a time while a table is read."""


class Version(NamedTuple):
    """How often the configuration, and keys or their owners, were changed."""

    configuration: int
    keys: int


class BrokenCredential(Exception):
    """A credential cannot be used. The message is for the operator."""


def has_database() -> bool:
    """Whether this site has a database at all."""
    return connections[router.db_for_read(Provider) or "default"].vendor != "unknown"


def read_version() -> Version:
    """Count the changes. Raises SourceUnavailable."""
    if not has_database():
        return Version(0, 0)
    try:
        row = ConfigurationVersion.objects.filter(pk=1).values_list("configuration", "keys").first()
    except (DatabaseError, ImproperlyConfigured) as error:
        raise SourceUnavailable(f"the database: {error}") from error
    return Version(*row) if row else Version(0, 0)


def release() -> None:
    """Give the connections of this thread back."""
    connections.close_all()


def from_database() -> Configuration:
    """Read the configuration. Raises SourceUnavailable if the database does not answer, or has no tables yet; NotHere
    on an event loop, which must not wait for it."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        raise NotHere("the database is not read on an event loop")
    if not has_database():
        return Configuration()
    try:
        return _read()
    except (DatabaseError, ImproperlyConfigured) as error:
        raise SourceUnavailable(f"the database: {error}") from error


def _read() -> Configuration:
    entries: dict[str, Mapping[str, Any]] = {}
    credentials: dict[str, tuple[Credential, ...]] = {}
    broken: dict[str, str] = {}
    hidden: list[str] = []
    for provider in Provider.objects.prefetch_related("credentials"):
        if not provider.is_enabled:
            hidden.append(provider.alias)
            continue
        try:
            provider.check_backend()
            keys, options = open_credentials(provider)
        except (ValueError, BrokenCredential) as error:
            broken[provider.alias] = str(error)
            continue
        entry = provider.entry()
        entries[provider.alias] = {**entry, "OPTIONS": {**entry["OPTIONS"], **options}}
        credentials[provider.alias] = keys
    routes, rules = _read_routes()
    return Configuration(
        providers=entries,
        credentials=credentials,
        broken=broken,
        hidden=hidden,
        routes=routes,
        rules=rules,
        prices=_read_prices(),
        limits=_read_limits(),
    )


def _read_prices() -> list[PriceRow]:
    """Read the prices. One that cannot be read is logged and left out."""
    rows = []
    for price in Price.objects.order_by("-pk").iterator(chunk_size=CHUNK):
        try:
            rows.append(
                PriceRow(
                    provider=price.provider,
                    model=price.model,
                    price=read_price(price.columns()),
                    valid_from=price.valid_from.timestamp(),
                    valid_until=price.valid_until.timestamp() if price.valid_until else None,
                    is_synced=price.source == Price.Source.SYNCED,
                )
            )
        except ValueError as error:
            logger.error("The price %s is left out: %s", price, error)
    return rows


def _read_limits() -> list[LimitRule]:
    """Read the limits. One that cannot be read is logged and left out."""
    rules = []
    for limit in Limit.objects.filter(is_enabled=True).order_by("pk").iterator(chunk_size=CHUNK):
        try:
            rules.append(read_limit(limit.entry(), id=str(limit.pk), zone=settings.TIME_ZONE))
        except ValueError as error:
            logger.error("The limit %r is left out: %s", limit.name, error)
    return rules


def open_credentials(provider: Provider) -> tuple[tuple[Credential, ...], dict[str, Secret]]:
    """Open a provider's credentials: those that it may be called with, in turn, and the secrets of other options.

    One that does not open is left out if there is another. Raises BrokenCredential if there were some and none opens.
    """
    keys: list[Credential] = []
    options: dict[str, Secret] = {}
    problems: list[str] = []
    for credential in provider.credentials.all():
        if credential.state != ProviderCredential.State.ACTIVE:
            continue
        credential.provider = provider
        try:
            secret = open_credential(credential)
        except BrokenCredential as error:
            problems.append(f"The credential {credential.name!r}: {error}")
            continue
        if credential.option == MAIN_OPTION:
            keys.append(Credential(credential.name, secret, credential.weight))
        else:
            options.setdefault(credential.option, secret)
    if problems and not keys:
        raise BrokenCredential(" ".join(problems))
    keys.sort(key=lambda key: -key.weight)
    return tuple(keys), options


def open_credential(credential: ProviderCredential) -> Secret:
    """Decrypt a credential, or resolve its reference. Raises BrokenCredential."""
    try:
        if not credential.reference:
            secret = SECRET.open(credential)
        elif not is_permitted(credential.reference, settings.STORED_REFERENCES):
            raise BrokenCredential("AI_GATEWAY['STORED_REFERENCES'] does not permit its reference.")
        else:
            secret = resolve(credential.reference)
    except WrongContext as error:
        raise BrokenCredential("It was stored for another host, or changed. Enter it again.") from error
    except (CryptoError, OSError, ValueError, TypeError, ImportError) as error:
        raise BrokenCredential(str(error)) from error
    if secret is None:
        raise BrokenCredential(f"{credential.reference or 'It'} is empty, or not set.")
    return secret


def _read_routes() -> tuple[dict[str, tuple[Target, ...]], dict[str, RouteRule]]:
    """Read the routes with four queries, however many there are."""
    targets = _read_targets()
    users = _members(Route.users.through.objects.values_list("route_id", _foreign_key(Route.users.through)))
    groups = _members(Route.groups.through.objects.values_list("route_id", "group_id"))
    routes: dict[str, tuple[Target, ...]] = {}
    rules: dict[str, RouteRule] = {}
    rows = Route.objects.order_by().values("pk", "name", "is_enabled", *FACTS)
    for row in rows.iterator(chunk_size=CHUNK):
        key, name, is_enabled = row.pop("pk"), row.pop("name"), row.pop("is_enabled")
        row["tags"], row["guardrails"] = tuple(row["tags"]), tuple(row["guardrails"])
        if not row["is_public"]:
            row["users"], row["groups"] = frozenset(users.get(key, ())), frozenset(groups.get(key, ()))
        serving, rule = arrange(targets.get(key, ()), **row)
        if rule.strategy != Route.Strategy.WEIGHTED:
            rule = rule._replace(weights=())  # The form says so; they may be left over from another strategy.
        routes[name] = serving if is_enabled else ()
        if rule != PLAIN:
            rules[name] = rule
    return routes, rules


FACTS = (
    "strategy",
    "sticky",
    "timeouts",
    "continues_streams",
    "asks_to_continue",
    "records_bodies",
    "guardrails",
    "caching",
    "cache_seconds",
    "cache_replay",
    "experiment",
    "tags",
    "is_public",
)
"""The columns of a route that are fields of its rule."""


def _read_targets() -> Mapping[int, list[RoutedTarget]]:
    """Read the targets by route, equal ones as one object."""
    targets: defaultdict[int, list[RoutedTarget]] = defaultdict(list)
    known: dict[Target, Target] = {}
    rows = (
        RouteTarget.objects.filter(is_enabled=True)
        .order_by("route_id", "position", "pk")
        .values_list("route_id", "provider", "model", "weight", "part", "percent", "conditions", "timeouts")
    )
    for route, provider, model, *details in rows.iterator(chunk_size=CHUNK):
        target = Target(provider, model)
        targets[route].append(RoutedTarget(known.setdefault(target, target), *details))
    return targets


def _members(pairs: Iterable[tuple[int, Any]]) -> Mapping[int, list[Any]]:
    found: defaultdict[int, list[Any]] = defaultdict(list)
    for route, member in pairs:
        found[route].append(member)
    return found


def _foreign_key(through: Any) -> str:
    """Name the column of the users: it is called after the site's own user model."""
    return next(str(field.attname) for field in through._meta.fields if field.is_relation and field.name != "route")
