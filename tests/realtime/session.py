"""Both ends of a realtime session: a caller behind a server that speaks ASGI, and a provider."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from ai_gateway.asgi import GatewayApplication
from ai_gateway.calls import Message as Said
from ai_gateway.calls import UpstreamSocket
from ai_gateway.guard import Message
from ai_gateway.transports import Transport
from tests.factories import Scripted
from tests.realtime_upstream import event

TOKEN = "gw_a-key-of-the-settings"
KEY = (b"authorization", f"Bearer {TOKEN}".encode())
SETTINGS: dict[str, Any] = {
    "PROVIDERS": {name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in ("openai", "groq")},
    "KEYS": {"team": TOKEN},
    "PRICES": [
        {"model": "gpt-realtime", "input": 4, "output": 16, "output_audio": 64},
        {"model": "whisper-1", "input": 0, "output": 0, "units": {"audio_seconds": "0.0001"}},
    ],
    "ROUTES": {"talk": ["openai/first", "groq/second"]},
}
PATIENCE = 10.0


class Provider(UpstreamSocket):
    """A provider's end: it says what it is told to, and remembers what it hears."""

    def __init__(self, *said: Said | Exception, subprotocol: str | None = None) -> None:
        self.status, self.headers, self.subprotocol = 101, [], subprotocol
        self.interrupted = asyncio.get_running_loop().create_future()
        self.heard: asyncio.Queue[Said] = asyncio.Queue()
        self.ended: tuple[int, str] | None = None
        self.is_closed = False
        self._said: asyncio.Queue[Said | Exception] = asyncio.Queue()
        for each in said:
            self.say(each)

    def say(self, what: Said | Exception) -> None:
        self._said.put_nowait(what)

    async def receive(self) -> Said:
        said = await self._said.get()
        if isinstance(said, Exception):
            raise said
        return said

    async def send(self, message: Said) -> None:
        self.heard.put_nowait(message)

    async def close(self, code: int, reason: str) -> None:
        self.ended = (code, reason)

    async def aclose(self) -> None:
        self.is_closed = True


class Providers(Scripted):
    """A transport whose websockets are these, or that is refused so, one after the other."""

    def sockets(self) -> Transport:
        return self


class Visitor:
    """A caller behind a server that speaks ASGI."""

    def __init__(self, query: str = "model=gpt-realtime", *headers: tuple[bytes, bytes], offered: str = "") -> None:
        self.scope: dict[str, Any] = {
            "type": "websocket",
            "path": "/v1/realtime",
            "query_string": query.encode(),
            "headers": [*(headers or [KEY]), *([(b"sec-websocket-protocol", offered.encode())] if offered else [])],
            "subprotocols": [name.strip() for name in offered.split(",") if name],
            "extensions": {"websocket.http.response": {}},
        }
        self._says: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._gets: asyncio.Queue[Message] = asyncio.Queue()
        self.is_stuck = False
        self.sticks = asyncio.Event()
        self._says.put_nowait({"type": "websocket.connect"})
        self.task: asyncio.Task[None] | None = None

    def connect(self) -> None:
        application = GatewayApplication(None)  # type: ignore[arg-type]
        self.task = asyncio.create_task(application(self.scope, self._says.get, self._send))

    async def _send(self, message: Message) -> None:
        if self.is_stuck:
            self.sticks.set()
            await asyncio.Event().wait()
        self._gets.put_nowait(message)

    def say(self, message: Said) -> None:
        kind = "text" if isinstance(message, str) else "bytes"
        self._says.put_nowait({"type": "websocket.receive", kind: message})

    def leave(self, code: int = 1000, reason: str = "") -> None:
        self._says.put_nowait({"type": "websocket.disconnect", "code": code, "reason": reason})

    async def next(self) -> Message:
        async with asyncio.timeout(PATIENCE):
            return await self._gets.get()

    async def event(self) -> dict[str, Any]:
        message = await self.next()
        assert message["type"] == "websocket.send", message
        found: dict[str, Any] = json.loads(message["text"])
        return found

    async def refusal(self) -> tuple[int, str | None]:
        start, body = await self.next(), await self.next()
        await self.gone()
        return start["status"], json.loads(body["body"])["error"]["code"]

    async def gone(self) -> None:
        """Wait until nothing is left of the session."""
        assert self.task is not None
        async with asyncio.timeout(PATIENCE):
            await self.task

    async def hang_up(self) -> None:
        """Leave, and wait until nothing is left of the session."""
        self.leave()
        await self.gone()


Open = Callable[..., Coroutine[Any, Any, None]]


async def accepted(visitor: Visitor) -> Message:
    """Connect a caller that is let in."""
    visitor.connect()
    message = await visitor.next()
    assert message["type"] == "websocket.accept", message
    return message


async def hear(count: int) -> None:
    """Be a caller that is let in, hears so many events, and hangs up."""
    visitor = Visitor()
    await accepted(visitor)
    for _ in range(count):
        await visitor.event()
    await visitor.hang_up()


LIMITS = [
    {"name": "places", "measure": "concurrency", "amount": 5},
    {"name": "tokens", "measure": "tokens", "window": "day", "amount": 1000},
    {"name": "calls", "measure": "requests", "window": "minute", "amount": 60},
]


def transcribed(seconds: float) -> str:
    """Write the event that says what a transcription used."""
    usage = {"type": "duration", "seconds": seconds}
    return event("conversation.item.input_audio_transcription.completed", usage=usage)
