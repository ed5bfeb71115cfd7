"""Taking Google's streams apart: server-sent events, or one long JSON array.

Google streams events if the query has `alt=sse`, and otherwise the elements of a JSON array, each as soon as it is
there. An error may come as an array, or as a bare object, where events were asked for.
"""

from __future__ import annotations

import re

from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.sse import MAX_EVENT, EventSplitter

_TO_BRACE = re.compile(rb'(?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
"""What stands before the next brace, whole strings among it; or before a string that is cut."""

_REST_OF_STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
"""What stands before the end of a string; or before a backslash that is the last that came."""

_BLANKS = b" \t\r\n"

QUOTE, BACKSLASH, OPENING = b'"\\{'


class ObjectSplitter:
    """Takes the objects out of a stream of JSON: the elements of an array, or objects one behind the other.

    Every byte is looked at once, by regular expressions that go from brace to brace. What is between the objects is not
    looked at. Memory is bounded by MAX_EVENT.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._seen = 0
        self._depth = 0
        self._start = 0
        self._in_string = False

    def feed(self, data: bytes) -> list[tuple[str | None, bytes]]:
        """Take bytes; give the objects that are whole now. Raises UpstreamProtocolError for one that is too long."""
        held = self._held
        held += data
        found: list[tuple[str | None, bytes]] = []
        while (place := self._next_brace()) is not None:
            if self._ends_object(place):
                found.append((None, bytes(held[self._start : place + 1])))
        self._forget()
        if len(held) > MAX_EVENT:
            raise UpstreamProtocolError(f"The provider's stream has an event of more than {MAX_EVENT} bytes.")
        return found

    def _next_brace(self) -> int | None:
        """Go on behind the next brace, and tell where it is. None: there is none in what came."""
        held = self._held
        while True:
            goes_to = _REST_OF_STRING if self._in_string else _TO_BRACE
            place = self._seen = goes_to.match(held, self._seen).end()  # type: ignore[union-attr]
            if place == len(held) or held[place] == BACKSLASH:
                return None
            self._seen = place + 1
            if held[place] != QUOTE:
                return place
            self._in_string = not self._in_string

    def _ends_object(self, place: int) -> bool:
        if self._held[place] == OPENING:
            self._start = self._start if self._depth else place
            self._depth += 1
        elif self._depth:
            self._depth -= 1
            return self._depth == 0
        return False

    def _forget(self) -> None:
        """Let go of what is before the object that has begun, or of everything if none has."""
        gone = self._start if self._depth else self._seen
        del self._held[:gone]
        self._seen -= gone
        self._start -= gone

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
