"""Checks of what the database holds. They run where databases are checked: with `migrate`, and `check --database`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError, router

from ai_gateway.checks.settings import TAG, is_sound
from ai_gateway.conf import settings
from ai_gateway.crypto import InvalidKey, NoKey
from ai_gateway.key_store import read_keys
from ai_gateway.keyring import keyring
from ai_gateway.models import Provider, Route, RouteTarget, VirtualKey, known_aliases
from ai_gateway.stored import BrokenCredential, open_credentials

Checks = Iterator[CheckMessage]

SAMPLE = 5
"""Keys that are tried at either end."""

MOST_NAMED = 10
"""Routes that one message names."""


@register(TAG)
def check_encryption_keys(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that the encryption keys are keys. That there is none is no fault while nothing is encrypted."""
    if not is_sound("ENCRYPTION_KEYS"):
        return []
    try:
        keyring()
    except NoKey:
        return []
    except InvalidKey as error:
        hint = "Make one with: python manage.py gateway_rotate_secrets --generate"
        return [Error(str(error), hint=hint, id="ai_gateway.E024")]
    return []


@register(TAG)
def check_routers(app_configs: object, **kwargs: object) -> list[CheckMessage]:
    """Check that keys are in the database of those who hold them."""
    ours = router.db_for_write(VirtualKey)
    for theirs in (get_user_model(), Group):
        if router.db_for_write(theirs) != ours:
            return [
                Error(
                    f"DATABASE_ROUTERS put the gateway's tables into {ours!r} and {theirs._meta.label} into "
                    f"{router.db_for_write(theirs)!r}: keys name the users and groups that they belong to.",
                    hint="Leave the app ai_gateway in the database of the users.",
                    id="ai_gateway.E087",
                )
            ]
    return []


@register(TAG, Tags.database)
def check_stored_configuration(
    app_configs: object, databases: Collection[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Check what people configured in the database, once there are tables."""
    if not databases or router.db_for_read(Provider) not in databases:
        return []
    if not all(map(is_sound, ("PROVIDERS", "ROUTES", "ENCRYPTION_KEYS", "STORED_REFERENCES", "STORED_BACKENDS"))):
        return []
    parts: list[Callable[[], Checks]] = [
        _check_keys,
        _check_providers,
        _check_provider_clashes,
        _check_route_clashes,
        _check_targets,
    ]
    try:
        return [message for part in parts for message in part()]
    except (DatabaseError, ImproperlyConfigured):
        return []  # The migrations are still to come, or Django says more about it.


def _check_providers() -> Checks:
    for provider in Provider.objects.filter(is_enabled=True).prefetch_related("credentials"):
        try:
            provider.build()
        except (ValueError, TypeError, ImportError, OSError) as error:
            yield Error(
                f"The provider {provider.alias!r} of the database is misconfigured: calls to it are refused. {error}",
                hint="Put it right in the admin, or switch it off there.",
                id="ai_gateway.E080",
            )
            continue
        try:
            open_credentials(provider)
        except BrokenCredential as error:
            yield Error(
                f"The provider {provider.alias!r} of the database has no credential that can be used, and calls to it "
                f"are refused. {error}",
                hint="Set the encryption key or the variable that is missing, or enter the credential again.",
                id="ai_gateway.E081",
            )


def _check_keys() -> Checks:
    """Try to verify the oldest and the newest keys, which stand for all: there may be a million."""
    some = [*VirtualKey.objects.order_by("pk")[:SAMPLE], *VirtualKey.objects.order_by("-pk")[:SAMPLE]]
    records = read_keys([key.public_id for key in some])
    bad = [public_id for public_id, record in records.items() if not record.is_verifiable]
    if bad:
        yield Error(
            f"Virtual keys cannot be verified, for example {bad[0]}: their encryption key is missing, or is another "
            "one. Their holders are answered with 503.",
            hint="Set the encryption key that they were made with, behind the one in use: new,old.",
            id="ai_gateway.E086",
        )


def _check_provider_clashes() -> Checks:
    ours = {alias.lower() for alias in settings.PROVIDERS}
    for alias in Provider.objects.filter(alias__in=ours).values_list("alias", flat=True):
        yield Warning(
            f"The provider {alias!r} is configured twice: the database wins, and AI_GATEWAY['PROVIDERS'][{alias!r}] "
            "has no effect.",
            hint="Remove one of the two.",
            id="ai_gateway.W082",
        )


def _check_route_clashes() -> Checks:
    for name in Route.objects.filter(name__in=list(settings.ROUTES)).values_list("name", flat=True):
        yield Warning(
            f"The route {name!r} is configured twice: the database wins, and AI_GATEWAY['ROUTES'][{name!r}] has "
            "no effect.",
            hint="Remove one of the two.",
            id="ai_gateway.W083",
        )


def _check_targets() -> Checks:
    lost = RouteTarget.objects.filter(is_enabled=True, route__is_enabled=True).exclude(provider__in=known_aliases())
    yield from _about(
        "lead to a provider that is not there",
        lost.order_by().values_list("route__name", flat=True).distinct(),
        hint="Correct their targets, or add the provider.",
        id="ai_gateway.W084",
    )
    empty = Route.objects.filter(is_enabled=True).exclude(targets__is_enabled=True)
    yield from _about(
        "have no target that is enabled, so they do not exist for callers",
        empty.order_by().values_list("name", flat=True),
        hint="Add a target, or switch the route off.",
        id="ai_gateway.W085",
    )


def _about(what: str, names: Any, *, hint: str, id: str) -> Checks:
    """Say something about routes, in one message however many they are."""
    found = list(names[: MOST_NAMED + 1])
    if found:
        shown = ", ".join(map(repr, found[:MOST_NAMED])) + (", and more" if len(found) > MOST_NAMED else "")
        yield Warning(f"Routes of the database {what}: {shown}.", hint=hint, id=id)
