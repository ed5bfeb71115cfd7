"""Google's system parameters: what a caller can ask of any of Google's servers beside the body, by query or by header.

Some say in which form the answer is to come, or which of its members. One that is no JSON, or that leaves out what was
used, tells the gateway nothing. Their names have a `$` in front, or have not.

Source: "System parameters" of Google Cloud's documentation of its APIs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import unquote_to_bytes

FORMS = frozenset(("", "json", "sse"))
"""Values of `alt` that are answered with JSON."""

PROTOBUF = b"protobuf"
"""What is in the names of all media types of Google's binary format, and of its JSON without names."""


def parameters_in(query: bytes) -> Iterator[tuple[str, str]]:
    """Give the names, in lower case and without a `$`, and the values of a query's parameters."""
    for pair in query.split(b"&"):
        name, _, value = (unquote_to_bytes(part.replace(b"+", b" ")).decode("latin-1") for part in pair.partition(b"="))
        yield name.lower().lstrip("$"), value


def forms_asked_for(query: bytes) -> set[str]:
    """Tell in which forms an answer is asked for; `json;enum-encoding=int` is JSON."""
    return {value.lower().partition(";")[0] for name, value in parameters_in(query) if name == "alt"}


def is_legible(query: bytes, fields: Mapping[bytes, bytes]) -> bool:
    """Whether an answer comes as whole JSON, as far as its request says: in no other form, in no call of a script's
    function, and with all of its members."""
    if b"x-goog-fieldmask" in fields:
        return False
    media_types = b"%b\n%b" % (fields.get(b"accept", b""), fields.get(b"content-type", b""))
    if media_types.lower().find(PROTOBUF) >= 0:
        return False
    if not query or query == b"alt=sse":
        return True
    return forms_asked_for(query) <= FORMS and not any(
        value and name in ("callback", "fields") for name, value in parameters_in(query)
    )
