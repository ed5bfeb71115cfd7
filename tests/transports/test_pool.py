"""The pool keeps count, whatever happens to those who use it and those who wait."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest
from ai_gateway.errors import ConnectFailed, Draining, GatewayError, PoolTimeout, UpstreamTimeout
from ai_gateway.transports import Connections
from ai_gateway.transports.connection import Connection
from ai_gateway.transports.dialing import Dialer
from ai_gateway.transports.pooled import DOUBT, TICK, Pool, PooledTransport
from tests.transports.test_connection import WHOLE, turns
from tests.transports.test_fuzz import FakeSocket
from tests.upstream import PATIENCE, End, Upstream, plain_answer, play

TIMEOUTS = Timeouts(connect=5, pool=5, write=5, first_byte=5, idle=5)


def request(upstream: Upstream) -> UpstreamRequest:
    origin = Origin("http", "127.0.0.1", upstream.port, True)
    return UpstreamRequest(method="POST", origin=origin, target=b"/", headers=[], body=b"{}")


async def exchange(transport: PooledTransport, upstream: Upstream, timeouts: Timeouts = TIMEOUTS) -> bytes:
    response = await transport.send(request(upstream), timeouts)
    try:
        return await response.read() or b""
    finally:
        await response.aclose()


def test_waiters_are_served_in_the_order_of_arrival(upstream: Upstream) -> None:
    upstream.answer(play(0.02), plain_answer(b"ok"))
    upstream.answer(plain_answer(b"ok"))

    async def main() -> list[int]:
        transport = PooledTransport(max_connections=1)
        served: list[int] = []

        async def one(number: int) -> None:
            await exchange(transport, upstream)
            served.append(number)

        await asyncio.gather(*(one(number) for number in range(20)))
        await transport.aclose()
        return served

    assert asyncio.run(main()) == list(range(20))
    assert len({arrived.connection for arrived in upstream.requests}) == 1


def test_no_slot_is_lost_when_calls_are_cancelled_at_random_moments(upstream: Upstream) -> None:
    upstream.answer(play(0.002, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n", 0.002, b"ok"))
    chance = random.Random(20261124)

    async def main() -> str:
        transport = PooledTransport(max_connections=5)

        async def impatient() -> None:
            task = asyncio.ensure_future(exchange(transport, upstream))
            await asyncio.sleep(chance.random() * 0.03)
            task.cancel()
            try:
                await task
            except (asyncio.CancelledError, GatewayError):
                return

        for _ in range(20):
            await asyncio.gather(*(impatient() for _ in range(20)))
        # All five slots must still be there: five calls at once are served without waiting.
        upstream.answer(plain_answer(b"ok"))
        no_waiting = Timeouts(connect=5, pool=0.001, first_byte=5, idle=5)
        assert await asyncio.gather(*(exchange(transport, upstream, no_waiting) for _ in range(5))) == [b"ok"] * 5
        shown = repr(transport)
        await transport.aclose()
        return shown

    assert "0 busy, 5 idle, 0 waiting, 5 of 5 slots" in asyncio.run(main())


def test_a_connection_that_was_slow_to_open_has_its_timeouts_all_the_same(
    upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pool's clock stops while nobody waits for an answer; opening the next connection may outlast that."""
    upstream.answer(play(End.STALL))
    dial = Dialer.dial

    async def dial_slowly(*arguments: Any) -> Any:
        await asyncio.sleep(3 * TICK)
        return await dial(*arguments)

    monkeypatch.setattr(Dialer, "dial", dial_slowly)

    async def main() -> None:
        transport = PooledTransport()
        try:
            async with asyncio.timeout(PATIENCE):
                await transport.send(request(upstream), Timeouts(first_byte=0.1))
        finally:
            await transport.aclose()

    with pytest.raises(UpstreamTimeout):
        asyncio.run(main())


def test_a_failed_connection_gives_its_slot_to_the_next_waiter(upstream: Upstream) -> None:
    async def main() -> None:
        transport = PooledTransport(max_connections=1)
        origin = Origin("http", "127.0.0.1", 9, True)
        sent = UpstreamRequest(method="GET", origin=origin, target=b"/", headers=[])
        results = await asyncio.gather(*(transport.send(sent, TIMEOUTS) for _ in range(5)), return_exceptions=True)
        assert {type(result).__name__ for result in results} == {"ConnectFailed"}
        assert "0 busy, 0 idle, 0 waiting, 0 of 1 slots" in repr(transport)
        await transport.aclose()

    asyncio.run(main())


def test_interrupting_ends_those_who_wait_for_a_connection_too(upstream: Upstream) -> None:
    upstream.answer(play(End.STALL))

    async def main() -> None:
        transport = PooledTransport(max_connections=1)
        tasks = [asyncio.ensure_future(exchange(transport, upstream)) for _ in range(3)]
        await asyncio.to_thread(upstream.wait_for_requests, 1)
        transport.interrupt(Draining("enough"))
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in results] == [Draining] * 3
        await transport.aclose()

    asyncio.run(main())
    upstream.wait_for("all sockets are closed", lambda: upstream.open == 0)


def test_who_waits_too_long_does_not_take_a_slot_later(upstream: Upstream) -> None:
    gate = upstream.gate()
    upstream.answer(play(gate, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"), plain_answer(b"ok"))

    async def main() -> None:
        transport = PooledTransport(max_connections=1)
        first = asyncio.ensure_future(exchange(transport, upstream))
        await asyncio.to_thread(gate.wait_until_reached)
        with pytest.raises(PoolTimeout):
            await exchange(transport, upstream, Timeouts(pool=0.05))
        gate.open()
        assert await first == b"ok"
        assert await exchange(transport, upstream) == b"ok"
        assert "0 busy, 1 idle, 0 waiting, 1 of 1 slots" in repr(transport)
        await transport.aclose()

    asyncio.run(main())


STOLEN = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nstolen"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n"
LENGTH = b"content-length: 51\r\n\r\n"
CODING = b"transfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\n" + LENGTH),
        ("DELETE", NO_CONTENT + LENGTH),
        ("DELETE", NO_CONTENT + CODING),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n" + LENGTH),
    ],
)
def test_a_body_that_should_not_be_there_is_nobodys_answer(upstream: Upstream, method: str, answer: bytes) -> None:
    upstream.answer(play(answer, 0.05, STOLEN), play(0.1, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"))

    async def main() -> bytes:
        transport = PooledTransport()
        first = await transport.send(replace(request(upstream), method=method, body=b""), TIMEOUTS)
        await first.aclose()
        try:
            return await exchange(transport, upstream)
        finally:
            await transport.aclose()

    assert asyncio.run(main()) == b"ok"


def test_a_connection_is_used_again_behind_an_answer_that_can_have_no_body(upstream: Upstream) -> None:
    upstream.answer(play(NO_CONTENT + b"content-length: 0\r\n\r\n"), play(NO_CONTENT + b"\r\n"), plain_answer(b"ok"))

    async def main() -> None:
        transport = PooledTransport()
        for expected in (b"", b"", b"ok"):
            assert await exchange(transport, upstream) == expected
        await transport.aclose()

    asyncio.run(main())
    assert len({arrived.connection for arrived in upstream.requests}) == 1


ERROR = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}"


def test_who_is_asked_once_more_behind_an_error_that_closed_the_connection_is_reached(upstream: Upstream) -> None:
    async def main() -> None:
        transport = PooledTransport()
        for _ in range(20):
            upstream.answer(play(ERROR, End.CLOSE), plain_answer(b"ok"))
            assert await exchange(transport, upstream) == b"{}"
            assert await exchange(transport, upstream) == b"ok"
        await transport.aclose()

    asyncio.run(main())


def test_a_connection_that_stays_open_behind_an_error_is_used_again(upstream: Upstream) -> None:
    upstream.answer(play(ERROR), plain_answer(b"ok"))

    async def main() -> None:
        transport = PooledTransport()
        assert await exchange(transport, upstream) == b"{}"
        assert transport.connections() == Connections(0, 1, 0)  # In doubt it counts as idle: it is open.
        await asyncio.sleep(DOUBT * 1.5)
        assert transport.connections() == Connections(0, 1, 0)
        assert await exchange(transport, upstream) == b"ok"
        await transport.aclose()

    asyncio.run(main())
    assert len({arrived.connection for arrived in upstream.requests}) == 1


def test_who_waits_for_a_place_gets_that_of_a_connection_in_doubt(upstream: Upstream) -> None:
    upstream.answer(play(0.02, ERROR, End.CLOSE), plain_answer(b"ok"))

    async def main() -> None:
        transport = PooledTransport(max_connections=1)
        assert await asyncio.gather(*(exchange(transport, upstream) for _ in range(2))) == [b"{}", b"ok"]
        await transport.aclose()

    asyncio.run(main())


def test_a_connection_that_closes_while_it_is_in_doubt_gives_its_place_back(upstream: Upstream) -> None:
    upstream.answer(play(ERROR, End.CLOSE), plain_answer(b"ok"))

    async def main() -> None:
        transport = PooledTransport(max_connections=1)
        for expected in (b"{}", b"ok"):
            assert await exchange(transport, upstream) == expected
        await asyncio.sleep(DOUBT * 1.5)
        assert "0 busy, 1 idle, 0 waiting, 1 of 1 slots" in repr(transport)
        await transport.aclose()

    asyncio.run(main())


# A pool by itself, with connections on sockets that are none.

ORIGIN = Origin("http", "upstream.test", 80)
SENT = UpstreamRequest(method="POST", origin=ORIGIN, target=b"/", headers=[], body=b"{}")


class FakeDialer(Dialer):
    """Connects to nobody, at once; the first connections are closed by the other end in the same moment."""

    def __init__(self, *, closed: int = 0) -> None:
        super().__init__()
        self.connections: list[Connection] = []
        self._closed = closed

    async def dial(self, origin: Origin, factory: Callable[[], Any], seconds: float) -> Any:
        connection = factory()
        connection.connection_made(FakeSocket())
        self.connections.append(connection)
        if len(self.connections) <= self._closed:
            connection.close()
        return connection


async def answered(connection: Connection) -> None:
    """Exchange something on a connection. Whoever waits for it has it then, and had no turn yet."""
    sending = asyncio.ensure_future(connection.send(SENT, TIMEOUTS))
    await asyncio.sleep(0)
    connection.data_received(WHOLE)
    assert sending.cancel()


async def begun(pool: Pool) -> asyncio.Task[Connection]:
    """Ask for a connection, and wait for it in the background."""
    task = asyncio.ensure_future(pool.acquire(TIMEOUTS))
    await asyncio.sleep(0)
    return task


def test_who_leaves_when_its_turn_has_come_passes_it_on() -> None:
    async def main() -> None:
        pool = Pool(ORIGIN, FakeDialer(), limit=1, keep_alive=20)
        connection = await pool.acquire(TIMEOUTS)
        second, third = await begun(pool), await begun(pool)
        await answered(connection)
        assert second.cancel()
        assert await third is connection
        assert pool.count() == Connections(1, 0, 0)
        fourth, fifth = await begun(pool), await begun(pool)
        connection.close()  # What is free now is the slot.
        assert fourth.cancel()
        assert await fifth is not connection
        assert pool.count() == Connections(1, 0, 0)
        pool.close()

    asyncio.run(main())


def test_a_connection_that_dies_on_its_way_to_who_leaves_is_nobodys() -> None:
    async def main() -> None:
        pool = Pool(ORIGIN, FakeDialer(), limit=1, keep_alive=20)
        connection = await pool.acquire(TIMEOUTS)
        second = await begun(pool)
        await answered(connection)
        connection.data_received(b"stray")
        assert not connection.is_open
        assert second.cancel()
        await turns()
        assert pool.count() == Connections(0, 0, 0)
        assert "0 of 1 slots" in repr(pool)
        pool.close()

    asyncio.run(main())


def test_a_connection_that_dies_on_its_way_to_who_waits_for_it_is_replaced() -> None:
    async def main() -> None:
        transport = PooledTransport(max_connections=1)
        transport._dialer = dialer = FakeDialer()
        assert transport.connections() == Connections(0, 0, 0)
        first = asyncio.ensure_future(transport.send(SENT, TIMEOUTS))
        await asyncio.sleep(0)
        second = asyncio.ensure_future(transport.send(SENT, TIMEOUTS))
        await asyncio.sleep(0)
        dialer.connections[0].data_received(WHOLE)
        dialer.connections[0].close()
        await turns()
        dialer.connections[1].data_received(WHOLE)
        assert await (await first).read() == await (await second).read() == b"ok"
        assert transport.connections() == Connections(0, 1, 0)
        await transport.aclose()

    asyncio.run(main())


def test_an_idle_connection_that_cannot_be_used_is_closed_and_not_lent() -> None:
    async def main() -> None:
        pool = Pool(ORIGIN, FakeDialer(), limit=1, keep_alive=0)
        await answered(connection := await pool.acquire(TIMEOUTS))
        assert pool.count() == Connections(0, 1, 0)
        assert pool.take_idle() is None
        assert not connection.is_open
        assert "0 of 1 slots" in repr(pool)
        pool.close()

    asyncio.run(main())


def test_a_connection_that_the_provider_closes_at_once_is_a_failure_and_its_slot_is_free() -> None:
    async def main() -> None:
        pool = Pool(ORIGIN, FakeDialer(closed=1), limit=1, keep_alive=20)
        with pytest.raises(ConnectFailed, match="at once"):
            await pool.acquire(TIMEOUTS)
        assert (await pool.acquire(TIMEOUTS)).is_open
        pool.close()

    asyncio.run(main())
