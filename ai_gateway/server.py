"""uvicorn's protocols: HTTP, writing the head of an answer and the first of its body together (`gathering.py`).

uvicorn also looks at each header of an answer by itself, with two patterns; here they are looked at together (`Cycle`).
`manage.py rungateway` serves with this; everything works the same with plain uvicorn, with eight exceptions:

- A client that would rather speak HTTP/2 says so in its first request (`Upgrade: h2c`: Java's own, `curl --http2`).
  uvicorn loses the body of that request. Here the offer is not taken up, and the request is served.
- Headers behind a body in chunks are headers of the request to uvicorn, if they come soon enough: what is in front of
  the gateway has not seen them as such. Here they are not read.
- httptools holds whatever comes of a head, or behind a body in chunks, until it is whole, and the longer that is the
  longer takes each piece of it. Here a request is refused at LONGEST_HEAD.
- A connection that uvicorn closes while its caller takes nothing of what is left would stay open for as long as the
  caller likes. Here it is cut.
- That a caller has hung up, uvicorn tells the last of several requests that it has sent in a row. Here the one that is
  being answered is told. Nor does the connection become a websocket meanwhile.
- When it stops, uvicorn closes idle connections at once, and others at the end of their answer, though its head may
  have promised to keep them. A request that is on its way then is lost, and a proxy may not send it again. Here they
  stay open a moment longer, and what still comes is answered.
- When it stops, uvicorn cuts off who has connected and was not accepted yet. Here they are let in first.
- When several workers stop, uvicorn keeps the port open until the last of them is done: who connects then waits for
  nothing. Here the port is closed first, so that a proxy goes on to the next gateway at once.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, cast

import httptools
import uvicorn
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import HEADER_RE, STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.supervisors import Multiprocess

from ai_gateway.gathering import PATIENCE, GatheringTransport
from ai_gateway.guard import IS_WHOLE
from ai_gateway.packet_filter import turn_away
from ai_gateway.sockets import DRAINS
from ai_gateway.transports.websocket import library_log

HASTE = 0.2
"""The patience when the server stops, and what is left is of an answer that was broken off."""

LINGER = 1.0
"""Seconds for which an idle connection stays open when the server stops. By then the other side has found the port
closed, or had been about to send a request, which has arrived."""

AT_THE_DOOR = 0.02
"""Seconds in which who has connected is accepted, when nobody new is and before the port is closed."""

LONGEST_HEAD = 512 * 1024
"""Bytes of a head that is not whole yet, and of what comes behind a body. The gateway takes less of one that is
(`intake.py`), and says so in the caller's format; this is more than the loop reads at once, where a head may begin."""

UPGRADES = frozenset((b"upgrade", b"http2-settings"))
"""Headers that offer another protocol, and what they are called in the header `connection`."""

CONTROL = bytes((*range(9), *range(10, 32), 127))
"""Characters that no value of a header may have."""

UNREADABLE = STATUS_LINE[400] + b"content-length: 0\r\nconnection: close\r\n\r\n"
"""The answer to a handshake of which not even the library of websockets says what is wrong with it."""

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


# uvicorn names the class in the middle of a function, so its own protocol makes these, too, in this process. To give a
# request another class once it is there would cost more than this one saves: Python has to spread the attributes of
# such an object over a dict.
httptools_impl.RequestResponseCycle = Cycle  # type: ignore[misc]


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


class Nobody:
    """In the place of a request that the parser is wrong about."""

    response_complete = True


NOBODY = Nobody()


class GatheringProtocol(HttpToolsProtocol):
    """uvicorn's protocol on httptools, with a transport that gathers."""

    _is_leaving = False
    _declined: tuple[bytes, RequestResponseCycle] | None = None
    """The head of a request whose offer of another protocol was declined, and the request before it."""

    _in_turn: RequestResponseCycle | None = None
    """The request that is being answered, if others wait behind it."""

    _is_in_head = False
    _without_body = 0
    """Bytes that came since the head began, or since a piece of the body did."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop when a caller has connected."""
        self._gathering = GatheringTransport(transport, self.loop, self._patience)
        super().connection_made(cast(asyncio.Transport, self._gathering))

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop when the caller has hung up, or was hung up on."""
        if self._in_turn is not None and not self._in_turn.response_complete:
            self._in_turn.disconnected = True
            self._in_turn.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop when bytes have come. As uvicorn's own, but that an offer is declined, and a head
        has its bounds."""
        self._unset_keepalive_if_required()
        cycle, came = self.cycle, len(data)
        before = len(cycle.body) if cycle is not None and cycle.more_body else None
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserError:
                message = "Invalid HTTP request received."
                self.logger.warning(message)
                self.send_400_response(message)
            except httptools.HttpParserUpgrade as end:
                if self._declined is not None:
                    (head, self.cycle), self._declined = self._declined, None
                    data = head + data[end.args[0] :]
                    self.parser = httptools.HttpRequestParser(self)
                    self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # As uvicorn has it.
                    continue
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                else:
                    self._unsupported_upgrade_warning()
            break
        if self._is_in_head or before is not None:
            self._bound(came, cycle, before)

    def _bound(self, came: int, cycle: RequestResponseCycle, before: int | None) -> None:
        """Refuse a request of which too much came since there was something of it to be given on. `cycle` is that which
        was being received before these bytes came, `before` how much of its body was there."""
        if not self._is_in_head:
            is_same = cycle is self.cycle and cycle.more_body and not cycle.response_complete
            if not is_same or len(cycle.body) != before:
                self._without_body = 0
                return
        self._without_body += came
        if self._without_body <= LONGEST_HEAD or self.transport.is_closing():
            return
        self.logger.warning("A request was refused: its head is too long, or what comes behind its body.")
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()
        else:
            self.send_400_response("The head of the request is too long.")

    def on_message_begin(self) -> None:
        """Called by the parser when a request begins: its answer will have a head."""
        super().on_message_begin()
        self._gathering.expect_head()
        self._is_in_head, self._without_body = True, 0

    def on_headers_complete(self) -> None:
        """Called by the parser when the head of a request is there."""
        self._is_in_head = False
        is_offer = self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers)
        if is_offer and not self._should_upgrade():
            self._decline()
            return
        before = self.cycle
        super().on_headers_complete()
        if is_offer:
            return
        if len(self.pipeline) == 1:
            self._in_turn = before
        self.headers = []  # For trailers, which nobody reads.
        if self._is_leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def _should_upgrade(self) -> bool:
        is_idle = self.cycle is None or self.cycle.response_complete
        return is_idle and self.parser.get_method() == b"GET" and super()._should_upgrade()

    def _decline(self) -> None:
        """Keep the head of a request without the offer of another protocol. The parser thinks that it has no body, and
        ends it; then another one is told the head once more."""
        head = [self.parser.get_method(), b" ", self.url, b" HTTP/", self.parser.get_http_version().encode(), b"\r\n"]
        for name, value in self.headers:
            if name == b"connection":
                value = b",".join(each for each in value.split(b",") if each.strip().lower() not in UPGRADES)
            if name not in UPGRADES:
                head += (name, b": ", value, b"\r\n")
        self._declined = b"".join((*head, b"\r\n")), self.cycle
        self.cycle = cast(RequestResponseCycle, NOBODY)

    def shutdown(self) -> None:
        """Called by the server when it stops, and takes no more connections."""
        self._is_leaving = True
        if self.cycle is None or self.cycle.response_complete:
            self.loop.call_later(LINGER, self._leave)
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Called by the request when its answer is complete."""
        if self.pipeline:
            self._in_turn = self.pipeline[-1][0]
        super().on_response_complete()
        if self._is_leaving:
            self.loop.call_later(LINGER, self._leave)

    def _patience(self) -> float:
        is_broken = self.cycle is not None and not self.cycle.response_complete
        return HASTE if self._is_leaving and is_broken else PATIENCE

    def _leave(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()


class DrainingSocket(WebSocketsSansIOProtocol):
    """uvicorn's websockets, which it closes at once when it stops. Those that somebody ends in time, with an event that
    says why and a code, are left to that.

    And which it takes for forgotten, and says so in the log, if they were refused with an answer of their own.

    And of which it logs the query and, at the level of debugging, the headers and messages: here only what goes wrong.
    The gateway has a line of its own for each session.

    And which leaves a caller without an answer, on a connection that stays open, whose handshake the library cannot
    read: with a header of more than 8 KiB, say, or a body.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = library_log

    def data_received(self, data: bytes) -> None:
        """Called by the event loop when bytes have come."""
        super().data_received(data)
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            self.handshake_complete = self.close_sent = True
            self.transport.write(b"".join(self.conn.data_to_send()) or UNREADABLE)
            self.transport.close()

    async def send(self, message: ASGISendEvent) -> None:
        """Called by the application."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True

    def shutdown(self) -> None:
        """Called by the server when it stops, and takes no more connections."""
        scope = getattr(self, "scope", None)
        if scope is None or self.close_sent or not scope.get(DRAINS):
            super().shutdown()


class Server(uvicorn.Server):
    """uvicorn's server, letting in who is at the door before it closes."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Called when it was told to stop."""
        for server in self.servers:
            for listener in server.sockets:
                turn_away(listener)
        for _ in range(2):  # A turn of the loop lies in between, if the process was kept from running.
            await asyncio.sleep(AT_THE_DOOR / 2)
        await super().shutdown(sockets)


class Supervisor(Multiprocess):
    """uvicorn's supervisor of several workers, closing their port before they are told to stop.

    `delay` is DRAIN_DELAY, for which the workers go on taking connections: in that time everybody has gone elsewhere.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket], *, delay: float) -> None:
        super().__init__(config, sockets)
        self._delay = delay

    def terminate_all(self) -> None:
        """Called when it was told to stop: tell the workers."""
        for listener in self.sockets:
            if not self._delay:
                turn_away(listener)
            listener.close()
        time.sleep(AT_THE_DOOR)
        super().terminate_all()
