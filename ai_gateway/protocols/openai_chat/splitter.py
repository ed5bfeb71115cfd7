"""Taking a provider's stream apart: events, or one JSON body from a provider that does not stream though it was asked.

Some providers answer an error, or a whole answer, as JSON with the content type of a stream. Such a body is one event.
"""

from __future__ import annotations

from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.sse import MAX_EVENT, EventSplitter

BLANKS = b" \t\r\n\xef\xbb\xbf"
JSON = (b"{", b"[")


class ChatSplitter:
    """Takes one body apart. What it is, its first character that is no blank tells."""

    def __init__(self) -> None:
        self._events = EventSplitter()
        self._body: bytearray | None = None
        self._is_known = False

    def feed(self, data: bytes) -> list[tuple[str | None, bytes]]:
        """Take bytes; give the events that are whole now."""
        if not self._is_known:
            start = data.lstrip(BLANKS)
            self._is_known = bool(start)
            if start.startswith(JSON):
                self._body = bytearray()
        if self._body is None:
            return self._events.feed(data)
        self._body += data
        if len(self._body) > MAX_EVENT:
            raise UpstreamProtocolError(f"The provider's answer has more than {MAX_EVENT} bytes.")
        return []

    def flush(self) -> list[tuple[str | None, bytes]]:
        """The bytes are over; give what was still held."""
        if self._body is None:
            return self._events.flush()
        return [(None, bytes(self._body))]
