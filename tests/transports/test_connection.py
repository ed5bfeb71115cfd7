"""One connection by itself, on a socket that is none and by a clock that the test sets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest
from ai_gateway.errors import UpstreamClosed, UpstreamTimeout
from ai_gateway.transports.connection import Connection
from tests.transports.test_fuzz import FakeSocket
from tests.upstream import PATIENCE


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


WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def a_request() -> UpstreamRequest:
    return UpstreamRequest(method="POST", origin=Origin("http", "upstream.test", 80), target=b"/", headers=[])


def test_who_leaves_when_its_answer_is_there_takes_nothing_from_the_next_on_the_connection() -> None:
    async def main() -> None:
        loop: Any = ClockedLoop()
        connection = Connection(loop, lambda _: None, lambda _: None)
        connection.connection_made(FakeSocket())
        first = asyncio.ensure_future(connection.send(a_request(), Timeouts()))
        await turns()
        # All of this before the first call gets its turn: its answer frees the connection, and the next call takes it.
        connection.data_received(WHOLE)
        second = asyncio.ensure_future(connection.send(a_request(), Timeouts()))
        first.cancel()
        await turns()
        assert connection.is_open
        connection.data_received(WHOLE)
        assert await (await second).read() == b"ok"
        assert first.cancelled()

    asyncio.run(main())


def test_an_answer_that_comes_when_the_time_is_just_over_is_taken() -> None:
    async def main() -> None:
        loop: Any = ClockedLoop()
        connection = Connection(loop, lambda _: None, lambda _: None)
        connection.connection_made(FakeSocket())
        sending = asyncio.ensure_future(connection.send(a_request(), Timeouts(first_byte=10, idle=20)))
        await turns()
        connection.look_at_clock(10.0)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n")
        answer = await sending
        reading = asyncio.ensure_future(answer.read())
        await turns()
        connection.look_at_clock(20.0)
        connection.data_received(b"o")
        assert await reading == b"o"
        reading = asyncio.ensure_future(answer.read())
        await turns()
        connection.data_received(b"k")
        assert await reading == b"k"
        assert await answer.read() == b""

    asyncio.run(main())


def test_who_waits_on_a_connection_that_is_closed_hears_of_it() -> None:
    async def main() -> None:
        loop: Any = ClockedLoop()
        connection = Connection(loop, lambda _: None, lambda _: None)
        connection.connection_made(FakeSocket())
        sending = asyncio.ensure_future(connection.send(a_request(), Timeouts()))
        await turns()
        connection.close()
        with pytest.raises(UpstreamClosed):
            await asyncio.wait_for(sending, PATIENCE)

    asyncio.run(main())
