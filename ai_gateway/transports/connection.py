"""One HTTP/1.1 connection to an upstream: an asyncio protocol that feeds httptools' parser.

Rules of this file:

1. A connection carries one exchange at a time. It goes back to its pool the moment the response is whole, and only if
   the request was written to its end, the parser says keep-alive, no stray byte followed, and none is to be expected: a
   body that comes behind an answer without one (to HEAD, a 204, a 304) would be the next caller's answer.
2. After any error, and after any exchange that was given up, the connection is closed and never used again.
3. Nothing is read ahead of the reader by more than HIGH_WATER bytes: then reading from the socket stops.
4. Nobody but the reader of an exchange waits on it (`exchange.py`); the pump of an upload has a future of its own.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import AsyncIterator, Callable
from typing import cast

import httptools

from ai_gateway.calls import Headers, Timeouts, UpstreamRequest
from ai_gateway.errors import (
    BadRequest,
    ClientDisconnected,
    ConnectFailed,
    GatewayError,
    UpstreamClosed,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from ai_gateway.transports import is_status
from ai_gateway.transports.exchange import HIGH_WATER, Exchange

SMALL_BODY = 64 * 1024
"""A request body up to this many bytes goes out in one piece with its head; a longer one in pieces of this size."""

MAX_HEAD = 128 * 1024
"""Bytes of a response head. Apache takes 8 KiB a line and 100 lines, curl 300 KiB: providers stay far below 16 KiB."""

MAX_INFORMATIONAL = 16
"""1xx responses before the real one."""


TRUSTED = 0.1
"""Seconds after its last use in which a pooled connection is taken to be open without asking the kernel."""


class StaleConnection(ConnectFailed):
    """A pooled connection turned out to be closed before a byte was written to it: safe to send again."""


class Connection(asyncio.Protocol):
    """The socket, the parser, and at most one exchange. `released` is called with the connection when it is free again,
    `closed` once when it is of no use any more."""

    __slots__ = (
        "_closed",
        "_exchange",
        "_fields_size",
        "_head_received",
        "_headers",
        "_informational",
        "_is_dirty",
        "_keep_alive",
        "_parser",
        "_paused_reading",
        "_paused_writing",
        "_poll",
        "_released",
        "_room",
        "_transport",
        "_until_eof",
        "_written",
        "idle_since",
        "is_doubtful",
        "is_open",
        "loop",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        released: Callable[[Connection], None],
        closed: Callable[[Connection], None],
    ) -> None:
        self.loop = loop
        self._released = released
        self._closed = closed
        self._exchange: Exchange | None = None
        self.is_open = False
        self._paused_reading = False
        self._paused_writing = False
        self._room: asyncio.Future[None] | None = None
        self.idle_since = 0.0
        self.is_doubtful = False
        """Whether the last answer was an error: servers that are in trouble close the connection behind one."""

    def __repr__(self) -> str:
        state = "closed" if not self.is_open else "busy" if self._exchange else "idle"
        return f"<Connection {state}>"

    # The life of the socket.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop when the socket is connected (and the TLS handshake is done)."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        self.is_open = True
        self._make_parser()
        self._poll = _poller(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop when the socket is gone, from either side."""
        exchange, self._exchange = self._exchange, None
        self.close()
        if exchange is None:
            return
        exchange.lose()
        if exc is None and exchange.has_head and self._until_eof:
            exchange.finish()
        else:
            when = "in the middle of its answer" if exchange.has_head else "without an answer"
            exchange.fail(
                UpstreamClosed(f"The provider closed the connection {when}.", detail=repr(exc) if exc else None)
            )
        exchange.wake()

    def close(self) -> None:
        """Close the socket at once and tell the pool, and whoever waits for an answer on it. May be called more than
        once."""
        if not self.is_open:
            return
        self.is_open = False
        self._transport.abort()
        self._closed(self)
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.lose()
            exchange.fail(UpstreamClosed("The connection to the provider was closed."))

    def look_at_clock(self, now: float) -> None:
        """See Exchange.look_at_clock()."""
        if self._exchange is not None:
            self._exchange.look_at_clock(now)

    def interrupt(self, error: GatewayError) -> None:
        """End the exchange under way with this error."""
        if self._exchange is not None:
            self._exchange.fail(error)

    def is_usable(self, oldest: float) -> bool:
        """Whether an idle connection can take a request: open, idle since after `oldest`, and silent.

        The other end may have closed it without the event loop having looked since. Asking the kernel costs a system
        call, and saves a request that could not be sent again safely. One that was in use a moment ago is not asked.
        """
        if not self.is_open or self.idle_since < oldest or self._transport.is_closing():
            return False
        if self._poll is None or self.loop.time() - self.idle_since < TRUSTED:
            return True
        return not self._poll.poll(0)

    # Sending.

    async def send(self, request: UpstreamRequest, timeouts: Timeouts, *, max_body: int | None = None) -> Exchange:
        """Write a request and wait for the head of its answer. On any failure the connection is closed."""
        if not self.is_open or self._transport.is_closing():
            self.close()
            raise StaleConnection("The connection was closed before it could be used.")
        exchange = self._begin(request, timeouts, max_body)
        body = request.body
        try:
            if isinstance(body, bytes) and len(body) <= SMALL_BODY:
                self._transport.write(write_head(request, len(body)) + body)
                self._written = True
            else:
                await self._write(request, exchange, timeouts)
            is_in_time = True
            while not exchange.status:
                if exchange.error is not None:
                    raise exchange.error
                if not is_in_time:
                    raise UpstreamTimeout("The provider did not answer in time.")
                is_in_time = await exchange.wait(timeouts.first_byte)
        except BaseException:
            # Not `self.close()`: an answer that came in the moment in which its caller left has freed the connection,
            # and somebody else may have it by now.
            exchange.abandon()
            raise
        return exchange

    def _begin(self, request: UpstreamRequest, timeouts: Timeouts, max_body: int | None) -> Exchange:
        self._exchange = exchange = Exchange(
            self, expects_no_body=request.method == "HEAD", idle_timeout=timeouts.idle, max_body=max_body
        )
        self._headers: Headers = []
        self._head_received = 0
        self._fields_size = 0
        self._informational = 0
        self._until_eof = False
        self._is_dirty = False
        self._keep_alive = False
        self._written = False
        return exchange

    async def _write(self, request: UpstreamRequest, exchange: Exchange, timeouts: Timeouts) -> None:
        body = request.body
        if not isinstance(body, bytes):
            self._transport.write(write_head(request, request.body_length))
            pump = self._pump(body, exchange, timeouts, request.body_length)
            exchange.carry(self.loop.create_task(pump))
            return
        self._transport.write(write_head(request, len(body)))
        view = memoryview(body)
        for start in range(0, len(body), SMALL_BODY):
            self._transport.write(view[start : start + SMALL_BODY])
            if self._paused_writing and not await self._drain(exchange, timeouts.write):
                return  # The upstream answers already (a 413, say): the rest is of no interest to it.
        self._written = True

    async def _drain(self, exchange: Exchange, seconds: float) -> bool:
        """Wait for room to write. False if the answer began or the exchange ended instead."""
        is_in_time = True
        while self._paused_writing:
            if exchange.has_head or exchange.is_over:
                return False
            if not is_in_time:
                raise UpstreamTimeout("The provider did not take the request in time.")
            is_in_time = await exchange.wait(seconds)
        return True

    async def _pump(
        self, body: AsyncIterator[bytes], exchange: Exchange, timeouts: Timeouts, length: int | None
    ) -> None:
        """Write a body that is still arriving. Runs beside the reading: an upstream may answer before it has it all.

        Of one whose length was told neither more nor less is written, or the next request would begin elsewhere."""
        left = length or 0
        try:
            async for piece in body:
                if not piece:
                    continue
                if length is None:
                    self._transport.writelines((b"%x\r\n" % len(piece), piece, b"\r\n"))
                else:
                    left -= len(piece)
                    if left < 0:
                        raise BadRequest("The body of the request is longer than its head says.")
                    self._transport.write(piece)
                if not exchange.has_head:
                    exchange.wake()  # The time in which the answer must begin counts from the last piece on.
                await self._room_to_write(timeouts.write)
            if length is None:
                self._transport.write(b"0\r\n\r\n")
            elif left:
                raise BadRequest("The body of the request is shorter than its head says.")
            self._written = True
        except (GatewayError, ClientDisconnected) as error:
            exchange.fail(error)
        except Exception as error:
            exchange.fail(UpstreamClosed("The request body could not be read to its end.", detail=repr(error)))

    async def _room_to_write(self, seconds: float) -> None:
        # The exchange's waiter belongs to the reader, so the pump has a future of its own.
        if not self._paused_writing:
            return
        self._room = self.loop.create_future()
        try:
            async with asyncio.timeout(seconds):
                await self._room
        except TimeoutError:
            raise UpstreamTimeout("The provider did not take the request in time.") from None
        finally:
            self._room = None

    def pause_writing(self) -> None:
        """Called by the event loop when its buffer is full."""
        self._paused_writing = True

    def resume_writing(self) -> None:
        """Called by the event loop when its buffer has drained."""
        self._paused_writing = False
        if self._room is not None and not self._room.done():
            self._room.set_result(None)
        if self._exchange is not None:
            self._exchange.wake()

    # Receiving.

    def data_received(self, data: bytes) -> None:
        """Called by the event loop with what the upstream sent."""
        exchange = self._exchange
        if exchange is None:
            self.close()  # Nobody asked: whatever this is, it must not become the next caller's answer.
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            reason = error.__context__ if isinstance(error.__context__, UpstreamProtocolError) else None
            message = "The provider's answer is not valid HTTP."
            exchange.fail(reason or UpstreamProtocolError(message, detail=repr(error)))
            self.close()  # Also if the answer was whole before: what follows it is garbage.
            exchange.wake()
            return
        if exchange.is_over:
            self._end(exchange)
        elif not exchange.status:  # As `has_head`, whose call every chunk would pay for.
            self._head_received += len(data)
            if self._head_received > MAX_HEAD:
                exchange.fail(UpstreamProtocolError("The head of the provider's answer is too long."))
        exchange.wake()

    def _end(self, exchange: Exchange) -> None:
        """The response is whole (or failed): free the connection if it is as good as new, else close it."""
        if not self.is_open:
            return
        if self._keep_alive and self._written and not self._is_dirty and not self._paused_writing:
            self._exchange = None
            self.is_doubtful = exchange.status >= 400
            self.resume()
            self._released(self)
        else:
            self.close()

    def pause(self) -> None:
        """Read no more from the socket for now."""
        if not self._paused_reading and self.is_open:
            self._paused_reading = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read from the socket again."""
        if self._paused_reading and self.is_open:
            self._paused_reading = False
            self._transport.resume_reading()

    # Called by the parser.

    def _make_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        # RFC 9112 6.3: transfer-encoding wins over content-length. Such a connection is not used again, see below.
        self._parser.set_dangerous_leniencies(lenient_chunked_length=True)

    def on_message_begin(self) -> None:
        """Note bytes after the end of the response: they belong to nothing."""
        if self._exchange is not None and self._exchange.is_over:
            self._is_dirty = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header, or a trailer: what nobody asks for, but what has its bounds."""
        if self._is_dirty:
            return
        self._fields_size += len(name) + len(value)
        if self._fields_size > MAX_HEAD:
            raise UpstreamProtocolError("The head of the provider's answer is too long.")
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Take the head; skip a 1xx."""
        exchange = self._exchange
        if exchange is None or self._is_dirty or exchange.is_over:
            return
        status = self._parser.get_status_code()
        headers, self._headers = self._headers, []
        if not is_status(status):
            raise UpstreamProtocolError(f"The provider answered with {status}, which is no status.")
        if status < 200:
            self._informational += 1
            if status == 101 or self._informational > MAX_INFORMATIONAL:
                raise UpstreamProtocolError("The provider answered with a protocol switch, or with no end of 1xx.")
            return
        self._fields_size = 0
        self._keep_alive = self._parser.should_keep_alive()
        self._note_framing(status, headers)
        exchange.headers = headers
        exchange.status = status
        if exchange.expects_no_body:
            self._keep_alive = False
            exchange.finish()

    def _note_framing(self, status: int, headers: Headers) -> None:
        coding = length = None
        for name, value in headers:
            if name == b"transfer-encoding":
                coding = value
            elif name == b"content-length":
                length = value
        if coding is not None and length is not None:
            self._keep_alive = False
            headers[:] = [header for header in headers if header[0] != b"content-length"]
        is_chunked = coding is not None and coding.rpartition(b",")[2].strip().lower() == b"chunked"
        if status not in (204, 304):
            self._until_eof = not is_chunked and (length is None or coding is not None)
        elif coding is not None or (length is not None and length.strip(b"0")):
            self._keep_alive = False

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body, freed from its chunked coding."""
        exchange = self._exchange
        if exchange is None:
            return
        if exchange.is_over:
            self._is_dirty = True
        else:
            exchange.push(body)

    def on_message_complete(self) -> None:
        """Note the end of the response; a 1xx is not one."""
        exchange = self._exchange
        if exchange is not None and exchange.has_head and not exchange.is_over:
            exchange.finish()


def write_head(request: UpstreamRequest, body_length: int | None) -> bytes:
    """Write the request line and headers. A bodyless GET, HEAD, DELETE or OPTIONS gets no content-length. Raises
    BadRequest for what would be more lines than these."""
    lines = len(request.headers) + 3
    parts = [
        request.method.encode("ascii"),
        b" ",
        request.target,
        b" HTTP/1.1\r\nhost: ",
        request.origin.host_header,
        b"\r\n",
    ]
    for name, value in request.headers:
        parts += (name, b": ", value, b"\r\n")
    if body_length is None:
        parts.append(b"transfer-encoding: chunked\r\n")
    elif body_length or request.method in ("POST", "PUT", "PATCH"):
        parts.append(b"content-length: %d\r\n" % body_length)
    else:
        lines -= 1
    parts.append(b"\r\n")
    head = b"".join(parts)
    if head.count(b"\n") != lines + 1 or head.count(b"\r") != lines + 1 or b"\0" in head:
        raise BadRequest("The request cannot be sent to a provider: there is a line break in one of its headers.")
    return head


def _poller(transport: asyncio.BaseTransport) -> select.poll | None:
    """Make what asks the kernel whether a socket has something to read. None where there is no poll(2)."""
    sock = transport.get_extra_info("socket")
    if sock is None or not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(sock.fileno(), select.POLLIN)
    return poll
