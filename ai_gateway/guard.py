"""What stands between the server and one request on a gateway path, whichever door it goes through.

It reads the body within its limits of size and time before anything is buffered (uvicorn and Django have no such
limits), and notices a caller that hangs up or takes no more of its answer.

Costs are kept off the common path: a task that waits for the caller to hang up is made only for a call that lasts long
enough for the watch to come by.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from typing import Any

from ai_gateway.calls import Arrival, IncomingBody, Reply
from ai_gateway.errors import ClientDisconnected, GatewayError, LengthUnknown, RequestTimeout
from ai_gateway.intake import content_length, has_body, too_large
from ai_gateway.overload import Entrant

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

IS_WHOLE = "ai_gateway.is_whole"
"""Stands in the message with the head of an answer whose body follows at once. Servers that do not know it overlook it.
"""

WATCH_INTERVAL = 0.2
"""Seconds between two looks. From the first one on that a call meets, its caller's hanging up is noticed at once."""

LINGER_BYTES = 64 * 1024 * 1024
LINGER_SECONDS = 2.0
"""How much of a refused request body is read and thrown away, so that the caller gets to see the answer: a socket
closed with unread bytes in it resets the connection, and the answer is lost with it."""

LINGER_AT_THE_END = 0.5
"""The same in seconds when the process is stopping: a server that loses patience ends the connection in its own way."""

STUCK_AT_THE_END = 0.3
"""Seconds in which a caller must take something of an answer that is ended. Its end, an error, waits behind what is
not taken."""

MOST_HELD = 64 * 1024 * 1024
"""Bytes of an answer without a length that are held for an HTTP/1.0 caller."""

SMALL_REMAINDER = 64 * 1024
"""An unread body up to this many bytes is left to the server, which skips it and keeps the connection."""


class Watched(ABC):
    """What is looked after while it lasts."""

    __slots__ = ()

    @abstractmethod
    def look(self, now: float) -> None:
        """See what has to be done."""

    @abstractmethod
    def end(self, error: GatewayError) -> None:
        """End the call with this error, unless its answer has begun. The door sends it."""

    @abstractmethod
    def unwatched(self) -> None:
        """End the watch."""


class Watch:
    """Looks after the guards of one event loop, all of them with one timer: one for each would cost every call more."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._guards: set[Watched] = set()
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, guard: Watched) -> None:
        """Look after a guard from now on."""
        self._guards.add(guard)
        if self._timer is None:
            self._timer = self._loop.call_later(WATCH_INTERVAL, self._look)

    def end(self, guard: Watched) -> None:
        """Look after a guard no longer."""
        self._guards.discard(guard)
        guard.unwatched()

    def end_calls(self, error: GatewayError) -> None:
        """End every call whose answer has not begun. One that has is ended by the transport, through its stream, if
        its caller takes what comes."""
        for guard in list(self._guards):
            guard.end(error)

    def _look(self) -> None:
        now = self._loop.time()
        for guard in list(self._guards):
            guard.look(now)
        self._timer = self._loop.call_later(WATCH_INTERVAL, self._look) if self._guards else None


class Guard(IncomingBody, Watched, Entrant):
    """Guards one request. Made in the task that serves it."""

    __slots__ = (
        "_early",
        "_is_done",
        "_is_listening",
        "_is_slow",
        "_loop",
        "_receive",
        "_send",
        "_send_timeout",
        "_sending_since",
        "_task",
        "_watcher",
        "ended_by",
        "has_begun",
        "has_place",
        "is_finished",
        "is_gone",
        "read_until",
    )

    def __init__(self, receive: Receive, send: Send, loop: asyncio.AbstractEventLoop, *, send_timeout: float) -> None:
        self._receive = receive
        self._send = send
        self._send_timeout = send_timeout
        self._sending_since: float | None = None
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._watcher: asyncio.Task[None] | None = None
        self._is_slow = False
        self._is_done = False
        self._is_listening = False
        self._early: deque[Message] | None = None
        self.has_begun = False
        self.has_place = False
        self.is_finished = False
        self.is_gone = False
        self.read_until: float | None = None
        self.ended_by: GatewayError | None = None

    # The body.

    async def read(self, limit: int, seconds: float) -> bytes:
        """See IncomingBody.read(). The watch keeps the time: it costs nothing where the body is there already."""
        parts: list[bytes] = []
        total = 0
        self.read_until = self._loop.time() + seconds
        try:
            while not self.is_finished:
                part = await self.next()
                total += len(part)
                if total > limit:
                    raise too_large(limit)
                parts.append(part)
        except TimeoutError:
            raise too_slow(seconds) from None
        finally:
            self.read_until = None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def pieces(self, limit: int, seconds: float) -> AsyncIterator[bytes]:
        """See IncomingBody.pieces()."""
        total = 0
        while not self.is_finished:
            try:
                async with asyncio.timeout(seconds):
                    piece = await self.next()
            except TimeoutError:
                raise too_slow(seconds) from None
            total += len(piece)
            if total > limit:
                raise too_large(limit)
            if piece:
                yield piece

    async def next(self) -> bytes:
        """Receive the next piece, however long it is. Raises ClientDisconnected; TimeoutError after `read_until`, if
        the task that serves the request has set it."""
        try:
            message = self._early.popleft() if self._early else await self._receive()
        except asyncio.CancelledError:
            if self._task is None or not self._is_slow:
                raise
            self._task.uncancel()
            raise TimeoutError from None
        if message["type"] == "http.disconnect":
            self.is_gone = True
            raise ClientDisconnected
        self.is_finished = not message.get("more_body", False)
        body: bytes = message.get("body", b"")
        return body

    def has_unread(self, fields: Mapping[bytes, bytes]) -> bool:
        """Whether so much of the body is unread that the connection cannot serve another request."""
        if self.is_finished or not has_body(fields):
            return False
        length = fields.get(b"content-length", b"")
        return not length.isdigit() or int(length) > SMALL_REMAINDER

    @property
    def patience(self) -> float:
        """How many seconds to linger."""
        return LINGER_SECONDS if self.ended_by is None else LINGER_AT_THE_END

    async def linger(self) -> None:
        """Read what is left of the body, within limits, and throw it away."""
        left = LINGER_BYTES
        try:
            async with asyncio.timeout(self.patience):
                while not self.is_finished and left > 0:
                    left -= len(await self.next())
        except (TimeoutError, ClientDisconnected):
            return

    @contextmanager
    def waiting(self, fields: Mapping[bytes, bytes]) -> Iterator[None]:
        """See Entrant.waiting(). That a caller hangs up is heard behind its body only. One that the server holds anyway
        is received early; a longer one, or one that is sent only when it is asked for, may never be wanted."""
        length = content_length(fields) if has_body(fields) else 0
        self._is_listening = length is not None and length <= SMALL_REMAINDER and b"expect" not in fields
        try:
            yield
        finally:
            self._is_listening = False
            if self._watcher is not None and not self.is_finished:
                self._watcher.cancel()
                self._watcher = None

    # The answer.

    async def send(self, message: Message) -> None:
        """Send a message, noting since when, so that a caller that takes nothing is noticed."""
        self.has_begun = True
        self._sending_since = self._loop.time()
        await self._send(message)
        self._sending_since = None

    async def finish(self, message: Message) -> None:
        """Send the last message. What the server says after it is no news of the caller."""
        self._is_done = True
        await self.send(message)

    async def reply(self, reply: Reply, arrival: Arrival) -> None:
        """Send a reply and close it. A body that ended before it was whole is left without an end: the server cuts
        it."""
        body = reply.body
        if isinstance(body, bytes):
            await self._reply_whole(reply, body, arrival)
            return
        try:
            await self.send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
            async for chunk in body:  # What `send` does, without a coroutine of its own for every chunk.
                self._sending_since = self._loop.time()
                await self._send({"type": "http.response.body", "body": chunk, "more_body": True})
                self._sending_since = None
            self._is_done = True
            if not body.is_broken:
                await self.send({"type": "http.response.body", "body": b""})
        finally:
            await body.aclose()

    async def _reply_whole(self, reply: Reply, body: bytes, arrival: Arrival) -> None:
        headers = reply.headers
        is_unread = not self.is_finished and self.has_unread(arrival.fields)
        if is_unread:
            headers = [*headers, (b"connection", b"close")]
        self.has_begun = True
        self._sending_since = self._loop.time()
        await self._send({"type": "http.response.start", "status": reply.status, "headers": headers, IS_WHOLE: True})
        if is_unread:
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            await self.linger()
            body = b""
        self._is_done = True
        await self._send({"type": "http.response.body", "body": body})
        self._sending_since = None

    def give_lengths(self, refusal: Callable[[GatewayError], Reply]) -> None:
        """Have every answer sent in HTTP/1.0's way. See unchunked()."""
        self._send = unchunked(self._send, refusal)

    # The watch.

    def watched(self) -> Guard:
        """Begin to be watched, in the task that is to be cancelled when the caller takes nothing for too long, or hangs
        up."""
        self._task = asyncio.current_task(self._loop)
        return self

    def unwatched(self) -> None:
        """See Watched.unwatched()."""
        self._is_done = True
        if self._watcher is not None:
            self._watcher.cancel()

    def look(self, now: float) -> None:
        """See Watched.look()."""
        if self._watcher is None and (self._is_listening or self.is_finished):
            self._watcher = self._loop.create_task(self._await_disconnect())
        if self.read_until is not None and now > self.read_until and self._task is not None:
            self._is_slow = True
            self._task.cancel()
        patience = self._send_timeout if self.ended_by is None else min(self._send_timeout, STUCK_AT_THE_END)
        is_stuck = self._sending_since is not None and now - self._sending_since > patience
        if is_stuck and not self.is_gone:
            self.is_gone = True
            self._break_off()

    async def _await_disconnect(self) -> None:
        while (message := await self._receive())["type"] != "http.disconnect":
            if not self.is_finished:
                self._early = self._early or deque()
                self._early.append(message)
        # The server says "disconnect" after a complete answer, too: that is not one.
        if not self._is_done:
            self.is_gone = True
            self._break_off()

    def end(self, error: GatewayError) -> None:
        """See Watched.end()."""
        self.ended_by = error
        if not self.has_begun:
            self._break_off()

    def _break_off(self) -> None:
        if self._task is not None:
            self._task.cancel()


def too_slow(seconds: float) -> RequestTimeout:
    """Make the error for a body that takes too long."""
    return RequestTimeout(f"The request body did not arrive within {seconds:g} seconds.")


def unchunked(send: Send, refusal: Callable[[GatewayError], Reply]) -> Send:
    """Wrap `send` for an HTTP/1.0 caller, who knows no chunked coding: hold an answer without a length and give it
    one. In the place of one that is too long to be held goes what `refusal` makes of the error, and then
    ClientDisconnected is raised: nothing more is of use.

    Such an answer could as well be ended by the end of the connection; but there are servers (uvicorn with httptools)
    that write chunks in any case.
    """
    held: list[bytes] = []
    start: Message = {}
    length = 0

    async def hold(message: Message) -> None:
        nonlocal length
        if message["type"] == "http.response.start" and not _has_length(message):
            start.update(message)
            return
        if not start:
            await send(message)
            return
        held.append(message.get("body", b""))
        length += len(held[-1])
        if length > MOST_HELD:
            held.clear()
            await _send_whole(send, refusal(too_long()))
            raise ClientDisconnected
        if not message.get("more_body", False):
            start["headers"] = [*start["headers"], (b"content-length", b"%d" % length)]
            await send(start)
            await send({"type": "http.response.body", "body": b"".join(held)})

    return hold


async def _send_whole(send: Send, reply: Reply) -> None:
    await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
    await send({"type": "http.response.body", "body": reply.body})


def too_long() -> LengthUnknown:
    """Make the error for an answer that HTTP/1.0 has no way for."""
    return LengthUnknown(
        f"This answer has more than {MOST_HELD} bytes and no length, so it needs HTTP/1.1. A proxy in front of the "
        "gateway may have to be told: proxy_http_version 1.1."
    )


def _has_length(start: Message) -> bool:
    return any(name.lower() == b"content-length" for name, _ in start["headers"])
