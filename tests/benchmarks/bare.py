"""The floor: a bare ASGI app that calls nobody and sends the same bytes as the mock upstream would."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from tests.benchmarks.wire import ANSWER, END, Wish, event, read_wish

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

PLAIN_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(ANSWER))],
}
PLAIN_BODY = {"type": "http.response.body", "body": ANSWER}
STREAM_START = {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]}
CHUNKS = [{"type": "http.response.body", "body": event(number), "more_body": True} for number in range(1000)]
STREAM_END = {"type": "http.response.body", "body": END}


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Read the body to its end, then answer."""
    body = b""
    more = True
    while more:
        message = await receive()
        body = body or message["body"]
        more = message["more_body"]
    if b'"stream": true' in body[:200]:
        await _stream(read_wish(body), send)
    else:
        await send(PLAIN_START)
        await send(PLAIN_BODY)


async def _stream(wish: Wish, send: Send) -> None:
    await send(STREAM_START)
    for number in range(wish.chunks or 0):
        await send(CHUNKS[number])
        await asyncio.sleep(wish.interval)
    await send(STREAM_END)
