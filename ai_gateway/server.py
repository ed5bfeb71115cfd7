"""uvicorn's protocols: HTTP, writing answers in fewer steps (`cycles.py`, `gathering.py`), and websockets.

`manage.py rungateway` serves with this; everything works the same with plain uvicorn, with twelve exceptions:

- A client that would rather speak HTTP/2 says so in its first request (`Upgrade: h2c`: Java's own, `curl --http2`).
  uvicorn loses the body of that request. Here the offer is not taken up, and the request is served.
- Headers behind a body in chunks are headers of the request to uvicorn, if they come soon enough: what is in front of
  the gateway has not seen them as such. Here they are not read.
- httptools holds whatever comes of a head, or behind a body in chunks, until it is whole, and the longer that is the
  longer takes each piece of it. Here a request is refused at LONGEST_HEAD.
- A connection that uvicorn closes while its caller takes nothing of what is left would stay open for as long as the
  caller likes. Here it is cut.
- uvicorn waits for the rest of a head, and for a first request, for as long as the caller likes; and if it gets but an
  empty line, or the rest of a body behind its answer, for the next request as well. Here a head has HEAD_TIMEOUT, and
  everything else the time of an idle connection.
- Where no HTTP comes behind a request that is whole, uvicorn breaks its answer off. Here it is answered before.
- uvicorn lets as many requests wait on one connection as come, and with each answer reads some thousands more. Here
  MOST_WAITING of them may, and nothing is read while some do.
- To a request by HTTP/1.0, uvicorn says "100 Continue", which that does not know. Here it does not.
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
from functools import partial
from typing import Any, cast

import httptools
import uvicorn
from uvicorn._types import ASGISendEvent
from uvicorn.protocols.http import httptools_impl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.supervisors import Multiprocess

from ai_gateway.conf import settings
from ai_gateway.cycles import Cycle
from ai_gateway.gathering import PATIENCE, GatheringTransport
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

UNREADABLE = STATUS_LINE[400] + b"content-length: 0\r\nconnection: close\r\n\r\n"
"""The answer to a handshake of which not even the library of websockets says what is wrong with it."""

MOST_WAITING = 100
"""Requests of one connection that wait for their turn. Of the shortest, thousands fit into what the loop reads at once,
and each of them takes a hundred times as much memory as it has bytes."""

INVALID = "Invalid HTTP request received."
TOO_MANY = f"More than {MOST_WAITING} requests wait on this connection for their answers. Send fewer of them in a row."
TOO_LONG = "The head of the request is too long, or what comes behind its body."
TOO_SLOW = "The head of the request did not arrive in time."
"""What is said to somebody whose request gets no other answer."""


# uvicorn names the class in the middle of a function, so its own protocol makes these, too, in this process. To give a
# request another class once it is there would cost more than this one saves: Python has to spread the attributes of
# such an object over a dict.
httptools_impl.RequestResponseCycle = Cycle  # type: ignore[misc]


class TooManyWaiting(Exception):
    """More requests came in a row than may wait."""


class Nobody:
    """In the place of a request that the parser is wrong about."""

    response_complete = True


NOBODY = Nobody()


class Deaf:
    """In the place of the parser when nothing more is read."""

    def feed_data(self, data: bytes) -> None:
        """Let bytes pass by."""


DEAF = Deaf()


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

    @property
    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop when a caller has connected."""
        self._gathering = GatheringTransport(transport, self.loop, self._patience)
        super().connection_made(cast(asyncio.Transport, self._gathering))
        self._wait(self.timeout_keep_alive)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the event loop when the caller has hung up, or was hung up on."""
        if self._in_turn is not None and not self._in_turn.response_complete:
            self._in_turn.disconnected = True
            self._in_turn.message_event.set()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the event loop when bytes have come. As uvicorn's own, but that an offer is declined, and a head
        has its bounds."""
        cycle, came = self.cycle, len(data)
        before = len(cycle.body) if cycle is not None and cycle.more_body else None
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserError as error:
                self._end(TOO_MANY if isinstance(error.__context__, TooManyWaiting) else INVALID)
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
        """Refuse a request of which too much came since there was something of it to be given on, and give a head that
        is not whole yet its time. `cycle` is that which was being received before these bytes came, `before` how much
        of its body was there."""
        if not self._is_in_head:
            is_same = cycle is self.cycle and cycle.more_body and not cycle.response_complete
            if not is_same or len(cycle.body) != before:
                self._without_body = 0
                return
        elif not self._without_body:
            self._wait(settings.HEAD_TIMEOUT)
        self._without_body += came
        if self._without_body > LONGEST_HEAD and not self.transport.is_closing():
            self._end(TOO_LONG)

    def _wait(self, seconds: float) -> None:
        """Give the caller so much time for a request, or for the rest of its head."""
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Called when that time is over, though a request may have come and be under way."""
        if self.transport.is_closing() or not self._is_idle:
            return
        if self._is_in_head:
            self.logger.warning("A request was refused: %s", TOO_SLOW)
            self._refuse(408, TOO_SLOW)
        else:
            self.transport.close()

    def _end(self, complaint: str) -> None:
        """Read nothing more of this connection: answer what came before, say what is wrong with the rest, and close."""
        self.logger.warning("A request was refused: %s", complaint)
        self.parser, self._is_in_head = cast(httptools.HttpRequestParser, DEAF), False
        if self.pipeline and self.cycle.more_body:
            self._drop_last()
        if self._is_idle:
            self._refuse(400, complaint)
        elif not self.cycle.more_body:
            self.cycle.on_response = partial(self._end_behind, complaint)
        elif self.cycle.response_started:
            self.transport.abort()
        else:
            self._refuse(400, complaint)

    def _drop_last(self) -> None:
        """Forget the last of the requests that wait."""
        self.pipeline.popleft()
        self.cycle = self.pipeline[0][0] if self.pipeline else cast(RequestResponseCycle, self._in_turn)

    def _end_behind(self, complaint: str) -> None:
        """Called by the last request that is answered, when it is."""
        self.on_response_complete()
        if not self.transport.is_closing():
            self._refuse(400, complaint)

    def _refuse(self, status: int, complaint: str) -> None:
        """Answer in the place of the application, and close."""
        own = ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(complaint)))
        lines = b"".join(b"%b: %b\r\n" % header for header in (*self.server_state.default_headers, *own))
        self.transport.write(b"%b%bconnection: close\r\n\r\n%b" % (STATUS_LINE[status], lines, complaint.encode()))
        self.transport.close()

    def on_message_begin(self) -> None:
        """Called by the parser when a request begins: its answer will have a head. Before that may come empty lines,
        and what is left of a body behind its answer: uvicorn takes them for a reason to keep the connection."""
        self._unset_keepalive_if_required()
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
        if self.expect_100_continue and self.parser.get_http_version() == "1.0":
            self.expect_100_continue = False  # Who speaks HTTP/1.0 would take it for the answer.
        before = self.cycle
        super().on_headers_complete()
        if is_offer:
            return
        if self.pipeline:
            self._line_up(before)
        self.headers = []  # For trailers, which nobody reads.
        if self._is_leaving and self.cycle is not None:
            self.cycle.keep_alive = False

    def _line_up(self, before: RequestResponseCycle) -> None:
        """Have a request wait for its turn behind this one. Raises TooManyWaiting."""
        if len(self.pipeline) == 1:
            self._in_turn = before
        elif len(self.pipeline) > MOST_WAITING:
            self._drop_last()
            raise TooManyWaiting

    def handle_websocket_upgrade(self) -> None:
        """Called when a handshake has come: another protocol has the connection from now on."""
        self._unset_keepalive_if_required()
        super().handle_websocket_upgrade()

    def _should_upgrade(self) -> bool:
        return self._is_idle and self.parser.get_method() == b"GET" and super()._should_upgrade()

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
        if self._is_idle:
            self.loop.call_later(LINGER, self._leave)
        elif not self.cycle.response_started:
            self.cycle.keep_alive = False

    def on_response_complete(self) -> None:
        """Called by the request when its answer is complete."""
        if self.pipeline:
            self._in_turn = self.pipeline[-1][0]
            super().on_response_complete()
            if self.pipeline:
                self.flow.pause_reading()  # Else more would come with each answer than is answered by it.
        else:
            super().on_response_complete()
            if self._is_in_head:
                self._wait(settings.HEAD_TIMEOUT)
        if self._is_leaving:
            self.loop.call_later(LINGER, self._leave)

    def _patience(self) -> float:
        return HASTE if self._is_leaving and not self._is_idle else PATIENCE

    def _leave(self) -> None:
        if not self.transport.is_closing():
            super().shutdown()


class DrainingSocket(WebSocketsSansIOProtocol):
    """uvicorn's websockets, which it closes at once when it stops. Those that somebody ends in time, with an event that
    says why and a code, are left to that.

    And which it takes for forgotten, and says so in the log, if they were refused with an answer of their own.

    And of which it logs the query and, at the level of debugging, the headers and messages: here only what goes wrong.
    The gateway has a line of its own for each session.

    And which answers pings that come faster than the answers are taken, and holds these without a bound. Here the last
    one is answered then, as RFC 6455 permits (5.5.3).

    And which leaves a caller without an answer, on a connection that stays open, whose handshake the library cannot
    read: with a header of more than 8 KiB, say, or a body.
    """

    _pong = b""
    """What is due to a caller that takes nothing at the moment."""

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

    def handle_ping(self) -> None:
        """Called for each ping of the caller, to which the library has written an answer by now."""
        if self.writable.is_set():
            super().handle_ping()
        elif pongs := self.conn.data_to_send():
            self._pong = pongs[-1]

    def resume_writing(self) -> None:
        """Called by the transport when the caller takes something again."""
        super().resume_writing()
        pong, self._pong = self._pong, b""
        if pong:
            self.transport.write(pong)

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
