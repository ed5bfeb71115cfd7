"""Taking Google's streams apart: server-sent events, or one long JSON array.

Google streams events if the query has `alt=sse`, and otherwise the elements of a JSON array, each as soon as it is
there. An error may come as an array, or as a bare object, where events were asked for.
"""

from __future__ import annotations

import re

from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.sse import MAX_EVENT, EventSplitter

_MARKS = re.compile(rb'["\\{}]')
_BLANKS = b" \t\r\n"


class ObjectSplitter:
    """Takes the objects out of a stream of JSON: the elements of an array, or objects one behind the other.

    Every byte is looked at once, by a regular expression that knows what may begin or end something. What is between
    the objects is not looked at. Memory is bounded by MAX_EVENT.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._seen = 0
        self._depth = 0
        self._start = 0
        self._in_string = False
        self._escaped = -1

    def feed(self, data: bytes) -> list[tuple[str | None, bytes]]:
        """Take bytes; give the objects that are whole now. Raises UpstreamProtocolError for one that is too long."""
        self._held += data
        found: list[tuple[str | None, bytes]] = []
        for mark in _MARKS.finditer(self._held, self._seen):
            if self._ends_object(self._held[mark.start()], mark.start()):
                found.append((None, bytes(self._held[self._start : mark.end()])))
        self._seen = len(self._held)
        self._forget()
        if len(self._held) > MAX_EVENT:
            raise UpstreamProtocolError(f"The provider's stream has an event of more than {MAX_EVENT} bytes.")
        return found

    def _ends_object(self, character: int, place: int) -> bool:
        if self._in_string:
            if place != self._escaped:
                self._in_string = character != ord('"')
                self._escaped = place + 1 if character == ord("\\") else -1
            return False
        if character == ord('"'):
            self._in_string = True
        elif character == ord("{"):
            self._start = self._start if self._depth else place
            self._depth += 1
        elif character == ord("}") and self._depth:
            self._depth -= 1
            return self._depth == 0
        return False

    def _forget(self) -> None:
        """Let go of what is before the object that has begun, or of everything if none has."""
        gone = self._start if self._depth else self._seen
        del self._held[:gone]
        self._seen -= gone
        self._start -= gone
        self._escaped -= gone

    def flush(self) -> list[tuple[str | None, bytes]]:
        """The bytes are over. Half of an object is nothing."""
        return []


class GeminiSplitter:
    """Takes a stream apart, of either kind: its first byte that is no blank tells which."""

    def __init__(self) -> None:
        self._inner: EventSplitter | ObjectSplitter | None = None

    def feed(self, data: bytes) -> list[tuple[str | None, bytes]]:
        """Take bytes; give the events that are whole now. Raises UpstreamProtocolError for one that is too long."""
        if self._inner is None:
            data = data.lstrip(_BLANKS)
            if not data:
                return []
            self._inner = ObjectSplitter() if data[:1] in (b"[", b"{") else EventSplitter()
        return self._inner.feed(data)

    def flush(self) -> list[tuple[str | None, bytes]]:
        """The bytes are over; give the last event, whose blank line the upstream may have left out."""
        return self._inner.flush() if self._inner is not None else []
