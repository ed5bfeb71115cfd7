"""State of a provider, sealed so that a caller of another format can carry it.

A signature or encrypted reasoning must come back in a later turn, to the provider and model that made it and to nobody
else. The gateway keeps nothing between two turns; the state travels with the caller, in a field that the caller's
format has for something of the kind. What is put there is

    gw1.<base64url of a header and the state>.<base64url of a MAC>

The MAC (HMAC-SHA256, cut to 128 bits) makes sure that what comes back is what was given out: a caller can neither make
one up nor change whose it is. A string without the prefix is a provider's own and never taken for one of these.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

import msgspec

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import State

PREFIX = "gw1."
MAC_BYTES = 16

MARKS = (b"gw1.", b"Z3cxL")
"""What a body has in it that holds a sealed state: the prefix, or the prefix in base64 as Gemini's callers carry it."""


def is_marked(body: bytes, *, in_base64: bool) -> bool:
    """Whether a body may hold a sealed state; `in_base64` is for the format whose callers carry it so."""
    return body.find(MARKS[in_base64]) >= 0


class _Header(msgspec.Struct, frozen=True, array_like=True):
    format: str
    kind: str
    id: str
    provider: str
    model: str


_header = msgspec.json.Decoder(_Header)


class Carrier:
    """Seals states of one provider and model, and opens what this gateway has sealed, whoever's it is.

    `keys` are secrets, the first of which seals; all of them open, so that they can be exchanged one by one.
    """

    def __init__(self, keys: Sequence[bytes], provider: str = "", model: str = "") -> None:
        self._keys = keys
        self._provider = provider
        self._model = model

    def bound(self, provider: str, model: str) -> Carrier:
        """Give a carrier that seals what this provider and model make."""
        return Carrier(self._keys, provider, model)

    def seal(self, state: State) -> str:
        """Write a state for a caller to carry: ASCII, no blanks, one third longer than the state."""
        header = msgspec.json.encode(_Header(state.format, state.kind, state.id, self._provider, self._model))
        content = _encode(header + b"\n" + state.value.encode("utf-8", "surrogatepass"))
        return f"{PREFIX}{content}.{_encode(_mac(self._keys[0], content))}"

    def open(self, text: str) -> State | None:
        """Read what `seal` wrote. None for what it did not write, or what was changed since."""
        if not text.startswith(PREFIX):
            return None
        content, _, mac = text[len(PREFIX) :].partition(".")
        try:
            given = _decode(mac)
            if not any(hmac.compare_digest(given, _mac(key, content)) for key in self._keys):
                return None
            head, _, value = _decode(content).partition(b"\n")
            header = _header.decode(head)
        except (ValueError, UnicodeError, binascii.Error):
            return None
        return State(
            format=header.format,
            kind=header.kind,
            value=value.decode("utf-8", "surrogatepass"),
            id=header.id,
            provider=header.provider,
            model=header.model,
        )


def is_carrier(text: str) -> bool:
    """Whether a string is meant to be one of these: it must never be sent to a provider."""
    return text.startswith(PREFIX)


def belongs_to(state: State | None, destination: Destination) -> bool:
    """Whether a state may be sent there: to the very provider and model that made it, in the same format."""
    return state is not None and (state.provider, state.model, state.format) == (
        destination.provider,
        destination.model,
        destination.format,
    )


def _mac(key: bytes, content: str) -> bytes:
    return hmac.digest(key, content.encode("utf-8", "surrogatepass"), hashlib.sha256)[:MAC_BYTES]


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
