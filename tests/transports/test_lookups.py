"""Host names: who waits for whom when the system's resolver does not answer."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from ai_gateway.calls import Origin, Timeouts, UpstreamRequest
from ai_gateway.errors import ConnectFailed, ConnectTimeout, GatewayError
from ai_gateway.thread_pools import ThreadPool
from ai_gateway.transports import Transport, lookups
from ai_gateway.transports.httpx import HttpxTransport
from ai_gateway.transports.lookups import Lookups
from ai_gateway.transports.pooled import PooledTransport
from tests.patience import until
from tests.upstream import Upstream, plain_answer

HANGS = "hangs.test"


class Resolver:
    """The system's, which does not answer for one host until it is told to."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.threads: set[str] = set()
        self._ask = socket.getaddrinfo

    def __call__(self, host: Any, port: Any, *arguments: Any, **options: Any) -> Any:
        if host != HANGS:
            return self._ask(host, port, *arguments, **options)
        self.asked.append(host)
        self.threads.add(threading.current_thread().name)
        assert self.answers.wait(30)
        raise socket.gaierror("nobody knows it")


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", resolver)
    yield resolver
    resolver.answers.set()


def request(host: str, port: int, *, allow_private: bool = True) -> UpstreamRequest:
    return UpstreamRequest(method="GET", origin=Origin("http", host, port, allow_private), target=b"/", headers=[])


async def outcome(transport: Transport, asked: UpstreamRequest, seconds: float) -> int | type[GatewayError]:
    """Send a request; tell the answer's status, or how it failed."""
    try:
        response = await transport.send(asked, Timeouts(connect=seconds))
    except GatewayError as error:
        return type(error)
    await response.aclose()
    return response.status


def test_a_host_whose_name_hangs_keeps_nobody_else_waiting(resolver: Resolver, upstream: Upstream) -> None:
    upstream.answer(plain_answer(b"ok"))

    async def main() -> None:
        transport, loop = PooledTransport(), asyncio.get_running_loop()
        hanging = [asyncio.ensure_future(outcome(transport, request(HANGS, 80), 0.3)) for _ in range(100)]
        await loop.run_in_executor(None, until, lambda: resolver.asked)
        assert await outcome(transport, request("localhost", upstream.port), 20) == 200
        assert await asyncio.gather(*hanging) == [ConnectTimeout] * 100
        # Those that come later wait for the look-up that still hangs, and not in threads of their own.
        assert await outcome(transport, request(HANGS, 80), 0.05) is ConnectTimeout
        assert len(resolver.asked) == 1
        await transport.aclose()

    asyncio.run(main())


def test_one_look_up_is_shared_and_outlives_who_gives_up(resolver: Resolver) -> None:
    async def main() -> None:
        found = Lookups()
        first, second = (asyncio.ensure_future(found.addresses(HANGS, 80)) for _ in range(2))
        await asyncio.to_thread(until, lambda: resolver.asked)
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        assert first.cancelled()
        assert not second.done()
        resolver.answers.set()
        with pytest.raises(socket.gaierror):
            await second
        with pytest.raises(socket.gaierror):
            await found.addresses(HANGS, 80)  # What failed is not kept, either.
        assert len(resolver.asked) == 2

    asyncio.run(main())


def test_a_look_up_that_fails_when_nobody_waits_any_more_is_no_error(
    resolver: Resolver, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        found = Lookups()
        waiting = asyncio.ensure_future(found.addresses(HANGS, 80))
        await asyncio.to_thread(until, lambda: resolver.asked)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        resolver.answers.set()
        await asyncio.to_thread(until, lambda: not found._under_way)

    asyncio.run(main())
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_look_ups_have_threads_of_their_own(resolver: Resolver) -> None:
    async def main() -> None:
        resolver.answers.set()
        with pytest.raises(socket.gaierror):
            await Lookups().addresses(HANGS, 80)

    asyncio.run(main())
    assert {name.rpartition("_")[0] for name in resolver.threads} == {"ai-gateway-names"}


def test_more_than_can_be_looked_up_is_told_at_once(resolver: Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookups, "_threads", ThreadPool("few", size=1, most=1))

    async def main() -> None:
        transport = PooledTransport()
        hanging = asyncio.ensure_future(outcome(transport, request(HANGS, 80), 20))
        await asyncio.to_thread(until, lambda: resolver.asked)
        assert await outcome(transport, request("localhost", 80), 20) is ConnectFailed
        resolver.answers.set()
        assert await hanging is ConnectFailed

    asyncio.run(main())


def test_what_is_no_name_cannot_be_reached() -> None:
    assert asyncio.run(outcome(PooledTransport(), request("x" * 70 + ".test", 80), 20)) is ConnectFailed


def test_httpx_waits_for_a_name_no_longer_than_for_a_connection(resolver: Resolver) -> None:
    asked = request(HANGS, 80, allow_private=False)
    assert asyncio.run(outcome(HttpxTransport(), asked, 0.1)) is ConnectTimeout
