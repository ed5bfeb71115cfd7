"""The gateway as a transport of httpx's clients, or of those of its successor, `httpx2`: both have the same shape.

A request is read whole and handed to the gateway, and what it replies becomes a response of the library's. Refusals are
responses, too, so that an SDK raises the exceptions that it raises elsewhere. Of the library's time limits `read` is
kept; the others are about connections, and there is none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from types import ModuleType
from typing import Any

import httpx
from asgiref.sync import sync_to_async

from ai_gateway import gateway, inprocess, registry
from ai_gateway.calls import Arrival, Caller, Reply, ReplyBody
from ai_gateway.client.background import background
from ai_gateway.client.identity import Identity
from ai_gateway.conf import settings
from ai_gateway.errors import BadRequest, ClientDisconnected, GatewayError
from ai_gateway.keys import HEADERS
from ai_gateway.refusals import refuse_request

NOT_TAKEN = frozenset((*HEADERS, b"content-length", b"transfer-encoding"))
"""Headers that do not count: whoever calls is known, and so is the body."""

DEEPEST = 8
"""How many calls may be made on behalf of each other: a provider of the site's own making may call the gateway, but not
in a circle."""

_depth: ContextVar[int] = ContextVar("ai_gateway.client.depth", default=0)


class AsyncTransport(httpx.AsyncBaseTransport):
    """Calls the gateway on the event loop that it is used on, which may be another one for each call."""

    def __init__(self, library: ModuleType, identity: Identity) -> None:
        self.library = library
        self._identity = identity

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request."""
        arrival = arrival_of(request, await request.aread())
        try:
            caller = self._identity.known() or await sync_to_async(self._identity.caller)()
        except GatewayError as error:
            return response_to(refuse_request(error, arrival), self.library)
        patience = patience_of(request)
        reply = await answered(arrival, caller, self.library, patience)
        if isinstance(reply.body, bytes):
            return response_to(reply, self.library)
        loop = asyncio.get_running_loop()
        return response_to(reply, self.library, stream_of(self.library, AsyncBody)(reply.body, self, patience, loop))

    async def aclose(self) -> None:
        """End the calls whose answers nobody has closed. Those that are being read end with their readers."""
        for body in left_of(self):
            if body.loop is asyncio.get_running_loop():
                await body.end()
            else:
                body.let_go()


class SyncTransport(httpx.BaseTransport):
    """Calls the gateway on the process's event loop for such calls, and waits for it."""

    def __init__(self, library: ModuleType, identity: Identity) -> None:
        self.library = library
        self._identity = identity

    def handle_request(self, request: Any) -> Any:
        """Answer a request."""
        arrival = arrival_of(request, request.read())
        try:
            caller = self._identity.caller()
        except GatewayError as error:
            return response_to(refuse_request(error, arrival), self.library)
        registry.snapshot()  # Built now if there is none yet: on an event loop the database could not be read.
        patience = patience_of(request)
        reply = background.run(answered(arrival, caller, self.library, patience, _depth.get()))
        if isinstance(reply.body, bytes):
            return response_to(reply, self.library)
        body = stream_of(self.library, SyncBody)(reply.body, self, patience, background.loop())
        return response_to(reply, self.library, body)

    def close(self) -> None:
        """End the calls whose answers nobody has closed. Those that are being read end with their readers."""
        for body in left_of(self):
            background.run(body.end())


def left_of(transport: Any) -> list[Body]:
    """List the bodies of a transport that are open and not being read."""
    found = (held for held in inprocess.all_held() if isinstance(held, Body))
    return [body for body in found if body.transport is transport and not body.is_read]


def arrival_of(request: Any, content: bytes) -> Arrival:
    """Read a request of a library as the gateway's."""
    headers = [(name.lower(), value) for name, value in request.headers.raw]
    raw_path, _, query = request.url.raw_path.partition(b"?")
    prefix = settings.PREFIX
    return inprocess.arrive(
        request.method,
        request.url.path.removeprefix(prefix),
        content,
        [header for header in headers if header[0] not in NOT_TAKEN],
        query,
        raw_path=raw_path.removeprefix(prefix.encode()),
    )


def patience_of(request: Any) -> float | None:
    """Tell for how many seconds the caller waits for the next piece of an answer."""
    found: float | None = request.extensions.get("timeout", {}).get("read")
    return found


async def answered(
    arrival: Arrival, caller: Caller, library: ModuleType, patience: float | None, depth: int | None = None
) -> Reply:
    """Have the gateway answer. Raises the library's errors."""
    depth = _depth.get() if depth is None else depth
    if depth >= DEEPEST:
        return refuse_request(BadRequest("The gateway calls itself in a circle."), arrival)
    entered = _depth.set(depth + 1)
    try:
        with its_errors(library):
            async with asyncio.timeout(patience):
                return await gateway.handle(arrival, await inprocess.transport_here(), caller)
    finally:
        _depth.reset(entered)


@contextmanager
def its_errors(library: ModuleType) -> Iterator[None]:
    """Raise a library's own errors for what cannot be a response."""
    try:
        yield
    except TimeoutError as error:
        raise library.ReadTimeout("The gateway did not answer in time.") from error
    except ClientDisconnected as error:
        raise library.ReadError("The call was broken off.") from error


def response_to(reply: Reply, library: ModuleType, stream: Any = None) -> Any:
    """Make a library's response of a reply; `stream` is its body if that is still being made."""
    return library.Response(reply.status, headers=reply.headers, stream=stream or library.ByteStream(reply.body))


class Body(inprocess.Held):
    """The body of a response that is made while it is read."""

    def __init__(
        self, body: ReplyBody, transport: Any, patience: float | None, loop: asyncio.AbstractEventLoop
    ) -> None:
        super().__init__(body, loop)
        self.transport = transport
        self.is_read = False
        """Whether somebody waits for a piece."""
        self._patience = patience

    async def _next(self) -> bytes | None:
        """Give the next piece, None at the end. Raises the library's errors, also for a body that is not whole."""
        self.is_read = True
        try:
            with its_errors(self.transport.library):
                async with asyncio.timeout(self._patience):
                    piece = await anext(self.body, None)
        finally:
            self.is_read = False
        if piece is None and self.body.is_broken:
            raise self.transport.library.RemoteProtocolError("The provider's answer broke off.")
        return piece


class AsyncBody(Body):
    """One that is read on the event loop that makes it."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._next()) is not None:
            yield piece

    async def aclose(self) -> None:
        """End the call, wherever it stands."""
        await self.end()


class SyncBody(Body):
    """One that is made on the event loop for such calls."""

    def __iter__(self) -> Iterator[bytes]:
        while (piece := background.run(self._next())) is not None:
            yield piece

    def close(self) -> None:
        """End the call, wherever it stands."""
        background.run(self.end())


@cache
def stream_of(library: ModuleType, kind: Any) -> Any:
    """Give a kind of body as a stream of a library's, which its clients insist on."""
    base = library.AsyncByteStream if issubclass(kind, AsyncBody) else library.SyncByteStream
    return type(kind.__name__, (kind, base), {})
