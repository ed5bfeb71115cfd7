"""The streaming response closes its source, however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import cast

import pytest

from ai_gateway.calls import ReplyBody
from ai_gateway.responses import EventStreamResponse
from tests.factories import run


class Endless(ReplyBody):
    """A body without an end."""

    is_broken = False

    def __init__(self) -> None:
        self.is_closed = False

    async def __anext__(self) -> bytes:
        await asyncio.sleep(0)
        return b"chunk"

    async def aclose(self) -> None:
        self.is_closed = True


def chunks_of(body: ReplyBody) -> AsyncGenerator[bytes, None]:
    """The iterator that Django makes of the response, and closes."""
    return cast("AsyncGenerator[bytes, None]", aiter(EventStreamResponse(body, status=200)))


def test_a_reader_that_stops_closes_the_source() -> None:
    body = Endless()

    async def main() -> None:
        async with aclosing(chunks_of(body)) as chunks:
            assert await anext(chunks) == b"chunk"

    run(main())
    assert body.is_closed


def test_a_reader_that_is_cancelled_outside_the_source_closes_it() -> None:
    body = Endless()

    async def deliver() -> None:
        async with aclosing(chunks_of(body)) as chunks:
            async for _ in chunks:
                await asyncio.Event().wait()  # The caller takes nothing any more.

    async def main() -> None:
        task = asyncio.ensure_future(deliver())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert body.is_closed
