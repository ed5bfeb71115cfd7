"""The site's own pages call the gateway: in this process, for the user who is logged in, by the way of all calls.

`ask` is for synchronous views, under ASGI and WSGI alike. Each call has a transport of its own: the event loop that it
runs on may live no longer than the call, and whoever tests a provider wants a connection made, not one that was open
already. `reply_to` is for what runs on the server's event loop, and wants to see the answer come. `ai_gateway.client`
is one more way in, for the site's own code.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Any
from weakref import WeakValueDictionary

import msgspec
from asgiref.sync import async_to_sync

from ai_gateway import finishing, gateway, registry
from ai_gateway.calls import Arrival, Caller, Headers, Reply, ReplyBody, WholeBody
from ai_gateway.intake import read_arrival
from ai_gateway.transports import Transport

PATIENCE = 30.0
"""Seconds for a whole call: a person is waiting, and so is a thread."""

UNCACHED = (b"x-gateway-cache", b"no-cache, no-store")
"""Whoever tries something out wants it asked, as often as they ask."""

LONGEST = 1024 * 1024
"""Bytes of an answer that are read. The rest is not shown to anybody."""

JSON = (b"content-type", b"application/json")

_ends: dict[asyncio.AbstractEventLoop, AsyncGenerator[None]] = {}
"""What closes the transport of an event loop when it ends, for the loops that calls were made on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back: the status, the headers by name, the body, and how long it took."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float

    @property
    def document(self) -> Any:
        """The body as JSON, or None if it is none."""
        try:
            return msgspec.json.decode(self.body)
        except msgspec.DecodeError:
            return None


def ask(
    method: str,
    path: str,
    caller: Caller,
    body: object = None,
    headers: Headers | None = None,
    query: bytes = b"",
    patience: float = PATIENCE,
) -> Answer:
    """Call the gateway as this caller, with a JSON body or none. Failures come back as answers."""
    content = b"" if body is None else msgspec.json.encode(body)
    registry.snapshot()  # Built now if there is none yet: on the event loop the database could not be read.
    return async_to_sync(_ask)(method, path, caller, content, headers or [], query, patience)


def arrive(
    method: str, path: str, content: bytes, headers: Headers, query: bytes = b"", *, raw_path: bytes | None = None
) -> Arrival:
    """Make the request of a call whose body is there. `headers` are without its length."""
    described = [*headers, (b"content-length", b"%d" % len(content))] if content else headers
    return read_arrival(method, path, raw_path or path.encode(), query, described, WholeBody(content))


async def transport_here() -> Transport:
    """Give the transport of the running event loop, and have it closed when the loop ends: there may be no server that
    does it.

    What is told of a loop's end are its asynchronous generators: `asyncio.run`, `async_to_sync` and servers all close
    them last. So one stands waiting on each loop.
    """
    loop = asyncio.get_running_loop()
    if loop not in _ends:
        # Other threads come and go with loops of their own meanwhile.
        for other in list(_ends):
            if other.is_closed():
                _ends.pop(other, None)
        _ends[loop] = end = _closing_at_the_end()
        await anext(end)
    return gateway.transport_of(loop)


async def _closing_at_the_end() -> AsyncGenerator[None]:
    try:
        yield
    finally:
        loop = asyncio.get_running_loop()
        _ends.pop(loop, None)
        left = [held.end() for held in all_held() if held.loop is loop]
        await asyncio.gather(*left, return_exceptions=True)
        await gateway.close_transport(loop)


class Held:
    """A reply's body in the hands of the site's own code, which may lose it: it is closed when nobody has it any more,
    and when its event loop ends."""

    def __init__(self, body: ReplyBody, loop: asyncio.AbstractEventLoop) -> None:
        self.body = body
        self.loop = loop
        self.let_go = finishing.close_when_lost(self, body, loop, PATIENCE)
        _held[id(self)] = self

    async def end(self) -> None:
        """Close it, on its event loop."""
        self.let_go.detach()
        await self.body.aclose()


_held: WeakValueDictionary[int, Held] = WeakValueDictionary()


def all_held() -> list[Held]:
    """List the bodies that somebody has. Those that are closed may be among them."""
    # References are listed in one step: other threads come and go meanwhile.
    return [held for reference in _held.valuerefs() if (held := reference()) is not None]


@asynccontextmanager
async def reply_to(
    method: str,
    path: str,
    caller: Caller,
    content: bytes,
    headers: Headers,
    query: bytes = b"",
    *,
    transport: Transport | None = None,
) -> AsyncIterator[Reply]:
    """Call the gateway as this caller, by the transport of the running event loop or another one. The reply is closed
    in the end, however that comes about."""
    arrival = arrive(method, path, content, [*headers, JSON, UNCACHED], query)
    reply = await gateway.handle(arrival, transport or await transport_here(), caller)
    try:
        yield reply
    finally:
        await reply.aclose()


async def _ask(
    method: str, path: str, caller: Caller, content: bytes, headers: Headers, query: bytes, patience: float
) -> Answer:
    began = perf_counter()
    transport = gateway.new_transport()
    try:
        async with (
            asyncio.timeout(patience),
            reply_to(method, path, caller, content, headers, query, transport=transport) as reply,
        ):
            body = await _read(reply.body)
    except TimeoutError:
        return _failure(504, f"There was no whole answer within {patience:g} s.", began)
    finally:
        await transport.aclose()
    if isinstance(reply.body, ReplyBody) and reply.body.is_broken:
        return _failure(502, "The answer broke off.", began)
    return Answer(
        status=reply.status,
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers},
        body=body,
        seconds=perf_counter() - began,
    )


async def _read(body: bytes | ReplyBody) -> bytes:
    if isinstance(body, bytes):
        return body[:LONGEST]
    pieces, length = [], 0
    async for piece in body:
        pieces.append(piece)
        length += len(piece)
        if length >= LONGEST:
            break
    return b"".join(pieces)[:LONGEST]


def _failure(status: int, message: str, began: float) -> Answer:
    body = msgspec.json.encode({"error": {"message": message}})
    return Answer(status=status, headers={}, body=body, seconds=perf_counter() - began)
