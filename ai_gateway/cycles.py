"""uvicorn's request with its answer, which is written in fewer steps.

uvicorn looks at each header of an answer by itself, with two patterns; here they are looked at together. And what is
known to be whole leaves together with its head (`gathering.py`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, cast

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http.httptools_impl import HEADER_RE, STATUS_LINE, RequestResponseCycle

from ai_gateway.gathering import GatheringTransport
from ai_gateway.guard import IS_WHOLE

CONTROL = bytes((*range(9), *range(10, 32), 127))
"""Characters that no value of a header may have."""

NO_BODY = frozenset((204, 304))
"""Statuses of answers that have neither a body nor a way to end it."""


class Done(tuple[()]):
    """What `send` gives if there is nothing to wait for: a coroutine would cost more than all that it had to do."""

    __slots__ = ()

    __await__ = tuple.__iter__


DONE = cast(Awaitable[None], Done())


class Cycle(RequestResponseCycle):
    """uvicorn's request with its answer, writing what is usual in fewer steps.

    What is not (a caller that takes no more, headers that say how a body is framed, names in capitals, whatever is
    wrong) is left to uvicorn, so that there is one who says what it leads to.
    """

    _is_begun = False
    """Whether the head of the answer was written here, and its body can be."""

    _held = b""
    """A head whose body comes at once."""

    def send(self, message: ASGISendEvent) -> Awaitable[None]:  # type: ignore[override]
        """Called by the application."""
        if self.flow.write_paused or self.disconnected or self.response_complete:
            return self._send_by_uvicorn(message)
        if not self._is_begun:
            is_sent = not self.response_started and self._send_head(message)
            return DONE if is_sent else self._send_by_uvicorn(message)
        if message["type"] != "http.response.body":
            return self._send_by_uvicorn(message)
        data, is_last = message.get("body", b""), not message.get("more_body")
        if self.chunked_encoding:
            if data:
                data = b"%x\r\n%b\r\n" % (len(data), data)
            if is_last:
                data += b"0\r\n\r\n"
        elif not self._fits(len(data), is_last):
            return self._send_by_uvicorn(message)
        if self._held:
            cast(GatheringTransport, self.transport).write_with_head(self._held + data)
            self._held = b""
        else:
            self.transport.write(data)
        if is_last:
            self._complete()
        return DONE

    def _fits(self, length: int, is_last: bool) -> bool:
        """Whether the body is, with so many bytes more, as long as its head says."""
        left = self.expected_content_length - length
        if left < 0 or (is_last and left):
            return False
        self.expected_content_length = left
        return True

    def _send_by_uvicorn(self, message: ASGISendEvent) -> Awaitable[None]:
        if self._held:
            self.transport.write(self._held)
            self._held = b""
        return super().send(message)

    def _send_head(self, message: Any) -> bool:
        """Write the head of an answer, or hold it if the body comes at once. Tell whether that was done."""
        if message["type"] != "http.response.start" or self.access_log or self.scope["method"] == "HEAD":
            return False
        headers, status = [*self.default_headers, *message.get("headers", ())], message["status"]
        fields = dict(headers)
        lines = written(headers, fields)
        length = fields.get(b"content-length")
        if lines is None or status not in STATUS_LINE or not (length is None or length.isdigit()):
            return False
        if not self.keep_alive:
            lines += b"connection: close\r\n"
        if length is not None:
            self.expected_content_length = int(length)
            self.chunked_encoding = False
        elif status not in NO_BODY:
            self.chunked_encoding = True
            lines += b"transfer-encoding: chunked\r\n"
        is_held = IS_WHOLE in message and isinstance(cast(object, self.transport), GatheringTransport)
        self._begin(b"%b%b\r\n" % (STATUS_LINE[status], lines), is_held=is_held)
        return True

    def _begin(self, head: bytes, *, is_held: bool) -> None:
        self._is_begun = self.response_started = True
        self.waiting_for_100_continue = False
        self._held = head if is_held else b""
        if not is_held:
            self.transport.write(head)

    def _complete(self) -> None:
        self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


def written(headers: Sequence[tuple[bytes, bytes]], fields: Mapping[bytes, bytes]) -> bytes | None:
    """Write the lines of headers. None if there is anything about them that uvicorn has to see to: what must not be,
    names in capitals or more than once, and headers that say how a body is framed."""
    names = b"".join(fields)
    if len(fields) != len(headers) or not names.islower() or HEADER_RE.search(names) is not None:
        return None
    if b"connection" in fields or b"transfer-encoding" in fields:
        return None
    lines = b"\r\n".join(map(b": ".join, headers))
    line_ends = 2 * (len(headers) - 1)
    if len(lines.translate(None, CONTROL)) + line_ends != len(lines):
        return None
    return lines + b"\r\n"
