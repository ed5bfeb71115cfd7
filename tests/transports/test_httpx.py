"""What the transport that wraps httpx's does beside the contract: it tidies up to the end, however often it is told to
stop meanwhile. httpcore itself would lose a slot of its pool by that, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest
from ai_gateway.errors import Draining, UpstreamProtocolError
from ai_gateway.transports.httpx import HttpxResponse, HttpxTransport
from tests.factories import run
from tests.upstream import LAST_CHUNK, End, Upstream, chunk, play, stream_head

SOON = Timeouts(connect=5, pool=1, write=5, first_byte=5, idle=5)
TURNS = 12
"""Turns of the event loop within which httpcore has closed an answer, and more."""


def request(port: int = 1) -> UpstreamRequest:
    origin = Origin("http", "127.0.0.1", port, True)
    return UpstreamRequest(method="POST", origin=origin, target=b"/", headers=[], body=b"{}")


class Slow(httpx.AsyncByteStream):
    """An answer's body that never comes, and that takes some turns of the event loop to be closed."""

    def __init__(self) -> None:
        self.is_closed = self.is_left = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            yield b"part"
            await asyncio.Event().wait()
        finally:
            await turns(3)
            self.is_left = True

    async def aclose(self) -> None:
        await turns(3)
        self.is_closed = True


class Slowly(httpx.AsyncBaseTransport):
    """Answers by a body, at once or when it is let."""

    def __init__(self, body: Slow, status: int = 200) -> None:
        self.body = body
        self.status = status
        self.answers = asyncio.Event()
        self.has_tidied_up = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            await self.answers.wait()
        except asyncio.CancelledError:
            await turns(3)
            self.has_tidied_up = True
            raise
        return httpx.Response(self.status, stream=self.body)


async def turns(count: int) -> None:
    """Let the event loop turn so often."""
    for _ in range(count):
        await asyncio.sleep(0)


async def given_up(work: Awaitable[Any], after: int, times: int = 1) -> None:
    """Begin something, and be cancelled so many turns later, and perhaps once more after that."""
    task = asyncio.ensure_future(work)
    await turns(after)
    for _ in range(times):
        task.cancel()
        await turns(1)
    await asyncio.gather(task, return_exceptions=True)


def story(told: Callable[[HttpxTransport, Slowly], Awaitable[None]], status: int = 200) -> None:
    """Run a story with a transport, and the one that it wraps."""

    async def main() -> None:
        inner = Slowly(Slow(), status)
        await told(HttpxTransport(transport=inner), inner)

    run(main())


@pytest.mark.parametrize("after", range(1, TURNS))
def test_an_answer_is_closed_to_the_end_though_its_caller_hangs_up(after: int) -> None:
    async def told(transport: HttpxTransport, inner: Slowly) -> None:
        inner.answers.set()
        response = await transport.send(request(), SOON)
        await response.read()
        assert await response.read(0.0) is None
        await given_up(response.aclose(), after)
        await turns(TURNS)
        assert inner.body.is_closed
        assert inner.body.is_left
        assert not transport._active

    story(told)


def test_an_answer_that_was_interrupted_is_closed_like_any_other() -> None:
    async def told(transport: HttpxTransport, inner: Slowly) -> None:
        inner.answers.set()
        response = await transport.send(request(), SOON)
        await response.read()
        assert await response.read(0.0) is None
        transport.interrupt(Draining("enough"))
        await turns(2)  # Whoever reads is leaving.
        await response.aclose()
        assert inner.body.is_left
        assert not transport._active

    story(told)


@pytest.mark.parametrize("times", [1, 2])
def test_a_request_whose_caller_hangs_up_is_tidied_up_to_the_end(times: int) -> None:
    async def told(transport: HttpxTransport, inner: Slowly) -> None:
        await given_up(transport.send(request(), SOON), 3, times)
        await turns(TURNS)
        assert inner.has_tidied_up
        assert not transport._leaving

    story(told)


def test_an_answer_that_comes_as_its_caller_hangs_up_is_closed() -> None:
    async def told(transport: HttpxTransport, inner: Slowly) -> None:
        sending = asyncio.ensure_future(transport.send(request(), SOON))
        await turns(3)
        inner.answers.set()
        await turns(1)
        sending.cancel()
        with pytest.raises(asyncio.CancelledError):
            await sending
        await turns(TURNS)
        assert inner.body.is_closed

    story(told)


def test_an_answer_with_no_status_is_closed() -> None:
    async def told(transport: HttpxTransport, inner: Slowly) -> None:
        inner.answers.set()
        with pytest.raises(UpstreamProtocolError):
            await transport.send(request(), SOON)
        assert inner.body.is_closed
        assert not transport._active

    story(told, status=999)


@pytest.mark.parametrize("is_whole", [True, False])
def test_the_pool_has_its_slot_back(upstream: Upstream, is_whole: bool) -> None:
    async def main() -> None:
        transport = HttpxTransport(max_connections=1)
        for after in range(1, TURNS):
            response = await transport.send(request(upstream.port), SOON)
            assert isinstance(response, HttpxResponse)
            await response.read()
            await given_up(response.aclose(), after)
        last = await transport.send(request(upstream.port), SOON)
        await last.aclose()
        await transport.aclose()

    head = stream_head() + chunk(b"one")
    upstream.answer(*[play(head + LAST_CHUNK if is_whole else head, *([] if is_whole else [End.STALL]))] * TURNS)
    run(main())
