"""httpx's own transport in the gateway's place: for HTTP/2, outbound proxies and SOCKS.

Slower by an order of magnitude than `pooled`, and its pool can lose slots when callers hang up (encode/httpcore#1093):
choose it for what `pooled` cannot do. A provider that refuses an upload without reading it is heard only when the time
to write is over, and so is not. Any `httpx.AsyncBaseTransport` can be wrapped, a mock in a test among them.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import certifi
import httpx

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest, UpstreamResponse
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
from ai_gateway.transports import Transport, is_status
from ai_gateway.transports.dialing import Dialer
from ai_gateway.transports.tunnels import TunnelDialer, read_proxy

NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
VALUE = re.compile(rb"[\t -~\x80-\xff]*")
"""What a header is made of. httpx passes on more than a server can write, and would break off in the middle of it."""

GATEWAY_ERRORS: tuple[tuple[type[httpx.TransportError], type[GatewayError], str], ...] = (
    (httpx.PoolTimeout, PoolTimeout, "All connections to the provider are busy. Try again shortly."),
    (httpx.ConnectTimeout, ConnectTimeout, "The provider did not accept a connection in time."),
    (httpx.ConnectError, ConnectFailed, "The provider cannot be reached."),
    (httpx.ProxyError, ConnectFailed, "The outbound proxy refused the connection."),
    (httpx.UnsupportedProtocol, ConnectFailed, "The provider's base URL has an unsupported scheme."),
    (httpx.WriteTimeout, UpstreamTimeout, "The provider did not take the request in time."),
    (httpx.TimeoutException, UpstreamTimeout, "The provider did not answer in time."),
    (httpx.LocalProtocolError, UpstreamProtocolError, "The request cannot be written as HTTP."),
    (httpx.RemoteProtocolError, UpstreamClosed, "The provider closed the connection or broke the protocol."),
    (httpx.NetworkError, UpstreamClosed, "The connection to the provider broke."),
    (httpx.TransportError, UpstreamError, "The provider's side failed."),
)
"""What the gateway calls httpx's errors, the first that fits."""


def gateway_error(error: httpx.TransportError) -> GatewayError:
    """Translate one of httpx's errors into the gateway's."""
    for theirs, ours, message in GATEWAY_ERRORS:
        if isinstance(error, theirs):
            return ours(message, detail=repr(error))
    return UpstreamError("The provider's side failed.", detail=repr(error))


class HttpxTransport(Transport):
    """See the module. Options: `http2`, `proxy`, `max_connections`, `keep_alive`, `ca_file`; or a ready `transport`."""

    def __init__(
        self,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        http2: bool = False,
        proxy: str | None = None,
        max_connections: int = 1000,
        keep_alive: float = 20.0,
        ca_file: str | None = None,
    ) -> None:
        limits = httpx.Limits(max_connections=max_connections, keepalive_expiry=keep_alive)
        self._transport = transport or httpx.AsyncHTTPTransport(
            http2=http2,
            proxy=None if proxy is None else read_proxy(proxy),
            limits=limits,
            # Proxies and certificates of the environment are not for a gateway: it would hand them its keys.
            trust_env=False,
            verify=ssl.create_default_context(cafile=ca_file or certifi.where()),
        )
        # Opens websockets, which httpx has none of.
        self._dialer = new_dialer(proxy, ca_file) if transport is None else None
        # Which addresses may be called is the proxy's business, if there is one.
        self._checker = self._dialer if proxy is None else None
        self._active: set[HttpxResponse] = set()
        self._leaving: set[asyncio.Task[None]] = set()
        """What tidies up behind callers that hung up: asyncio itself holds tasks only weakly."""

    async def send(self, request: UpstreamRequest, timeouts: Timeouts) -> HttpxResponse:
        """See Transport.send()."""
        if self._checker is not None and not request.origin.allow_private:
            await _check_address(self._checker, request.origin, timeouts.connect)
        try:
            response = await self._ask(_write_request(request, timeouts), timeouts.first_byte)
        except httpx.TransportError as error:
            raise gateway_error(error) from error
        answer = HttpxResponse(response, timeouts, self._active.discard)
        self._active.add(answer)
        problem = answer.problem
        if problem is not None:
            await answer.aclose()
            raise UpstreamProtocolError(problem)
        return answer

    async def _ask(self, request: httpx.Request, seconds: float) -> httpx.Response:
        """Send a request in a task of its own, which is cancelled once at most: httpcore waits while it tidies up, and
        whoever is cancelled there leaves a slot of its pool taken for ever. The answer must begin within so many
        seconds after the request's body: httpx has one timeout for that and for every read after it."""
        loop = asyncio.get_running_loop()
        asking = loop.create_task(self._transport.handle_async_request(request))
        first: list[asyncio.Future[Any]] = [asking, cast(SentStream, request.stream).sent]
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                await asyncio.wait([asking], timeout=seconds)
        except asyncio.CancelledError:
            self._give_up(asking)
            raise
        if not asking.done():
            self._give_up(asking)
            raise UpstreamTimeout("The provider did not answer in time.")
        return asking.result()

    def _give_up(self, asking: asyncio.Task[httpx.Response]) -> None:
        asking.cancel()
        leaving = asyncio.get_running_loop().create_task(_leave(asking))
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    def sockets(self) -> Transport:
        """See Transport.sockets()."""
        return self._dialer.sockets() if self._dialer is not None else super().sockets()

    def interrupt(self, error: GatewayError) -> None:
        """See Transport.interrupt()."""
        for response in list(self._active):
            response.interrupt(error)

    async def aclose(self) -> None:
        """See Transport.aclose()."""
        await self._transport.aclose()


def new_dialer(proxy: str | None, ca_file: str | None) -> Dialer:
    """Make what opens connections where httpx does not: through the proxy, if there is one."""
    return Dialer(ca_file=ca_file) if proxy is None else TunnelDialer(proxy, ca_file=ca_file)


async def _check_address(dialer: Dialer, origin: Origin, seconds: float) -> None:
    """Resolve a host. httpx does so once more when it connects; the transport that pins the address is `pooled`."""
    try:
        async with asyncio.timeout(seconds):
            await dialer.resolve(origin)
    except TimeoutError:
        raise ConnectTimeout("The provider's host name was not resolved in time.", detail=f"{origin}") from None


async def _leave(asking: asyncio.Task[httpx.Response]) -> None:
    """Close an answer that came, in spite of all, after its caller had left."""
    await asyncio.wait([asking])
    if not asking.cancelled() and asking.exception() is None:
        await asking.result().aclose()


def _write_request(request: UpstreamRequest, timeouts: Timeouts) -> httpx.Request:
    origin = request.origin
    url = f"{origin.scheme}://{origin.host_header.decode()}{request.target.decode()}"
    headers = [(b"host", origin.host_header), *request.headers]
    if isinstance(request.body, bytes):
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers.append((b"content-length", b"%d" % len(request.body)))
        pieces = _single(request.body)
    else:
        length = request.body_length
        framing = (b"transfer-encoding", b"chunked") if length is None else (b"content-length", b"%d" % length)
        headers.append(framing)
        pieces = request.body
    seconds = {
        "connect": timeouts.connect,
        "pool": timeouts.pool,
        "write": timeouts.write,
        "read": max(timeouts.first_byte, timeouts.idle),
    }
    return httpx.Request(
        request.method, url, headers=headers, stream=SentStream(pieces), extensions={"timeout": seconds}
    )


async def _single(body: bytes) -> AsyncIterator[bytes]:
    if body:
        yield body


class SentStream(httpx.AsyncByteStream):
    """A request's body for httpx, whole or still arriving, that tells when all of it was sent."""

    def __init__(self, pieces: AsyncIterator[bytes]) -> None:
        self._pieces = pieces
        self.sent: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            yield piece
        if not self.sent.done():
            self.sent.set_result(None)


class HttpxResponse(UpstreamResponse):
    """An answer that comes through httpx. Its bytes are given as they came, not decoded."""

    def __init__(self, response: httpx.Response, timeouts: Timeouts, closed: Callable[[HttpxResponse], None]) -> None:
        self.status = response.status_code
        self.headers = [(name.lower(), value) for name, value in response.headers.raw]
        if any(name == b"transfer-encoding" for name, _ in self.headers):
            # It counts, and a length beside it does not.
            self.headers = [header for header in self.headers if header[0] != b"content-length"]
        self._stream = cast(httpx.AsyncByteStream, response.stream)
        self._chunks = aiter(self._stream)
        self._next: asyncio.Task[bytes | None] | None = None
        self._idle_timeout = timeouts.idle
        self._silent = 0.0
        self._error: GatewayError | None = None
        self._closed = closed
        self._closing: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str | None:
        """What is wrong with the head, if it cannot be passed on."""
        if not is_status(self.status):
            return f"The provider answered with {self.status}, which is no status."
        if not all(NAME.fullmatch(name) and VALUE.fullmatch(value) for name, value in self.headers):
            return "The provider answered with a header that has characters which no header has."
        return None

    async def read(self, patience: float | None = None) -> bytes | None:
        """See UpstreamResponse.read(). A task of its own waits for the next chunk, so that impatience loses nothing."""
        if self._error is not None:
            raise self._error
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._read_chunk())
        left = self._idle_timeout - self._silent
        wait = left if patience is None else min(patience, left)
        await asyncio.wait([self._next], timeout=wait)
        if self._error is not None:
            raise self._error
        if not self._next.done():
            self._silent += wait
            if wait == left:
                raise UpstreamTimeout("The provider stopped sending in the middle of its answer.")
            return None
        task, self._next, self._silent = self._next, None, 0.0
        chunk = task.result()
        return chunk or b""

    async def _read_chunk(self) -> bytes | None:
        try:
            while True:
                chunk = await anext(self._chunks, None)
                if chunk is None or chunk:
                    return chunk
        except httpx.TransportError as error:
            raise gateway_error(error) from error

    def interrupt(self, error: GatewayError) -> None:
        """See UpstreamResponse.interrupt()."""
        self._error = error
        self._stop_reading()

    def _stop_reading(self) -> None:
        # Once: who is cancelled a second time does not tidy up.
        if self._next is not None and not self._next.cancelling():
            self._next.cancel()

    async def aclose(self) -> None:
        """See UpstreamResponse.aclose(). A task of its own does it, and to the end if the caller hangs up meanwhile."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        try:
            if self._next is not None and not self._next.done():
                self._stop_reading()
                await asyncio.wait([self._next])
            await self._stream.aclose()
        finally:
            self._closed(self)
