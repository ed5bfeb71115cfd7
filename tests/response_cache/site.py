"""A gateway with a cache of answers, and its callers."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import msgspec
from django.core.cache import caches
from django.test import override_settings

from ai_gateway import cache_store, flights, gateway
from ai_gateway.calls import Reply, ReplyBody, UpstreamRequest, UpstreamResponse
from tests.factories import JSON, Answer, Scripted, Step, make_arrival, run

TEAM = (b"authorization", b"Bearer gw_a-key-of-the-settings")
OTHERS = (b"authorization", b"Bearer gw_another-key-of-the-settings")
OWN_KEY = (b"authorization", b"Bearer sk-own")
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
ANSWERED = {
    "model": "m",
    "choices": [{"message": {"content": "Ho"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5},
}
NEWER = {**ANSWERED, "id": "newer"}
COST = 10 * 1_000 + 5 * 10_000
EVENTS = (
    b'data: {"choices":[{"delta":{"content":"H"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"o"},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
)
EVENT_STREAM = (b"content-type", b"text/event-stream")
SETTINGS: dict[str, Any] = {
    "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "stored"}}, "groq": {"OPTIONS": {"api_key": "stored"}}},
    "KEYS": {"team": "gw_a-key-of-the-settings", "others": "gw_another-key-of-the-settings"},
    "PRICES": [{"model": "*", "input": 1, "output": 10}],
    "RETRIES": {"attempts": 1},
}
LOCAL = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "answers"}}


def whole(answer: Any = ANSWERED, *more: tuple[bytes, bytes], status: int = 200) -> Answer:
    """A plain answer."""
    body = json.dumps(answer).encode()
    return Answer(body, status=status, headers=[JSON, (b"content-length", b"%d" % len(body)), *more])


def stream(*steps: Step) -> Answer:
    """A streamed one."""
    return Answer(*(steps or EVENTS), headers=[EVENT_STREAM])


def in_cache() -> Any:
    """The site's cache, to look into."""
    return caches["default"]


def under_way() -> list[Any]:
    """The flights of all event loops."""
    return [flight for table in flights._flights.values() for flight in table.values()]


class Got(msgspec.Struct):
    """An answer as its caller has it."""

    status: int
    headers: dict[bytes, bytes]
    chunks: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def cache(self) -> bytes | None:
        return self.headers.get(b"x-gateway-cache")


async def read(reply: Reply) -> Got:
    """Read a reply as a door does."""
    if not isinstance(reply.body, ReplyBody):
        return Got(reply.status, dict(reply.headers), [reply.body])
    try:
        return Got(reply.status, dict(reply.headers), [chunk async for chunk in reply.body])
    finally:
        await reply.aclose()


class Site:
    """A gateway with a cache of answers, and what its providers say."""

    def __init__(self, transport: Scripted, caller: tuple[bytes, bytes] = TEAM) -> None:
        self.transport = transport
        self.caller = caller

    async def reply(self, body: Any, *headers: tuple[bytes, bytes], path: str = "/v1/chat/completions") -> Reply:
        given = body if isinstance(body, bytes) else json.dumps(body).encode()
        caller = () if any(name == b"authorization" for name, _ in headers) else (self.caller,)
        return await gateway.handle(make_arrival(path, JSON, *caller, *headers, body=given), self.transport)

    async def ask(self, body: Any = CHAT, *headers: tuple[bytes, bytes], **more: Any) -> Got:
        got = await read(await self.reply(body, *headers, **more))
        await settled()
        return got

    @property
    def asked(self) -> int:
        """How often a provider was asked."""
        return len(self.transport.requests)


async def settled() -> None:
    """Wait until what is to be kept is kept."""
    await until(lambda: not cache_store.store()._keeping.pending)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, on a machine that may be busy."""
    for _ in range(30_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


def serve(
    script: Callable[[Site], Any], *outcomes: Answer | Exception, transport: Scripted | None = None, **settings: Any
) -> Site:
    """Run a script against a gateway whose providers answer so."""
    site = Site(transport or Scripted(*outcomes))
    # What is in memory hides what is in the cache: most tests are about the latter.
    policy = {"memory": 0, "timeout": 30, **settings.pop("RESPONSE_CACHE", {})}
    with override_settings(AI_GATEWAY={**SETTINGS, "RESPONSE_CACHE": policy, **settings}):
        run(script(site))
    return site


class Paused(Scripted):
    """A transport whose answers come when they are let go, one after the other."""

    def __init__(self, *outcomes: Answer | Exception) -> None:
        super().__init__(*outcomes)
        self.gates = [asyncio.Event() for _ in outcomes]

    async def send(self, request: UpstreamRequest, timeouts: object) -> UpstreamResponse:
        gate = self.gates[len(self.requests)]
        self.requests.append(request)
        outcome = self.outcomes[len(self.requests) - 1]
        await gate.wait()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome
