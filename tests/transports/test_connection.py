"""One connection by itself, on a socket that is none and by a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest
from ai_gateway.errors import UpstreamTimeout
from ai_gateway.transports.connection import Connection
from tests.transports.test_fuzz import FakeSocket


class ClockedLoop:
    """The running event loop with another clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self._loop = asyncio.get_running_loop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self.now


async def turns() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_the_time_for_an_answer_counts_from_the_last_piece_of_the_request() -> None:
    async def main() -> None:
        loop: Any = ClockedLoop()
        connection = Connection(loop, lambda _: None, lambda _: None)
        connection.connection_made(FakeSocket())
        pieces: asyncio.Queue[bytes] = asyncio.Queue()

        async def body() -> AsyncIterator[bytes]:
            while True:
                yield await pieces.get()

        sent = UpstreamRequest(
            method="POST", origin=Origin("http", "upstream.test", 80), target=b"/", headers=[], body=body()
        )
        sending = asyncio.ensure_future(connection.send(sent, Timeouts(first_byte=10)))
        for now in (8.0, 16.0, 24.0):
            await turns()
            loop.now = now
            pieces.put_nowait(b"piece")
            await turns()
            connection.look_at_clock(now + 9)
            await turns()
            assert not sending.done()
        connection.look_at_clock(35.0)
        with pytest.raises(UpstreamTimeout):
            await sending

    asyncio.run(main())
