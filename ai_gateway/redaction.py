"""No credential is written down: not in a header, and not where a body repeats it.

A header whose name sounds like a credential keeps its name and loses its value: a name too many is harmless. What these
headers held, and whatever has the form of a key to this gateway, is taken out of the bodies as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ai_gateway.calls import Headers
from ai_gateway.protocols.realtime import KEY_SUBPROTOCOL

HIDDEN = "[redacted]"

SENSITIVE = re.compile(rb"auth|cookie|token|secret|password|credential|signature|(?:^|[-_])key(?:[-_]|$)|apikey")
"""How the name of a header that may hold a credential looks."""

PROTOCOLS = b"sec-websocket-protocol"
"""A header of browsers, which can send a credential in no other one: as one of several protocols."""

KEY = KEY_SUBPROTOCOL.encode()
"""What such a credential begins with."""

PARTS = re.compile(rb"[;,\s]+")
"""What stands between the parts of a value: a scheme and its credential, cookies, protocols."""

COUNTS = re.compile(rb"ratelimit|idempotency")
"""Names that only look like it: they count tokens, or tell one request from another."""

GATEWAY_KEY = re.compile(rb"gw_([0-9A-Za-z]{12})_[0-9A-Za-z]{49}")

CUT_KEY = re.compile(rb"gw_[0-9A-Za-z]{12}_[0-9A-Za-z]{0,48}\Z")
"""A key that the end of what is kept cuts through."""

SHORTEST = 8
"""A value of fewer bytes is no credential, and taking it out could take a text to pieces."""


def is_sensitive(name: bytes) -> bool:
    """Whether a header may hold a credential."""
    return (SENSITIVE.search(name) is not None and COUNTS.search(name) is None) or name == PROTOCOLS


def without_credentials(headers: Headers) -> list[tuple[str, str]]:
    """Write headers as text, those that may hold a credential without their values."""
    return [
        (name.decode("latin-1"), HIDDEN if is_sensitive(name) else value.decode("latin-1")) for name, value in headers
    ]


def credentials_in(headers: Headers) -> set[bytes]:
    """List the values of headers that may be credentials: those behind a scheme (`Bearer`) without it, and each of
    several cookies or protocols without its name."""
    found: set[bytes] = set()
    for name, value in headers:
        if name == PROTOCOLS:
            found.update(part.removeprefix(KEY) for part in PARTS.split(value) if part.startswith(KEY))
        elif name == b"cookie":
            found.update(part.partition(b"=")[2] for part in PARTS.split(value))
        elif is_sensitive(name):
            found.add(value.rpartition(b" ")[2])
    return {value for value in found if len(value) >= SHORTEST}


def scrubbed(body: bytes, credentials: Iterable[bytes], *, is_cut: bool = False) -> bytes:
    """Take credentials out of a body, and off the end of one that is cut the beginning of one."""
    for credential in credentials:
        body = body.replace(credential, HIDDEN.encode())
        if b"/" in credential:
            body = body.replace(credential.replace(b"/", rb"\/"), HIDDEN.encode())  # As some write it in JSON.
        if is_cut:
            body = _without_end(body, credential)
    if is_cut:
        body = CUT_KEY.sub(b"", body)
    return GATEWAY_KEY.sub(rb"gw_\1_" + HIDDEN.encode(), body)


def _without_end(body: bytes, credential: bytes) -> bytes:
    """Take the longest beginning of a credential that a body ends with off it."""
    lengths = range(min(len(credential), len(body)) - 1, 0, -1)
    found = next((length for length in lengths if body.endswith(credential[:length])), 0)
    return body[: len(body) - found]
