"""Hearing a body that is no stream of events: JSON of any length, and everything else.

A body of ordinary length is read when it is whole. Of a longer one (embeddings, images in base64) the beginning and the
end are kept; the members that matter stand in one of them, and are taken out by searching. What is listed in between
is found while it passes (`listings.py`), and so is the model, which stands behind the instructions in OpenAI's
responses (`naming.py`). What is read then is an object of these members alone.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping

from ai_gateway import estimates
from ai_gateway.calls import Call
from ai_gateway.consumption import Consumption, Listener
from ai_gateway.listeners.listings import Listing, value_at
from ai_gateway.listeners.naming import Naming
from ai_gateway.listeners.reckoning import consumption_of
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.passing import Passing

HEAD = 16 * 1024
"""Bytes of the beginning that are kept."""

TAIL = 48 * 1024
"""Bytes of the end that are kept, at least: what stands behind the usage of a response can be long (metadata)."""

NAMES = ("id", "responseId", "modelVersion", "service_tier", "duration", "status")
"""Members that name the answer or say how it stands, whose values are short."""

NAMES_AT_THE_END = ("responseId", "modelVersion", "service_tier")
"""Those of them that stand behind the answer, or may."""

REPORTS = ("usage", "usageMetadata", "usage_info", "meta", "serviceTier")
"""Members that say what was used, and in which tier, whose values are objects."""

MOST = 16
"""How many places are looked at, from the last one on, that look like reports: each is read for some kilobytes."""

_NAME = re.compile(rb'"(%s)"\s*:\s*("(?:[^"\\]|\\.)*"|[0-9.]+)' % "|".join(NAMES).encode())
_REPORT = re.compile(rb'"(%s)"\s*:\s*(?=\{)' % "|".join(REPORTS).encode())


class BodyListener(Listener):
    """Hears one body."""

    __slots__ = ("_call", "_head", "_listing", "_naming", "_passing", "_tail", "_tail_size", "has_content")

    def __init__(self, call: Call, passing: Passing) -> None:
        self._call = call
        self._passing = passing
        self._head: bytes | bytearray = b""
        self._tail: list[bytes] = []
        self._tail_size = 0
        self._listing: Listing | None = None
        """Has what is not kept of the end; None as long as all is."""
        self._naming = Naming()
        self.has_content = True

    def hear(self, data: bytes) -> bytes:
        """See Listener.hear()."""
        if not self._head and len(data) <= HEAD:
            self._head = data  # As it is: most answers come in one piece.
            return data
        if isinstance(self._head, bytes):
            self._head = bytearray(self._head)
        room = HEAD - len(self._head)
        rest = data
        if room > 0:
            self._head += data[:room]
            rest = data[room:]
        if rest:
            self._tail.append(rest)
            self._tail_size += len(rest)
            self._shorten()
        return data

    def consumption(self) -> Consumption | None:
        """See Listener.consumption()."""
        passing, kept = self._passing, bytes(self._head)
        if self._tail:
            kept += b"".join(self._tail)
        passing.answer(kept if self._listing is None else self._excerpt(self._listing))
        if passing.usage is None and not passing.pieces and self._call.dialect.is_generation:
            # Cut, or in an encoding of which nothing can be read. What is kept of it is text for the most part.
            passing.text = estimates.FAIR_BYTES_PER_TOKEN * estimates.likely_input_tokens(kept)
        return consumption_of(passing, self._call)

    def _shorten(self) -> None:
        """Keep no more of the end than is wanted."""
        tail = self._tail
        while self._tail_size - len(tail[0]) >= TAIL:
            self._drop(tail.pop(0))
        if len(tail[0]) > TAIL:
            self._drop(memoryview(tail[0])[:-TAIL])
            tail[0] = tail[0][-TAIL:]

    def _drop(self, piece: bytes | memoryview) -> None:
        self._tail_size -= len(piece)
        if self._listing is None:
            self._listing = Listing(self._passing.listed)
            self._listing.take(bytes(self._head))
            self._naming.take(bytes(self._head))
        self._listing.take(piece)
        self._naming.take(piece)

    def _excerpt(self, listing: Listing) -> bytes:
        head, tail = bytes(self._head), b"".join(self._tail)
        return excerpt(head, tail, {**self._naming.with_end(tail), **listing.with_end(tail)})


def excerpt(head: bytes, tail: bytes, found: Mapping[str, object]) -> bytes:
    """Write an object of those members of a long JSON body that tell what it used: names from where they come first,
    reports from where they come last, and what was found in between."""
    members: dict[str, object] = {**found}
    for part, names in ((head, NAMES), (tail, NAMES_AT_THE_END)):
        for name in _NAME.finditer(part):
            key = name[1].decode()
            if key in names and key not in members:
                members[key] = value_at(name[2], 0)
    for part in (head, tail):
        for report in deque(_REPORT.finditer(part), MOST):
            value = value_at(part, report.end())
            if value is not None:
                members[report[1].decode()] = value
    return dumps(members)
