"""Counts every change that matters to calls, in the transaction that makes it, and has this process look at once.

What matters is what the snapshot is made of (providers, credentials, routes, prices, limits), and what a key is worth:
the key itself, whether its owner is active, the owner's groups, and who may use every route. A change that sends no
signal (a bulk update, or one by hand) is noticed too, but only when keys are read again, or the process starts.
"""

from __future__ import annotations

import logging
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import DatabaseError, router, transaction
from django.db.models import Model
from django.db.models.signals import m2m_changed, post_delete, post_save

from ai_gateway import refresher
from ai_gateway.models import (
    ConfigurationVersion,
    Limit,
    Price,
    Provider,
    ProviderCredential,
    Route,
    RouteTarget,
    VirtualKey,
)

logger = logging.getLogger("ai_gateway")

PREFIX = "ai_gateway.changes"

UNIMPORTANT = frozenset(("last_login", "password", "first_name", "last_name", "email", "last_used_at"))
"""What a key is worth does not depend on these fields of its row, or of its owner's."""


def connect() -> None:
    """Connect the receivers. Called once, when all models are there."""
    for model in (Provider, ProviderCredential, Route, RouteTarget, Price, Limit):
        post_save.connect(_note_configuration, sender=model, dispatch_uid=f"{PREFIX}.save.{model.__name__}")
        post_delete.connect(_note_configuration, sender=model, dispatch_uid=f"{PREFIX}.delete.{model.__name__}")
    m2m_changed.connect(_note_members_of_route, sender=Route.users.through, dispatch_uid=f"{PREFIX}.m2m.Route.users")
    m2m_changed.connect(_note_members_of_route, sender=Route.groups.through, dispatch_uid=f"{PREFIX}.m2m.Route.groups")
    post_save.connect(_note_key, sender=VirtualKey, dispatch_uid=f"{PREFIX}.save.VirtualKey")
    post_delete.connect(_note_key, sender=VirtualKey, dispatch_uid=f"{PREFIX}.delete.VirtualKey")
    post_save.connect(_note_user, sender=get_user_model(), dispatch_uid=f"{PREFIX}.save.user")
    # What goes with a deleted group takes the group's keys with it, but it also opened routes.
    post_delete.connect(_note_rights, sender=Group, dispatch_uid=f"{PREFIX}.delete.Group")
    for owner, name in ((get_user_model(), "groups"), (get_user_model(), "user_permissions"), (Group, "permissions")):
        through = getattr(getattr(owner, name, None), "through", None)
        if through is not None:
            m2m_changed.connect(_note_membership, sender=through, dispatch_uid=f"{PREFIX}.m2m.{owner.__name__}.{name}")


def note(*counters: str) -> None:
    """Count a change, and look for it in this process as soon as it is committed."""
    ConfigurationVersion.bump(*counters)
    transaction.on_commit(look, using=router.db_for_write(ConfigurationVersion), robust=True)


def note_people(*counters: str, of: Any = None) -> None:
    """Count a change of users or groups; `of` is a user to whom it matters only as an owner of keys.

    They are the site's, and must be possible before the gateway has tables. If the change cannot be counted it is still
    noticed when keys are read again, some seconds later.
    """
    try:
        with transaction.atomic(using=router.db_for_write(ConfigurationVersion)):
            if of is None or VirtualKey.objects.filter(user=of).exists():
                note(*counters)
    except DatabaseError as error:
        logger.warning("A change of users or groups could not be counted: %s", error)


def look() -> None:
    """Bring what was changed into force in this process."""
    if refresher.refresher is not None:
        refresher.refresher.look()


def _note_configuration(raw: bool = False, **_: Any) -> None:
    note("configuration")


def _note_members_of_route(action: str, **_: Any) -> None:
    if action.startswith("post_"):
        note("configuration")


def _note_key(update_fields: frozenset[str] | None = None, **_: Any) -> None:
    if not update_fields or not update_fields <= UNIMPORTANT:
        note("keys")


def _note_user(
    instance: Model, created: bool, update_fields: frozenset[str] | None = None, raw: bool = False, **_: Any
) -> None:
    """Note a changed owner of keys. Users are saved often, at each login for one, and most own none."""
    if created or raw or (update_fields and update_fields <= UNIMPORTANT):
        return
    note_people("keys", of=instance.pk)


def _note_rights(**_: Any) -> None:
    note_people("configuration", "keys")


def _note_membership(action: str, **_: Any) -> None:
    if action.startswith("post_"):
        note_people("keys")
