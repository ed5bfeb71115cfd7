"""The pool keeps count, whatever happens to those who use it and those who wait."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest
from ai_gateway.errors import Draining, GatewayError, PoolTimeout, UpstreamTimeout
from ai_gateway.transports.dialing import Dialer
from ai_gateway.transports.pooled import TICK, PooledTransport
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
