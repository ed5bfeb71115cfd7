"""No credential is written down: not in a header, and not where a body repeats it.

A header whose name sounds like a credential keeps its name and loses its value: a name too many is harmless. What these
headers held, and whatever has the form of a key to this gateway, is taken out of the bodies as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ai_gateway.calls import Headers

HIDDEN = "[redacted]"

SENSITIVE = re.compile(rb"auth|cookie|token|secret|password|credential|signature|(?:^|[-_])key(?:[-_]|$)|apikey")
"""How the name of a header that may hold a credential looks."""

COUNTS = re.compile(rb"ratelimit|idempotency")
"""Names that only look like it: they count tokens, or tell one request from another."""

GATEWAY_KEY = re.compile(rb"gw_([0-9A-Za-z]{12})_[0-9A-Za-z]{49}")

CUT_KEY = re.compile(rb"gw_[0-9A-Za-z]{12}_[0-9A-Za-z]{0,48}\Z")
"""A key that the end of what is kept cuts through."""

SHORTEST = 8
"""A value of fewer bytes is no credential, and taking it out could take a text to pieces."""


def is_sensitive(name: bytes) -> bool:
    """Whether a header may hold a credential."""
    return SENSITIVE.search(name) is not None and COUNTS.search(name) is None


def without_credentials(headers: Headers) -> list[tuple[str, str]]:
    """Write headers as text, those that may hold a credential without their values."""
    return [
        (name.decode("latin-1"), HIDDEN if is_sensitive(name) else value.decode("latin-1")) for name, value in headers
    ]


def credentials_in(headers: Headers) -> set[bytes]:
    """List the values of headers that may be credentials, those behind a scheme (`Bearer`) without it."""
    values = {value.rpartition(b" ")[2] for name, value in headers if is_sensitive(name)}
    return {value for value in values if len(value) >= SHORTEST}


def scrubbed(body: bytes, credentials: Iterable[bytes], *, is_cut: bool = False) -> bytes:
    """Take credentials out of a body, and off the end of one that is cut the beginning of one."""
    for credential in credentials:
        body = body.replace(credential, HIDDEN.encode())
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
