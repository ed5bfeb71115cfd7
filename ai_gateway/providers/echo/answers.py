"""Answers that are made in memory and read like any upstream's."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from ai_gateway.calls import Headers, UpstreamResponse
from ai_gateway.errors import GatewayError, UpstreamClosed


class EchoResponse(UpstreamResponse):
    """An answer whose body is given as pieces: one per `read()`, with a pause of `delay` seconds before each but the
    first."""

    __slots__ = ("_delay", "_due_at", "_error", "_interrupted", "_is_closed", "_pieces", "_position")

    def __init__(self, status: int, headers: Headers, pieces: Sequence[bytes], delay: float = 0.0) -> None:
        self.status = status
        self.headers = headers
        self._pieces = [piece for piece in pieces if piece]
        self._position = 0
        self._delay = delay
        self._due_at: float | None = None
        self._is_closed = False
        self._error: GatewayError | None = None
        self._interrupted: asyncio.Future[None] | None = None

    def take_rest(self) -> bytes | None:
        """See UpstreamResponse.take_rest(). What comes without a pause is there from the beginning."""
        if self._delay and self._position < len(self._pieces) - 1:
            return None
        rest = b"".join(self._pieces[self._position :])
        self._position = len(self._pieces)
        return rest

    async def read(self, patience: float | None = None) -> bytes | None:
        """See UpstreamResponse.read()."""
        if self._is_closed:
            raise UpstreamClosed("The answer was closed before it was read to its end.")
        if self._position >= len(self._pieces):
            return b""
        if self._delay and self._position and not await self._wait(patience):
            return None
        if self._error is not None:
            raise self._error
        piece = self._pieces[self._position]
        self._position += 1
        self._due_at = None
        return piece

    async def _wait(self, patience: float | None) -> bool:
        """Wait until the next piece is due, but no longer than `patience`. Cancelled, it can be called again."""
        loop = asyncio.get_running_loop()
        self._interrupted = self._interrupted or loop.create_future()
        now = loop.time()
        if self._due_at is None:
            self._due_at = now + self._delay
        remaining = max(0.0, self._due_at - now)
        is_patient = patience is None or remaining <= patience
        wait = remaining if patience is None else min(remaining, patience)
        await asyncio.wait([self._interrupted], timeout=wait)
        return is_patient or self._error is not None

    def interrupt(self, error: GatewayError) -> None:
        """See UpstreamResponse.interrupt()."""
        self._error = error
        if self._interrupted is not None and not self._interrupted.done():
            self._interrupted.set_result(None)

    async def aclose(self) -> None:
        """See UpstreamResponse.aclose()."""
        self._is_closed = True


def whole(body: bytes, content_type: bytes = b"application/json", status: int = 200) -> EchoResponse:
    """Answer with one body of a known length."""
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    return EchoResponse(status, headers, [body])


def document(value: Any, status: int = 200) -> EchoResponse:
    """Answer with a JSON document."""
    return whole(msgspec.json.encode(value), status=status)


def stream(pieces: Sequence[bytes], delay: float, content_type: bytes = b"text/event-stream") -> EchoResponse:
    """Answer with a body that comes piece by piece, such as one event after the other."""
    return EchoResponse(200, [(b"content-type", content_type), (b"cache-control", b"no-cache")], pieces, delay)


def data_event(value: Any, line_end: bytes = b"\n") -> bytes:
    """Write an event without a name."""
    return b"data: " + msgspec.json.encode(value) + line_end * 2


def named_event(value: dict[str, Any]) -> bytes:
    """Write an event named by the `type` of its data."""
    return b"event: " + str(value["type"]).encode() + b"\ndata: " + msgspec.json.encode(value) + b"\n\n"
