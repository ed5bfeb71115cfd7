"""Who is calling, and is the key valid?

A gateway key may come in any of the four headers that clients of the different dialects have for credentials, and never
in the query string. There are two kinds. Keys of the settings are few, and looked up by their whole SHA-256 digest:
neither a prefix nor the time of the comparison tells anything about a key. Virtual keys live in the database, and may
be a million: they are looked up by their public id (`key_cache.py`) and verified by an HMAC. One in use costs no query.

Whoever brings no gateway key is passed through with the provider credential that it brings along, if the settings
allow that. What looks like a gateway key and is none is refused: a mistyped or revoked key is never sent to a provider.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from ipaddress import ip_address

from ai_gateway import crypto
from ai_gateway.calls import Arrival, Caller
from ai_gateway.errors import InvalidCredential, KeysUnavailable
from ai_gateway.key_cache import MAX_FOUND, KeyRecord
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

PUBLIC_ID = slice(3, 3 + crypto.PUBLIC_ID_LENGTH)
"""Where a virtual key has its public id."""

NOBODY = Caller()


async def identify(arrival: Arrival, snapshot: Snapshot) -> Caller:
    """Find out who calls. Raises InvalidCredential for a wrong key, contradicting keys, and no key where one is
    needed; KeysUnavailable if nobody can tell."""
    fields = arrival.fields
    if len(fields) != len(arrival.headers):
        _refuse_repeated(arrival)
    found = [(name, fields[name]) for name in PREFERRED.get(arrival.dialect.family, HEADERS) if name in fields]
    if len(found) == 1:
        token = bare(*found[0])
        caller = find_configured(token, snapshot) or await find_virtual(token, arrival, snapshot)
        return caller if caller is not None else _stranger(found, snapshot)
    tokens = {bare(name, value) for name, value in found} - {b""}
    for token in tokens:
        caller = find_configured(token, snapshot) or await find_virtual(token, arrival, snapshot)
        if caller is not None:
            if len(tokens) > 1:
                raise InvalidCredential("The request carries two different credentials. Send your gateway key only.")
            return caller
    return _stranger(found, snapshot)


def _stranger(found: list[tuple[bytes, bytes]], snapshot: Snapshot) -> Caller:
    """Decide on a caller without a gateway key, given the credentials that it brought, the preferred one first. An
    empty one is none: an SDK sends it if nobody gave it a key."""
    found = [(name, value) for name, value in found if bare(name, value)]
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
    if name == b"authorization" and value[:7].lower() in (b"bearer ", b"bearer"):
        value = value[7:]
    return value.strip()


def find_configured(token: bytes, snapshot: Snapshot) -> Caller | None:
    """Find the holder of a gateway key of the settings."""
    return snapshot.keys.get(hashlib.sha256(token).digest()) if snapshot.keys else None


async def find_virtual(token: bytes, arrival: Arrival, snapshot: Snapshot) -> Caller | None:
    """Find the holder of a virtual key. Raises InvalidCredential for one that is not valid any more, or not here."""
    cache = snapshot.key_cache
    if cache is None or len(token) != crypto.TOKEN_LENGTH or not token.startswith(KEY_PREFIX):
        return None
    record = cache.peek(token[PUBLIC_ID].decode("latin-1"))
    if record is None:
        # The checksum keeps what somebody made up, or mistyped, from the database.
        public_id = crypto.public_id_of(token)
        record = await cache.find(public_id) if public_id is not None else None
    if record is None or not is_genuine(token, record):
        return None
    check_validity(record, arrival.client)
    cache.note_used(record.caller.key_id)
    return record.caller


_proven: dict[tuple[bytes, bytes], bytes] = {}
"""The SHA-256 of tokens that were found genuine, by their record's key and digest. OpenSSL takes longer to begin an
HMAC than for all else that a key costs, and a token has too much chance in it to be guessed from its digest."""


def is_genuine(token: bytes, record: KeyRecord) -> bool:
    """Whether a token is the key of a record. Raises KeysUnavailable if that cannot be told."""
    if not record.is_verifiable:
        raise KeysUnavailable("This gateway key cannot be verified at the moment. The gateway's log says why.")
    proof = record.hash_key, record.digest
    mark = hashlib.sha256(token).digest()
    if hmac.compare_digest(_proven.get(proof, b""), mark):
        return True
    if not hmac.compare_digest(hmac.digest(record.hash_key, token, "sha256"), record.digest):
        return False
    if len(_proven) >= MAX_FOUND:
        _proven.clear()
    _proven[proof] = mark
    return True


def check_validity(record: KeyRecord, client: str | None) -> None:
    """Raise InvalidCredential for a key that is not valid any more, or not from this address. Who holds the key is told
    why."""
    if record.problem is not None:
        raise InvalidCredential(record.problem)
    if record.expires_at is not None and record.expires_at <= time.time():
        raise InvalidCredential("This gateway key has expired.")
    if record.networks and not _is_within(client, record):
        raise InvalidCredential("This gateway key is not valid from your address.")


def _is_within(client: str | None, record: KeyRecord) -> bool:
    try:
        address = ip_address(client or "")
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in record.networks)


def _refuse_repeated(arrival: Arrival) -> None:
    names = [name for name, _ in arrival.headers if name in HEADERS]
    if len(names) != len(set(names)):
        raise InvalidCredential("A credential header is there twice. Send each at most once.")
