"""Websockets to upstreams, opened over connections of a dialer. Needs the extra `realtime`.

The library has the protocol; where a connection leads is the dialer's business, as with every other call: which
addresses may be called, whose certificates are trusted, and that nothing of the environment has a say.

Nothing is compressed: sound does not get smaller, and each compressor holds 300 KB for as long as its session lasts.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from websockets.asyncio.client import ClientConnection
from websockets.client import ClientProtocol
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus, WebSocketException
from websockets.http11 import Response
from websockets.typing import Subprotocol
from websockets.uri import WebSocketURI

from ai_gateway.calls import (
    SUBPROTOCOLS,
    Headers,
    Message,
    Timeouts,
    UpstreamRequest,
    UpstreamResponse,
    UpstreamSocket,
    subprotocols_in,
)
from ai_gateway.errors import (
    ConnectFailed,
    ConnectTimeout,
    GatewayError,
    SocketClosed,
    UpstreamClosed,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from ai_gateway.transports import Transport

if TYPE_CHECKING:
    from ai_gateway.transports.dialing import Dialer

LONGEST_MESSAGE = 32 * 1024 * 1024
"""Bytes of a message of an upstream. A longer one ends its session."""

LONGEST_HANDSHAKE = 30.0
"""Seconds in which a handshake is answered, if `first_byte` is longer: no model has to think about it."""

QUEUED_FRAMES = 4
"""Frames of an upstream that wait to be taken. Then nothing more is read, and it has to wait."""

BUFFERED_BYTES = 64 * 1024
"""Bytes that an upstream has not taken. Then whoever sends has to wait."""

PONG = 300.0
"""Seconds that an upstream has to answer a ping. Its answer stands behind all that it has sent before: minutes of
speech, where a caller takes that as fast as it is played."""

FAREWELL = 2.0
"""Seconds that an upstream has to answer that a session is over."""

library_log = logging.Logger("ai_gateway.websockets", logging.WARNING)
"""The library's. Below this level it writes down headers, credentials among them, and messages: so it is none of those
that a site configures, or configures by the way."""

library_log.parent = logging.getLogger("ai_gateway")

PROTOCOL_ERRORS = frozenset((1002, 1003, 1007, 1009, 1010))
"""Codes by which this side closes a connection whose other side broke the protocol."""


class WebsocketTransport(Transport):
    """Sends a request as a websocket's handshake. The answer is a socket, or the refusal. A handshake that fails was no
    work for anybody: it is a failure to connect."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    async def send(self, request: UpstreamRequest, timeouts: Timeouts) -> UpstreamResponse:
        """See Transport.send()."""
        connection = await self._dialer.dial(request.origin, lambda: new_connection(request), timeouts.connect)
        try:
            async with asyncio.timeout(min(timeouts.first_byte, LONGEST_HANDSHAKE)):
                answer = await shake_hands(connection, request, timeouts)
        except BaseException as error:
            # Also one that is open by now: who gives up in this very moment never gets to hold it.
            connection.transport.abort()
            if isinstance(error, TimeoutError):
                late = "The provider did not accept a session in time."
                raise ConnectTimeout(late, detail=f"{request.origin}") from None
            raise
        if answer.socket is None:
            connection.transport.abort()
        return answer

    def interrupt(self, error: GatewayError) -> None:
        """See Transport.interrupt(). Sockets are ended by those who hold them."""

    async def aclose(self) -> None:
        """See Transport.aclose(). Each socket is its holder's to close."""


class Connection(ClientConnection):
    """The library's connection, which waits for an upstream that has broken the protocol to hang up. This one does
    not."""

    def data_received(self, data: bytes) -> None:
        """Called by the event loop when something has come."""
        super().data_received(data)
        if self.protocol.parser_exc is not None:
            self.transport.close()


def new_connection(request: UpstreamRequest) -> Connection:
    """Make the protocol of a connection that a request is to be sent on."""
    origin = request.origin
    path, _, query = request.target.decode("ascii").partition("?")
    names = [Subprotocol(name) for name in subprotocols_in(dict(request.headers))]
    protocol = ClientProtocol(
        WebSocketURI(origin.scheme == "https", origin.host, origin.port, path, query),
        subprotocols=names or None,
        max_size=LONGEST_MESSAGE,
        logger=library_log,
    )
    return Connection(
        protocol,
        max_queue=QUEUED_FRAMES,
        write_limit=BUFFERED_BYTES,
        close_timeout=FAREWELL,
        ping_timeout=PONG,
    )


async def shake_hands(connection: ClientConnection, request: UpstreamRequest, timeouts: Timeouts) -> UpstreamResponse:
    """Send the handshake and give the answer to it."""
    headers = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers if name != SUBPROTOCOLS
    ]
    try:
        await connection.handshake(headers, user_agent_header=None)
    except InvalidStatus as refusal:
        return Refusal(refusal.response)
    except InvalidMessage as error:
        raise ConnectFailed("The provider hung up, or did not answer in HTTP.", detail=repr(error)) from error
    except WebSocketException as error:
        raise ConnectFailed("The provider's answer opens no websocket.", detail=repr(error)) from error
    connection.start_keepalive()
    return Socket(connection, timeouts.write)


def read_headers(response: Response) -> Headers:
    """Read the headers of an answer."""
    return [
        (name.lower().encode("latin-1"), value.encode("latin-1", "replace"))
        for name, value in response.headers.raw_items()
    ]


class Refusal(UpstreamResponse):
    """An answer that opens no websocket."""

    __slots__ = ("_rest",)

    def __init__(self, response: Response) -> None:
        self.status = response.status_code
        self.headers = read_headers(response)
        self._rest = bytes(response.body)

    def take_rest(self) -> bytes | None:
        """See UpstreamResponse.take_rest()."""
        rest, self._rest = self._rest, b""
        return rest

    async def read(self, patience: float | None = None) -> bytes | None:
        """See UpstreamResponse.read()."""
        return self.take_rest()

    def interrupt(self, error: GatewayError) -> None:
        """See UpstreamResponse.interrupt(). It is there as a whole."""

    async def aclose(self) -> None:
        """See UpstreamResponse.aclose()."""


class Socket(UpstreamSocket):
    """A websocket that is open."""

    __slots__ = ("_connection", "_write_timeout")

    def __init__(self, connection: ClientConnection, write_timeout: float) -> None:
        assert connection.response is not None
        self.status = 101
        self.headers = read_headers(connection.response)
        self.subprotocol = connection.subprotocol
        self.interrupted = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._write_timeout = write_timeout

    async def receive(self) -> Message:
        """See UpstreamSocket.receive()."""
        try:
            return await self._connection.recv()
        except ConnectionClosed as closed:
            raise meaning_of(closed) from closed

    async def send(self, message: Message) -> None:
        """See UpstreamSocket.send()."""
        try:
            async with asyncio.timeout(self._write_timeout):
                await self._connection.send(message)
        except ConnectionClosed as closed:
            raise meaning_of(closed) from closed
        except TimeoutError:
            raise UpstreamTimeout("The provider did not take what it was sent in time.") from None

    async def close(self, code: int, reason: str) -> None:
        """See UpstreamSocket.close(). Waits for the answer no longer than FAREWELL."""
        await self._connection.close(code, reason)

    async def aclose(self) -> None:
        """See UpstreamResponse.aclose()."""
        self._connection.transport.abort()


def meaning_of(closed: ConnectionClosed) -> SocketClosed | GatewayError:
    """Tell what the end of a connection means: the other side said so, broke the protocol, or is gone."""
    if closed.rcvd is not None:
        return SocketClosed(closed.rcvd.code, closed.rcvd.reason, is_upstreams=True)
    if closed.sent is not None and closed.sent.code in PROTOCOL_ERRORS:
        return UpstreamProtocolError(
            "The provider broke the protocol of websockets, or sent a message that is too long.", detail=repr(closed)
        )
    return UpstreamClosed("The provider hung up in the middle of the session.", detail=repr(closed))
