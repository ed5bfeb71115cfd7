"""The configuration of the database as a document, to be kept in a repository and moved from site to site.

    {"version": 1, "providers": {alias: {...}}, "routes": {name: {...}}, "limits": {name: {...}}, "prices": [{...}]}

Names stand for everything: of providers, users, groups, and of keys their public ids. Of prices, those that people
entered are meant: the others are synchronised. Amounts of money are texts, which are exact. A secret that is encrypted
in the database stays there: the document says that there is one, by `"stored": true`, and a reference is written as it
is. Reading a document twice changes nothing the second time; what it does not mention stays, unless it is pruned. Even
then a part that it has no member for, which is not the same as an empty one, stays as it is.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import models

from ai_gateway.models import Limit, Price, Provider, ProviderCredential, Route, RouteTarget, VirtualKey
from ai_gateway.models.base import as_stored, as_told
from ai_gateway.pricing import BUCKETS
from ai_gateway.progress import Watch, unwatched
from ai_gateway.stored import FACTS

VERSION = 1

PROVIDER_FIELDS = (
    "label",
    "backend",
    "base_url",
    "allow_private",
    "dialects",
    "timeouts",
    "max_concurrency",
    "options",
    "is_enabled",
)
CREDENTIAL_FIELDS = ("option", "reference", "weight", "state")
ROUTE_FIELDS = ("description", *FACTS, "is_enabled")
TARGET_FIELDS = ("provider", "model", "weight", "part", "percent", "conditions", "timeouts", "is_enabled")
LIMIT_FIELDS = (
    "scope",
    "header",
    "subject",
    "measure",
    "window",
    "amount",
    "soft_percent",
    "is_soft",
    "time_zone",
    "is_enabled",
)
PRICE_NAME = ("provider", "model", "valid_from")
"""What tells one price from another."""

PRICE_FIELDS = ("valid_until", *BUCKETS, "request", "units", "tiers", "service_tiers", "note")

Document = dict[str, Any]


class InvalidDocument(Exception):
    """The document cannot be read into the database. The message says where it is wrong."""


def export(watch: Watch = unwatched) -> Document:
    """Write the configuration as a document."""
    providers = Provider.objects.order_by("alias").prefetch_related("credentials")
    routes = Route.objects.order_by("name").prefetch_related("targets", "users", "groups")
    limits = Limit.objects.order_by("name").select_related("key", "user", "group")
    prices = Price.objects.filter(source=Price.Source.MANUAL).order_by(*PRICE_NAME)
    return {
        "version": VERSION,
        "providers": {
            provider.alias: _write_provider(provider) for provider in watch(list(providers), "providers written")
        },
        "routes": {route.name: _write_route(route) for route in watch(list(routes), "routes written")},
        "limits": {limit.name: _write_limit(limit) for limit in watch(list(limits), "limits written")},
        "prices": [_write_price(price) for price in watch(list(prices), "prices written")],
    }


def _write_provider(provider: Provider) -> Document:
    credentials = sorted(provider.credentials.all(), key=lambda credential: credential.name)
    document = _differing(provider, PROVIDER_FIELDS, always=("backend",))
    if credentials:
        document["credentials"] = {each.name: _write_credential(each) for each in credentials}
    return document


def _write_credential(credential: ProviderCredential) -> Document:
    document = _differing(credential, CREDENTIAL_FIELDS)
    return document if credential.reference else {**document, "stored": True}


def _write_route(route: Route) -> Document:
    document = _differing(route, ROUTE_FIELDS)
    users = sorted(user.get_username() for user in route.users.all())
    groups = sorted(group.name for group in route.groups.all())
    targets = [_differing(target, TARGET_FIELDS, always=("provider", "model")) for target in route.targets.all()]
    return {
        **document,
        **({"users": users} if users else {}),
        **({"groups": groups} if groups else {}),
        "targets": targets,
    }


def _write_limit(limit: Limit) -> Document:
    document = _plain(_differing(limit, LIMIT_FIELDS, always=("scope", "measure", "amount")))
    if limit.key is not None:
        document["key"] = limit.key.public_id
    if limit.user is not None:
        document["user"] = limit.user.get_username()
    if limit.group is not None:
        document["group"] = limit.group.name
    return document


def _write_price(price: Price) -> Document:
    return _plain(_differing(price, (*PRICE_NAME, *PRICE_FIELDS), always=PRICE_NAME))


def _plain(document: Document) -> Document:
    """Write numbers of money and times as texts."""
    written = dict(document)
    for name, value in document.items():
        if isinstance(value, Decimal):
            written[name] = f"{value.normalize():f}"
        elif isinstance(value, datetime):
            written[name] = as_told(value).isoformat()
    return written


def _differing(instance: models.Model, names: tuple[str, ...], always: tuple[str, ...] = ()) -> Document:
    """Write the fields that have other values than their defaults."""
    found: Document = {}
    for name in names:
        value = getattr(instance, name)
        if name in always or value != _default(type(instance), name):
            found[name] = value
    return found


def _default(model: type[models.Model], name: str) -> Any:
    field: Any = model._meta.get_field(name)
    return field.get_default()


def read(document: Mapping[str, Any], *, prune: bool = False, watch: Watch = unwatched) -> list[str]:
    """Read a document into the database, in the transaction that the caller has open, and tell what has to be done by
    hand. `prune` deletes what is not in the parts that the document has. Raises InvalidDocument."""
    if document.get("version") != VERSION:
        raise InvalidDocument(f'The document must say "version": {VERSION}.')
    _only(document, {"version", "providers", "routes", "limits", "prices"}, "document")
    providers, routes, limits = _providers(document), _entries(document, "routes"), _entries(document, "limits")
    notes: list[str] = []
    for alias, entry in watch(providers.items(), "providers read"):
        notes += _read_provider(alias, entry, prune=prune)
    for name, entry in watch(routes.items(), "routes read"):
        _read_route(name, entry)
    for name, entry in watch(limits.items(), "limits read"):
        _read_limit(name, entry)
    prices = [_read_price(entry).pk for entry in watch(_prices(document), "prices read")]
    if prune:
        stale = {
            "providers": Provider.objects.exclude(alias__in=providers),
            "routes": Route.objects.exclude(name__in=routes),
            "limits": Limit.objects.exclude(name__in=limits),
            "prices": Price.objects.filter(source=Price.Source.MANUAL).exclude(pk__in=prices),
        }
        _prune(*(rows for part, rows in stale.items() if part in document))
    return notes


def _entries(document: Mapping[str, Any], part: str) -> Mapping[str, Any]:
    """Give what a part of the document says of each name."""
    entries = document.get(part, {})
    if not isinstance(entries, Mapping) or not all(isinstance(name, str) for name in entries):
        raise InvalidDocument(f'"{part}" must be an object with a member for each name.')
    return entries


def _providers(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the entries of providers by alias, which is written small in the database."""
    providers: dict[str, Any] = {}
    for alias, entry in _entries(document, "providers").items():
        if alias.lower() in providers:
            raise InvalidDocument(f"The provider {alias!r} is in the document twice: capitals make no difference.")
        providers[alias.lower()] = entry
    return providers


def _prices(document: Mapping[str, Any]) -> list[Any]:
    prices = document.get("prices", [])
    if not isinstance(prices, list):
        raise InvalidDocument('"prices" must be an array of objects.')
    return prices


def _prune(*stale: models.QuerySet[Any]) -> None:
    """Delete rows one by one: each deletion is noticed by the signal that it sends."""
    for rows in stale:
        for row in rows:
            row.delete()


def _read_provider(alias: str, entry: Mapping[str, Any], *, prune: bool) -> list[str]:
    where = f"provider {alias!r}"
    _only(entry, {*PROVIDER_FIELDS, "credentials"}, where)
    provider = Provider.objects.filter(alias=alias).first() or Provider(alias=alias)
    _assign(provider, PROVIDER_FIELDS, {"backend": alias, **entry}, where)
    notes: list[str] = []
    credentials = entry.get("credentials", {})
    for name, each in credentials.items():
        notes += _read_credential(provider, name, each)
    if prune:
        for stale in provider.credentials.exclude(name__in=credentials):
            stale.delete()
    return notes


def _read_credential(provider: Provider, name: str, entry: Mapping[str, Any]) -> list[str]:
    where = f"credential {name!r} of the provider {provider.alias!r}"
    _only(entry, {*CREDENTIAL_FIELDS, "stored"}, where)
    found = provider.credentials.filter(name=name).first()
    if entry.get("stored") and (found is None or not found.secret):
        return [f"The {where} has to be entered by hand: its secret is not in the document."]
    _assign(found or ProviderCredential(provider=provider, name=name), CREDENTIAL_FIELDS, entry, where)
    return []


def _read_route(name: str, entry: Mapping[str, Any]) -> None:
    where = f"route {name!r}"
    _only(entry, {*ROUTE_FIELDS, "users", "groups", "targets"}, where)
    route = Route.objects.filter(name=name).first() or Route(name=name)
    _assign(route, ROUTE_FIELDS, entry, where)
    user_model: Any = get_user_model()
    _link(route.users, user_model._default_manager, user_model.USERNAME_FIELD, entry.get("users", []), where)
    _link(route.groups, Group.objects, "name", entry.get("groups", []), where)
    wanted = [_read_target(target, where) for target in entry.get("targets", [])]
    current = [_differing(target, TARGET_FIELDS, always=("provider", "model")) for target in route.targets.all()]
    if current != wanted:
        route.targets.all().delete()
        for position, target in enumerate(wanted):
            _assign(RouteTarget(route=route, position=position), TARGET_FIELDS, target, f"target of the {where}")


def _read_target(target: Any, where: str) -> Document:
    """Take a target that is written out, or as "provider/model"."""
    if isinstance(target, str):
        provider, _, model = target.partition("/")
        target = {"provider": provider, "model": model}
    if not isinstance(target, Mapping):
        raise InvalidDocument(f"A target of the {where} must be a text or an object.")
    _only(target, set(TARGET_FIELDS), f"target of the {where}")
    return {**target, "provider": str(target.get("provider", "")).lower()}


def _read_limit(name: str, entry: Mapping[str, Any]) -> None:
    where = f"limit {name!r}"
    _only(entry, {*LIMIT_FIELDS, "key", "user", "group"}, where)
    limit = Limit.objects.filter(name=name).first() or Limit(name=name)
    user_model: Any = get_user_model()
    particular = {
        "key": _named(VirtualKey.objects, "public_id", entry.get("key"), where),
        "user": _named(user_model._default_manager, user_model.USERNAME_FIELD, entry.get("user"), where),
        "group": _named(Group.objects, "name", entry.get("group"), where),
    }
    _assign(limit, (*LIMIT_FIELDS, *particular), {**entry, **particular}, where)


def _named(manager: Any, field: str, name: str | None, where: str) -> Any:
    """Find whom a name stands for; None for no name."""
    if name is None:
        return None
    found = manager.filter(**{field: name}).first()
    if found is None:
        raise InvalidDocument(f"The {where} is for {name!r}, whom this site does not know.")
    return found


def _read_price(entry: Mapping[str, Any]) -> Price:
    _only(entry, {*PRICE_NAME, *PRICE_FIELDS}, "price")
    where = f"price of {entry.get('provider', '*')}/{entry.get('model')}"
    name: Document = {"provider": entry.get("provider", "*"), "model": entry.get("model", "")}
    rows = Price.objects.filter(**name, source=Price.Source.MANUAL)
    if "valid_from" in entry:
        rows = rows.filter(valid_from=_moment(entry["valid_from"], where))
    price = rows.first() or Price(**name)
    moments = {each: _moment(entry[each], where) for each in ("valid_from", "valid_until") if entry.get(each)}
    _assign(price, ("valid_from", *PRICE_FIELDS), {"valid_from": price.valid_from, **entry, **moments}, where)
    return price


def _moment(value: Any, where: str) -> datetime:
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError as error:
        raise InvalidDocument(
            f"The {where} has {value!r} for a time. Write it as 2026-01-31T00:00:00+00:00."
        ) from error
    return as_stored(as_told(moment))


def _link(relation: Any, manager: Any, field: str, names: list[str], where: str) -> None:
    found = list(manager.filter(**{f"{field}__in": names}))
    missing = set(names) - {getattr(each, field) for each in found}
    if missing:
        raise InvalidDocument(f"The {where} is for {min(missing)!r}, whom this site does not know.")
    if {each.pk for each in found} != set(relation.values_list("pk", flat=True)):
        relation.set(found)


def _only(entry: Any, known: set[str], where: str) -> None:
    if not isinstance(entry, Mapping):
        raise InvalidDocument(f"The {where} must be an object.")
    unknown = sorted(set(map(str, entry)) - known)
    if unknown:
        raise InvalidDocument(
            f"The {where} has the unknown member {unknown[0]!r}. Known are: {', '.join(sorted(known))}."
        )


def _assign(instance: Any, names: tuple[str, ...], entry: Mapping[str, Any], where: str) -> None:
    """Give a row the values of an entry, the default where it has none, and save it if that changed anything."""
    values = {name: _read_value(type(instance), name, entry, where) for name in names}
    if instance.pk is not None and all(getattr(instance, name) == value for name, value in values.items()):
        return
    for name, value in values.items():
        setattr(instance, name, value)
    try:
        instance.full_clean()
    except ValidationError as error:
        raise InvalidDocument(f"The {where} is wrong: {' '.join(error.messages)}") from error
    instance.save()


def _read_value(model: type[models.Model], name: str, entry: Mapping[str, Any], where: str) -> Any:
    if name not in entry:
        return _default(model, name)
    value, field = entry[name], model._meta.get_field(name)
    if not isinstance(field, models.DecimalField) or value is None:
        return value
    try:
        return Decimal(str(value))
    except InvalidOperation:
        raise InvalidDocument(f"The {where} has {value!r} for {name}, which is no number.") from None


def difference(before: Document, after: Document) -> str:
    """Write what changed between two documents, as a diff."""
    old, new = (dump(document).splitlines(keepends=True) for document in (before, after))
    return "".join(difflib.unified_diff(old, new, "database", "document", n=2))


def dump(document: Document) -> str:
    """Write a document as JSON."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
