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
        self._library = library
        self._identity = identity

    async def handle_async_request(self, request: Any) -> Any:
        """Answer a request."""
        arrival = arrival_of(request, await request.aread())
        try:
            caller = self._identity.known() or await sync_to_async(self._identity.caller)()
        except GatewayError as error:
            return response_to(refuse_request(error, arrival), self._library, None)
        patience = patience_of(request)
        reply = await answered(arrival, caller, self._library, patience)
        return response_to(reply, self._library, AsyncBody, patience)


class SyncTransport(httpx.BaseTransport):
    """Calls the gateway on the process's event loop for such calls, and waits for it."""

    def __init__(self, library: ModuleType, identity: Identity) -> None:
        self._library = library
        self._identity = identity

    def handle_request(self, request: Any) -> Any:
        """Answer a request."""
        arrival = arrival_of(request, request.read())
        try:
            caller = self._identity.caller()
        except GatewayError as error:
            return response_to(refuse_request(error, arrival), self._library, None)
        registry.snapshot()  # Built now if there is none yet: on an event loop the database could not be read.
        patience = patience_of(request)
        reply = background.run(answered(arrival, caller, self._library, patience, _depth.get()))
        return response_to(reply, self._library, SyncBody, patience)


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


def response_to(reply: Reply, library: ModuleType, streamed: Any, patience: float | None = None) -> Any:
    """Make a library's response of a reply; `streamed` is the class of its body if that is still being made."""
    body = reply.body
    if isinstance(body, bytes):
        stream = library.ByteStream(body)
    else:
        stream = stream_of(library, streamed)(body, library, patience)
    return library.Response(reply.status, headers=reply.headers, stream=stream)


class Body:
    """The body of a response that is made while it is read."""

    def __init__(self, body: ReplyBody, library: ModuleType, patience: float | None) -> None:
        self._body = body
        self._library = library
        self._patience = patience

    async def _next(self) -> bytes | None:
        """Give the next piece, None at the end. Raises the library's errors, also for a body that is not whole."""
        with its_errors(self._library):
            async with asyncio.timeout(self._patience):
                piece = await anext(self._body, None)
        if piece is None and self._body.is_broken:
            raise self._library.RemoteProtocolError("The provider's answer broke off.")
        return piece


class AsyncBody(Body):
    """One that is read on the event loop that makes it."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (piece := await self._next()) is not None:
            yield piece

    async def aclose(self) -> None:
        """End the call, wherever it stands."""
        await self._body.aclose()


class SyncBody(Body):
    """One that is made on the event loop for such calls."""

    def __iter__(self) -> Iterator[bytes]:
        while (piece := background.run(self._next())) is not None:
            yield piece

    def close(self) -> None:
        """End the call, wherever it stands."""
        background.run(self._body.aclose())


@cache
def stream_of(library: ModuleType, kind: Any) -> Any:
    """Give a kind of body as a stream of a library's, which its clients insist on."""
    base = library.AsyncByteStream if issubclass(kind, AsyncBody) else library.SyncByteStream
    return type(kind.__name__, (kind, base), {})
