"""As whom the site's code calls: read from the database where the code runs, in its own connection and transaction.

So a key that was made a line above is known, and so is a user in a test. What was read holds for a few seconds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from django.contrib.auth import get_user_model
from django.db import InterfaceError, OperationalError

from ai_gateway import crypto, key_store, keys, registry
from ai_gateway.calls import Caller
from ai_gateway.credentials import Secret
from ai_gateway.errors import InvalidCredential, KeysUnavailable
from ai_gateway.key_cache import FRESH, KeyRecord
from ai_gateway.models import VirtualKey

Key = VirtualKey | Secret | str
"""A key's row, or the key itself."""

Metadata = Mapping[str, str | int | float | bool]


class Identity:
    """As whom calls are made. `read` finds it out, and may take its time."""

    def __init__(self, read: Callable[[], KeyRecord], tags: Sequence[str], metadata: Metadata) -> None:
        self._read = read
        self._tags = tuple(tags)
        self._metadata = dict(metadata)
        self._known: KeyRecord | None = None
        self._read_at = 0.0

    def known(self) -> Caller | None:
        """Give the caller if that was found out a short while ago. Raises InvalidCredential."""
        record = self._known
        if record is None or time.monotonic() - self._read_at > FRESH:
            return None
        return _valid(record)

    def caller(self) -> Caller:
        """Give the caller, and find it out if need be. Raises InvalidCredential, KeysUnavailable."""
        found = self.known()
        if found is not None:
            return found
        read_at = time.monotonic()
        try:
            record = self._read()
        except (OperationalError, InterfaceError) as error:
            raise KeysUnavailable("Who calls cannot be looked up at the moment.", retry_after=1) from error
        self._known = record._replace(caller=self._described(record.caller))
        self._read_at = read_at
        return _valid(self._known)

    def _described(self, caller: Caller) -> Caller:
        """Add the tags and the metadata. Those of the key stay, for its limits go by them."""
        return msgspec.structs.replace(
            caller,
            tags=tuple(dict.fromkeys((*caller.tags, *self._tags))),
            metadata={**self._metadata, **caller.metadata},
        )


def _valid(record: KeyRecord) -> Caller:
    """Give the caller of a record. A key that is for some networks only is for none of these calls: they come from
    none. Raises InvalidCredential."""
    keys.check_validity(record, None)
    if registry.key_cache is not None and record.caller.key_id is not None:
        registry.key_cache.note_used(record.caller.key_id)
    return record.caller


def identify(user: Any, key: Key | None, tags: Sequence[str], metadata: Metadata | None) -> Identity:
    """Tell as whom calls are made: a user, or the holder of a key. Asks nobody yet."""
    if (user is None) == (key is None):
        raise TypeError("Say either `user` or `key`: calls are made as somebody.")
    if isinstance(tags, str):
        raise TypeError("`tags` is a list of texts, not one text.")
    return Identity(lambda: _of_user(user) if key is None else _of_key(key), tags, metadata or {})


def _of_user(user: Any) -> KeyRecord:
    if user.pk is None:
        raise InvalidCredential("Nobody is logged in, or the user is not saved.")
    # Read anew: the object may be as old as the process, and remembers what its user was permitted then.
    found = get_user_model()._base_manager.filter(pk=user.pk).first()
    if found is None:
        raise InvalidCredential("The user does not exist any more.")
    problem = None if found.is_active else "The user is not active."
    return KeyRecord(caller=key_store.caller_of(found), hash_key=b"", digest=b"", problem=problem)


def _of_key(key: Key) -> KeyRecord:
    if isinstance(key, VirtualKey):
        return _stored(key.public_id)
    token = (key.reveal() if isinstance(key, Secret) else key).encode()
    caller = keys.find_configured(token, registry.snapshot())
    if caller is not None:
        return KeyRecord(caller=caller, hash_key=b"", digest=b"")
    public_id = crypto.public_id_of(token)
    record = _stored(public_id) if public_id is not None else None
    if record is None or not keys.is_genuine(token, record):
        raise _unknown()
    return record


def _stored(public_id: str) -> KeyRecord:
    record = key_store.read_here([public_id]).get(public_id)
    if record is None:
        raise _unknown()
    return record


def _unknown() -> InvalidCredential:
    return InvalidCredential("This gateway key is not known, or no longer valid.")
