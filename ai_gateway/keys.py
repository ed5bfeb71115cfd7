"""Who is calling, and what may they use?

A gateway key may come in any of the four headers that clients of the different dialects have for credentials, and never
in the query string. Keys are long and random, so one SHA-256 is the right hash for them, and they are looked up by the
whole digest: neither a prefix nor the time of the comparison tells anything about a key.

Whoever brings no gateway key is passed through with the provider credential that it brings along, if the settings
allow that. What looks like a gateway key and is none is refused: a mistyped or revoked key is never sent to a provider.
"""

from __future__ import annotations

import hashlib

from ai_gateway.calls import Arrival, Caller
from ai_gateway.errors import InvalidCredential
from ai_gateway.providers import Provider
from ai_gateway.registry import Snapshot

KEY_PREFIX = b"gw_"
"""How the keys begin that this app makes."""

HEADERS = (b"authorization", b"x-api-key", b"x-goog-api-key", b"api-key")
"""Where a credential may come from, in the order of preference."""

PREFERRED = {
    "anthropic": (b"x-api-key", b"authorization", b"x-goog-api-key", b"api-key"),
    "gemini": (b"x-goog-api-key", b"authorization", b"x-api-key", b"api-key"),
}
"""Which of a caller's own credentials counts if it brings several: that of the API family it speaks."""

NOBODY = Caller()


def identify(arrival: Arrival, snapshot: Snapshot) -> Caller:
    """Find out who calls. Raises InvalidCredential for a wrong key, contradicting keys, and no key where one is
    needed."""
    fields = arrival.fields
    if len(fields) != len(arrival.headers):
        _refuse_repeated(arrival)
    found = [(name, fields[name]) for name in PREFERRED.get(arrival.dialect.family, HEADERS) if name in fields]
    if len(found) == 1:
        caller = find(bare(*found[0]), snapshot)
        return caller if caller is not None else _stranger(found, snapshot)
    tokens = {bare(name, value) for name, value in found}
    for token in tokens:
        caller = find(token, snapshot)
        if caller is not None:
            if len(tokens) > 1:
                raise InvalidCredential("The request carries two different credentials. Send your gateway key only.")
            return caller
    return _stranger(found, snapshot)


def _stranger(found: list[tuple[bytes, bytes]], snapshot: Snapshot) -> Caller:
    """Decide on a caller without a gateway key, given the credentials that it brought, the preferred one first."""
    if any(bare(name, value).startswith(KEY_PREFIX) for name, value in found):
        raise InvalidCredential("Incorrect API key provided: this gateway key is not known, or no longer valid.")
    if not snapshot.passthrough:
        raise InvalidCredential("Incorrect API key provided. This gateway needs one of its own keys.")
    return Caller(credential=found[0]) if found else NOBODY


def check_access(caller: Caller, provider: Provider) -> None:
    """Raise InvalidCredential if this caller must not reach this provider at all."""
    if caller.is_authenticated or provider.is_public or provider.passthrough:
        return
    raise InvalidCredential(f"The provider {provider.name!r} is open to holders of a gateway key only.")


def bare(name: bytes, value: bytes) -> bytes:
    """Take the key out of a header's value."""
    if name == b"authorization" and value[:7].lower() == b"bearer ":
        value = value[7:]
    return value.strip()


def find(token: bytes, snapshot: Snapshot) -> Caller | None:
    """Find the holder of a gateway key."""
    return snapshot.keys.get(hashlib.sha256(token).digest())


def _refuse_repeated(arrival: Arrival) -> None:
    names = [name for name, _ in arrival.headers if name in HEADERS]
    if len(names) != len(set(names)):
        raise InvalidCredential("A credential header is there twice. Send each at most once.")
