"""Hearing a body that is no stream of events: JSON of any length, and everything else.

A body of ordinary length is read when it is whole. Of a longer one (embeddings, images in base64) the beginning and the
end are kept; the members that matter stand in one of them, and are taken out by searching. What is read then is an
object of these members alone.
"""

from __future__ import annotations

import json
import re

import msgspec

from ai_gateway import estimates
from ai_gateway.calls import Call
from ai_gateway.consumption import Consumption, Listener
from ai_gateway.listeners.reckoning import consumption_of
from ai_gateway.protocols.passing import Passing

HEAD = 16 * 1024
"""Bytes of the beginning that are kept."""

TAIL = 48 * 1024
"""Bytes of the end that are kept, at least: what stands behind the usage of a response can be long (metadata)."""

NAMES = ("id", "model", "responseId", "modelVersion", "service_tier", "duration", "status")
"""Members that name the answer or say how it stands, whose values are short."""

NAMES_AT_THE_END = ("responseId", "modelVersion")
"""Those of them that stand behind the answer."""

LISTS = ("webSearchQueries", "imageSearchQueries")
"""Members that say what was charged apart, whose values are lists."""

REPORTS = ("usage", "usageMetadata", "usage_info", "meta")
"""Members that say what was used, whose values are objects."""

_NAME = re.compile(rb'"(%s)"\s*:\s*("(?:[^"\\]|\\.)*"|[0-9.]+)' % "|".join(NAMES).encode())
_values = json.JSONDecoder()
_REPORT = re.compile(rb'"(%s)"\s*:\s*(?=\{)' % "|".join(REPORTS).encode())
_LIST = re.compile(rb'"(%s)"\s*:\s*(?=\[)' % "|".join(LISTS).encode())


class BodyListener(Listener):
    """Hears one body."""

    __slots__ = ("_call", "_dropped", "_head", "_passing", "_tail", "_tail_size", "has_content")

    def __init__(self, call: Call, passing: Passing) -> None:
        self._call = call
        self._passing = passing
        self._head: bytes | bytearray = b""
        self._tail: list[bytes] = []
        self._tail_size = 0
        self._dropped = 0
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
            self._tail.append(rest[-TAIL:])
            self._tail_size += len(rest)
            self._dropped += max(0, len(rest) - TAIL)
            while self._tail_size - self._dropped - len(self._tail[0]) >= TAIL:
                self._dropped += len(self._tail.pop(0))
        return data

    def consumption(self) -> Consumption | None:
        """See Listener.consumption()."""
        passing, kept = self._passing, bytes(self._head)
        if self._tail:
            kept += b"".join(self._tail)
        passing.answer(excerpt(bytes(self._head), b"".join(self._tail)) if self._dropped else kept)
        if passing.usage is None and not passing.pieces and self._call.dialect.is_generation:
            # Cut, or in an encoding of which nothing can be read. What is kept of it is text for the most part.
            passing.text = estimates.FAIR_BYTES_PER_TOKEN * estimates.likely_input_tokens(kept)
        return consumption_of(passing, self._call)


def excerpt(head: bytes, tail: bytes) -> bytes:
    """Write an object of those members of a long JSON body that tell what it used: names from where they come first,
    reports from where they come last."""
    members: dict[str, object] = {}
    for found in _NAME.finditer(head):
        members.setdefault(found[1].decode(), msgspec.Raw(found[2]))
    for found in _NAME.finditer(tail):
        if found[1].decode() in NAMES_AT_THE_END:
            members.setdefault(found[1].decode(), msgspec.Raw(found[2]))
    for part in (head, tail):
        for found in (*_REPORT.finditer(part), *_LIST.finditer(part)):
            value = _value_at(part, found.end())
            if value is not None:
                members[found[1].decode()] = value
    return msgspec.json.encode(members)


def _value_at(part: bytes, start: int) -> object:
    try:
        return _values.raw_decode(part[start : start + HEAD].decode("utf-8", "replace"))[0]
    except (ValueError, RecursionError):
        return None
