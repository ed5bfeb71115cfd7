"""The gateway's own HTTP/1.1 client: keep-alive connections, pooled by origin.

It is an `httpx.AsyncBaseTransport`, so it can be put into an `httpx.AsyncClient` and tested against httpx's own. The
gateway itself calls `send()`, which does the same without httpx's request and response objects: building those costs
more than the exchange of a small answer does.

Written because httpx's pool loses a slot when a call is cancelled while it waits (encode/httpcore#1093), which is what
every caller that hangs up does, and because its cost grows with the number of connections held open.

Rules of the pool:

1. A slot is counted from before the connection is opened until it is closed. Every way out gives it back.
2. Who waits is served in the order of arrival. A freed connection or slot goes to the first waiter directly; a newcomer
   cannot take it.
3. A request is sent again only if no byte of it was written: a pooled connection that proves dead before the write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import cast

import httpx

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest
from ai_gateway.errors import (
    ConnectFailed,
    ConnectTimeout,
    GatewayError,
    PoolTimeout,
    UpstreamClosed,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamTimeout,
)
from ai_gateway.transports import Connections, Transport
from ai_gateway.transports.connection import Connection, StaleConnection
from ai_gateway.transports.dialing import Dialer
from ai_gateway.transports.exchange import Exchange

TICK = 0.05
"""Seconds between two looks at the clock: how late a timeout may be noticed."""

DOUBT = 0.1
"""Seconds for which a connection is lent to nobody behind an error. Who asks the same provider once more does so at
once, before it is known that the connection is closed, and such a request cannot be sent again safely."""


class Pool:
    """The connections to one origin."""

    def __init__(self, origin: Origin, dialer: Dialer, *, limit: int, keep_alive: float) -> None:
        self._origin = origin
        self._dialer = dialer
        self._limit = limit
        self._keep_alive = keep_alive
        self._idle: deque[Connection] = deque()
        self._busy: set[Connection] = set()
        self._connections: set[Connection] = set()
        self._opened = 0
        self._waiters: deque[asyncio.Future[Connection | None]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def __repr__(self) -> str:
        busy, idle, waiting = self.count()
        counts = f"{busy} busy, {idle} idle, {waiting} waiting"
        return f"<Pool {self._origin.host}:{self._origin.port} [{counts}, {self._opened} of {self._limit} slots]>"

    def count(self) -> Connections:
        """Count the connections."""
        return Connections(len(self._busy), len(self._connections) - len(self._busy), len(self._waiters))

    async def acquire(self, timeouts: Timeouts) -> Connection:
        """Give a new connection, or the next that is freed. It must be released or closed."""
        connection = None
        if self._opened < self._limit:
            self._opened += 1
        else:
            connection = await self._wait(timeouts.pool)
        if connection is None:
            connection = await self._open(timeouts.connect)
        if connection in self._connections:  # Else it died on the way here, and sending will say so.
            self._lend(connection)
        return connection

    def take_idle(self) -> Connection | None:
        """Give an idle connection, if there is one. It must be released or closed."""
        oldest = self._loop.time() - self._keep_alive
        while self._idle:
            # The one used last is the least likely to have been closed by the other end.
            connection = self._idle.pop()
            if connection.is_usable(oldest):
                self._lend(connection)
                return connection
            connection.close()
        return None

    def _lend(self, connection: Connection) -> None:
        """Count a connection as busy. Only from here on is there anything to look at the clock for."""
        self._busy.add(connection)
        if self._clock is None:
            self._clock = self._loop.call_later(TICK, self._tick)

    async def _open(self, seconds: float) -> Connection:
        """Open a connection in a slot that is already counted.

        A connection that fails or is given up while it is being opened may or may not have come to life, and it reports
        its end if it had. So it counts as this pool's only from here on: the slot is given back once either way.
        """
        try:
            connection = await self._dialer.dial(self._origin, self._make, seconds)
            if not connection.is_open:
                raise ConnectFailed("The provider closed the connection at once.", detail=f"{self._origin}")
        except BaseException:
            self._free_slot()
            raise
        self._connections.add(connection)
        return connection

    def _make(self) -> Connection:
        return Connection(self._loop, self._released, self._closed)

    async def _wait(self, seconds: float) -> Connection | None:
        """Wait for a freed connection, or for a slot to open one in (None)."""
        waiter: asyncio.Future[Connection | None] = self._loop.create_future()
        self._waiters.append(waiter)
        timer = self._loop.call_later(seconds, _time_out, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            # Cancelled in the same moment in which it was served: what it was given must go on to the next.
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                self._pass_on(waiter.result())
            raise
        finally:
            timer.cancel()

    def _pass_on(self, connection: Connection | None) -> None:
        if connection is None:
            self._free_slot()
        elif connection in self._connections:  # Else it died on the way here, and its slot went to somebody else.
            self._released(connection)

    def _first_waiter(self) -> asyncio.Future[Connection | None] | None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                return waiter
        return None

    def _free_slot(self) -> None:
        waiter = self._first_waiter()
        if waiter is not None:
            waiter.set_result(None)  # The slot stays counted: it is the waiter's now.
        else:
            self._opened -= 1

    def _released(self, connection: Connection) -> None:
        self._busy.discard(connection)
        if connection.is_doubtful:
            self._doubt(connection)
            return
        waiter = self._first_waiter()
        if waiter is not None:
            waiter.set_result(connection)
            return
        connection.idle_since = self._loop.time()
        self._idle.append(connection)
        if self._reaper is None:
            self._reaper = self._loop.call_later(self._keep_alive, self._reap)

    def _doubt(self, connection: Connection) -> None:
        """Hold a connection back until the other end would have closed it; or give its slot to who waits for one."""
        if all(waiter.done() for waiter in self._waiters):
            self._loop.call_later(DOUBT, self._trust, connection)
        else:
            connection.close()

    def _trust(self, connection: Connection) -> None:
        connection.is_doubtful = False
        if connection in self._connections:  # Else it was closed.
            self._released(connection)

    def _closed(self, connection: Connection) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._free_slot()

    def _reap(self) -> None:
        """Close what has been idle for too long, and come back when the next one will be."""
        oldest = self._loop.time() - self._keep_alive
        while self._idle and self._idle[0].idle_since <= oldest:
            self._idle.popleft().close()
        wait = self._idle[0].idle_since - oldest if self._idle else None
        self._reaper = None if wait is None else self._loop.call_later(wait, self._reap)

    def _tick(self) -> None:
        """Look whose patience is over, as long as anybody waits for anything."""
        now = self._loop.time()
        for connection in list(self._busy):
            connection.look_at_clock(now)
        self._clock = self._loop.call_later(TICK, self._tick) if self._busy else None

    def interrupt(self, error: GatewayError) -> None:
        """End all that is under way or waiting. Those who wait first: the slots that the others free are not for
        them."""
        while (waiter := self._first_waiter()) is not None:
            waiter.set_exception(error)
        for connection in list(self._busy):
            connection.interrupt(error)

    def close(self) -> None:
        """Close every connection."""
        for timer in (self._reaper, self._clock):
            if timer is not None:
                timer.cancel()
        for connection in list(self._connections):
            connection.close()


def _time_out(waiter: asyncio.Future[Connection | None]) -> None:
    if not waiter.done():
        waiter.set_exception(PoolTimeout("All connections to the provider are busy. Try again shortly.", retry_after=1))


class PooledTransport(httpx.AsyncBaseTransport, Transport):
    """See the module. Options: `max_connections` per origin, `keep_alive` in seconds of idleness after which a
    connection is closed (keep it below the providers' own), `max_response_bytes`, `ca_file` in place of certifi's list.

    `allow_private` concerns requests that come in through httpx: the gateway's say it themselves, by their origin.
    """

    def __init__(
        self,
        *,
        max_connections: int = 1000,
        keep_alive: float = 20.0,
        max_response_bytes: int | None = None,
        ca_file: str | None = None,
        allow_private: bool = False,
    ) -> None:
        self._limit = max_connections
        self._keep_alive = keep_alive
        self._max_body = max_response_bytes
        self._allow_private = allow_private
        self._dialer = Dialer(ca_file=ca_file)
        self._pools: dict[Origin, Pool] = {}

    def __repr__(self) -> str:
        return f"<PooledTransport {list(self._pools.values())}>"

    async def send(self, request: UpstreamRequest, timeouts: Timeouts) -> Exchange:
        """See Transport.send()."""
        pool = self._pools.get(request.origin)
        if pool is None:
            pool = Pool(request.origin, self._dialer, limit=self._limit, keep_alive=self._keep_alive)
            self._pools[request.origin] = pool
        while True:
            connection = pool.take_idle() or await pool.acquire(timeouts)
            try:
                return await connection.send(request, timeouts, max_body=self._max_body)
            except StaleConnection:
                continue

    def sockets(self) -> Transport:
        """See Transport.sockets()."""
        return self._dialer.sockets()

    def interrupt(self, error: GatewayError) -> None:
        """See Transport.interrupt()."""
        for pool in self._pools.values():
            pool.interrupt(error)

    async def aclose(self) -> None:
        """See Transport.aclose()."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            pool.close()

    def connections(self) -> Connections:
        """See Transport.connections()."""
        counts = [pool.count() for pool in list(self._pools.values())]
        return Connections(*map(sum, zip(*counts, strict=True))) if counts else Connections(0, 0, 0)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Serve httpx. Raises httpx's exceptions."""
        try:
            exchange = await self.send(self._read_request(request), read_timeouts(request))
        except GatewayError as error:
            raise httpx_error(error, request) from error
        return httpx.Response(
            exchange.status,
            headers=exchange.headers,
            stream=ExchangeStream(exchange, request),
            extensions={"http_version": b"HTTP/1.1"},
        )

    def _read_request(self, request: httpx.Request) -> UpstreamRequest:
        url = request.url
        origin = Origin(url.scheme, url.host, url.port or (443 if url.scheme == "https" else 80), self._allow_private)
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        length = request.headers.get("content-length")
        try:
            body: bytes | AsyncIterator[bytes] = request.content
        except httpx.RequestNotRead:
            body = aiter(cast(httpx.AsyncByteStream, request.stream))
        framing = (b"host", b"content-length", b"transfer-encoding")
        return UpstreamRequest(
            method=request.method,
            origin=origin,
            target=url.raw_path,
            headers=[header for header in headers if header[0] not in framing],
            body=body,
            body_length=int(length) if length is not None else None,
        )


class ExchangeStream(httpx.AsyncByteStream):
    """An exchange's body, for httpx."""

    def __init__(self, exchange: Exchange, request: httpx.Request) -> None:
        self._exchange = exchange
        self._request = request

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while chunk := await self._exchange.read():
                yield chunk
        except GatewayError as error:
            raise httpx_error(error, self._request) from error

    async def aclose(self) -> None:
        """Close the exchange."""
        await self._exchange.aclose()


def read_timeouts(request: httpx.Request) -> Timeouts:
    """Read httpx's four timeouts; None there means no limit."""
    given = request.extensions.get("timeout", {})
    unlimited = 365 * 24 * 3600.0

    def seconds(name: str) -> float:
        value = given.get(name)
        return unlimited if value is None else float(value)

    read = seconds("read")
    return Timeouts(
        connect=seconds("connect"), pool=seconds("pool"), write=seconds("write"), first_byte=read, idle=read
    )


HTTPX_ERRORS: tuple[tuple[type[GatewayError], type[httpx.TransportError]], ...] = (
    (PoolTimeout, httpx.PoolTimeout),
    (ConnectTimeout, httpx.ConnectTimeout),
    (ConnectFailed, httpx.ConnectError),
    (UpstreamTimeout, httpx.ReadTimeout),
    (UpstreamClosed, httpx.RemoteProtocolError),
    (UpstreamProtocolError, httpx.RemoteProtocolError),
    (UpstreamError, httpx.TransportError),
)
"""What httpx calls the transport's errors, the first that fits."""


def httpx_error(error: GatewayError, request: httpx.Request) -> httpx.TransportError:
    """Translate an error of this transport into httpx's."""
    kind = next((theirs for ours, theirs in HTTPX_ERRORS if isinstance(error, ours)), httpx.TransportError)
    return kind(error.message, request=request)
