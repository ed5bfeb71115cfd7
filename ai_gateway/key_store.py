"""Virtual keys in the database: read by their public ids, a batch at a time; and when they were last used, written.

Neither happens on the path of a request. What is read here is all that a call needs: whose the key is, whether that
user is active and still in the key's group, and what the key and its owner may use.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from typing import Any

from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.exceptions import FieldDoesNotExist
from django.db import InterfaceError, OperationalError, connections
from django.utils import timezone

from ai_gateway.calls import Caller
from ai_gateway.crypto import CryptoError, Keyring
from ai_gateway.key_cache import KeyRecord
from ai_gateway.keyring import keyring
from ai_gateway.models import VirtualKey

logger = logging.getLogger("ai_gateway")

HASH_KEY = VirtualKey._meta.get_field("hash_key")

USE_ROUTE = "use_route"

BATCH = 500
"""Rows that one statement names."""


def read_keys(public_ids: Sequence[str]) -> dict[str, KeyRecord]:
    """Read keys by their public ids. Those that there are not are missing in what is given back."""
    try:
        return read_here(public_ids)
    except (OperationalError, InterfaceError):
        # A connection that lay in a pool may be dead by now: that the database was restarted is no reason to refuse.
        connections.close_all()
        return read_here(public_ids)


def read_here(public_ids: Sequence[str]) -> dict[str, KeyRecord]:
    """Read keys in this thread, where somebody else's transaction may be under way."""
    keys = list(VirtualKey.objects.filter(public_id__in=public_ids).select_related("user"))
    if not keys:
        return {}
    rights = Rights({key.user_id for key in keys})
    try:
        ring = keyring()
    except CryptoError as error:
        logger.error("Virtual keys cannot be verified: %s", error)
        ring = None
    return {key.public_id: _read_row(key, rights, ring) for key in keys}


class Rights:
    """The groups of some users, and who of them may use every route. A handful of queries for all of them."""

    def __init__(self, user_ids: Iterable[Any]) -> None:
        users = get_user_model()._default_manager.filter(pk__in=list(user_ids))
        self.has_groups = _has_field("groups")
        self.groups: defaultdict[Any, set[Any]] = defaultdict(set)
        self._named: set[Any] = set()
        self._by_group: set[Any] = set()
        if self.has_groups:
            for user, group in users.filter(groups__isnull=False).values_list("pk", "groups"):
                self.groups[user].add(group)
            permission = Permission.objects.filter(content_type__app_label="ai_gateway", codename=USE_ROUTE)
            self._by_group = set(permission.filter(group__isnull=False).values_list("group", flat=True))
        if _has_field("user_permissions"):
            named = {"user_permissions__content_type__app_label": "ai_gateway", "user_permissions__codename": USE_ROUTE}
            self._named = set(users.filter(**named).values_list("pk", flat=True))

    def uses_every_route(self, user: Any, groups: Iterable[Any]) -> bool:
        """Whether a user may use every route, as somebody with the rights of these groups."""
        return (
            bool(getattr(user, "is_superuser", False))
            or user.pk in self._named
            or not self._by_group.isdisjoint(groups)
        )


def _has_field(name: str) -> bool:
    """Whether the site's user model has a field: those of its own making may have no groups and no permissions."""
    try:
        get_user_model()._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True


def caller_of(user: Any) -> Caller:
    """Make the caller for a user of the site whose own pages call the gateway, with all rights that the user has."""
    rights = Rights([user.pk])
    groups = frozenset(rights.groups[user.pk])
    return Caller(
        key_name=f"user {user.pk}",
        user_id=user.pk,
        groups=groups,
        uses_every_route=rights.uses_every_route(user, groups),
    )


def _read_row(key: VirtualKey, rights: Rights, ring: Keyring | None) -> KeyRecord:
    """Read a row. What is wrong with one key is no harm to the others that are read with it."""
    try:
        hash_key = HASH_KEY.open(key, ring) if ring is not None else None
        if hash_key is not None:
            return _record(key, rights, bytes.fromhex(hash_key.reveal()))
    except (CryptoError, ValueError, TypeError, AttributeError) as error:
        logger.error("The virtual key %s cannot be verified: %s", key.public_id, error)
    return KeyRecord(Caller(key_name=key.name), b"", b"", is_verifiable=False)


def _record(key: VirtualKey, rights: Rights, hash_key: bytes) -> KeyRecord:
    groups = rights.groups[key.user_id]
    acting = frozenset(groups if key.group_id is None else groups & {key.group_id})
    caller = Caller(
        key_name=key.name,
        key_id=key.pk,
        user_id=key.user_id,
        group_id=key.group_id,
        groups=acting,
        uses_every_route=rights.uses_every_route(key.user, acting),
        tags=tuple(key.tags),
        metadata=key.metadata,
        allowed_models=tuple(key.allowed_models),
        allowed_providers=tuple(alias.lower() for alias in key.allowed_providers),
        allowed_endpoints=tuple(key.allowed_endpoints),
        may_choose_fallbacks=key.may_choose_fallbacks,
        records_bodies=key.records_bodies,
        guardrails=tuple(key.guardrails),
        caching=key.caching,
    )
    return KeyRecord(
        caller=caller,
        hash_key=hash_key,
        digest=bytes.fromhex(key.digest),
        problem=_problem(key, rights),
        expires_at=key.expires_at.timestamp() if key.expires_at else None,
        networks=tuple(ip_network(network, strict=False) for network in key.allowed_networks),
    )


def _problem(key: VirtualKey, rights: Rights) -> str | None:
    """Say why a key is not valid, whoever brings it."""
    if not key.is_active:
        return "This gateway key was revoked."
    if not key.user.is_active:
        return "The owner of this gateway key is not active."
    if key.group_id is not None and rights.has_groups and key.group_id not in rights.groups[key.user_id]:
        return "The owner of this gateway key has left its group."
    return None


def write_used(key_ids: Iterable[Any]) -> None:
    """Write down that keys were used, a short while ago."""
    ids, now = list(key_ids), timezone.now()
    for start in range(0, len(ids), BATCH):
        VirtualKey.objects.filter(pk__in=ids[start : start + BATCH]).update(last_used_at=now)
