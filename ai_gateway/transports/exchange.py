"""One request's answer on one connection: what the reader reads, and what the connection tells it.

The two sides meet in a list of chunks and one future. Only the reader waits, so one future at a time is enough:
whatever happens (head, bytes, end, failure, room to write) wakes it, and the reader looks for itself.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ai_gateway.calls import Headers, UpstreamResponse
from ai_gateway.errors import ClientDisconnected, GatewayError, UpstreamProtocolError, UpstreamTimeout

if TYPE_CHECKING:
    from ai_gateway.transports.connection import Connection

HIGH_WATER = 256 * 1024
"""Bytes of a response body held for a reader that is slower than the upstream."""


class Exchange(UpstreamResponse):
    """One request's answer on one connection."""

    __slots__ = (
        "_chunks",
        "_complete",
        "_connection",
        "_deadline",
        "_error",
        "_held",
        "_idle_timeout",
        "_loop",
        "_pump",
        "_received",
        "_silent",
        "_waiter",
        "expects_no_body",
        "is_over",
        "max_body",
    )

    def __init__(
        self, connection: Connection, *, expects_no_body: bool, idle_timeout: float, max_body: int | None
    ) -> None:
        self._connection: Connection | None = connection
        self._loop = connection.loop
        self._chunks: list[bytes] = []
        self._held = 0
        self._received = 0
        self._complete = False
        self._error: GatewayError | ClientDisconnected | None = None
        self._waiter: asyncio.Future[bool] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._idle_timeout = idle_timeout
        self._silent = 0.0
        self._deadline = 0.0
        self.is_over = False
        """Whether nothing more will come."""
        self.expects_no_body = expects_no_body
        self.max_body = max_body
        self.status = 0
        self.headers: Headers = []

    # What the reader does.

    def take_rest(self) -> bytes | None:
        """See UpstreamResponse.take_rest()."""
        return self._take() if self._complete else None

    async def read(self, patience: float | None = None) -> bytes | None:
        """See UpstreamResponse.read()."""
        while True:
            if self._chunks:
                return self._take()
            if self._error is not None:
                raise self._error
            if self._complete:
                return b""
            left = self._idle_timeout - self._silent
            wait = left if patience is None or patience > left else patience
            if await self.wait(wait) or not self.is_silent:
                self._silent = 0.0
            elif wait == left:
                self.fail(UpstreamTimeout("The provider stopped sending in the middle of its answer."))
            else:
                self._silent += wait
                return None

    async def aclose(self) -> None:
        """See UpstreamResponse.aclose()."""
        self.abandon()

    def interrupt(self, error: GatewayError) -> None:
        """See UpstreamResponse.interrupt()."""
        self.fail(error)

    def abandon(self) -> None:
        """Give the exchange up: a connection whose response was not read to its end is closed."""
        if self._connection is not None:
            self._connection.close()

    def _take(self) -> bytes:
        chunks, self._chunks = self._chunks, []
        if self._held > HIGH_WATER and self._connection is not None:
            self._connection.resume()
        self._held = 0
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def wait(self, seconds: float) -> asyncio.Future[bool]:
        """Give what is done as soon as anything happens: with False if nothing did for so many seconds."""
        waiter = self._waiter = self._loop.create_future()
        self._deadline = self._loop.time() + seconds
        return waiter

    def look_at_clock(self, now: float) -> None:
        """End a wait whose time is over. The pool calls this for all its exchanges a few times a second: one timer for
        all of them costs less than one for each wait."""
        if self._waiter is not None and now >= self._deadline and not self._waiter.done():
            self._waiter.set_result(False)

    # What the connection does.

    @property
    def has_head(self) -> bool:
        """Whether the final status and its headers are there."""
        return self.status != 0

    @property
    def is_silent(self) -> bool:
        """Whether there is nothing to read yet. Something may have come after the time of a wait was over, and before
        whoever waited had its turn."""
        return not self._chunks and not self.is_over

    @property
    def error(self) -> GatewayError | ClientDisconnected | None:
        """What the exchange failed with, if it did."""
        return self._error

    def push(self, body: bytes) -> None:
        """Take a piece of the body from the parser."""
        length = len(body)
        self._chunks.append(body)
        self._held += length
        self._received += length
        if self.max_body is not None and self._received > self.max_body:
            self.fail(UpstreamProtocolError(f"The provider's answer is longer than {self.max_body} bytes."))
        elif self._held > HIGH_WATER and self._connection is not None:
            self._connection.pause()

    def finish(self) -> None:
        """The response is whole: let go of the connection, keep what was not read yet."""
        self._complete = self.is_over = True
        self._connection = None
        if self._pump is not None:
            self._pump.cancel()

    def fail(self, error: GatewayError | ClientDisconnected) -> None:
        """End the exchange with an error. What had arrived before can still be read."""
        if self.is_over:
            return
        self._error = error
        self.is_over = True
        self.abandon()
        self.wake()

    def lose(self) -> None:
        """The connection is gone; nothing more will come from it."""
        self._connection = None
        if self._pump is not None:
            self._pump.cancel()

    def wake(self) -> None:
        """Let the waiter look again."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(True)

    def carry(self, pump: asyncio.Task[None]) -> None:
        """Take charge of the task that writes the request body."""
        self._pump = pump
