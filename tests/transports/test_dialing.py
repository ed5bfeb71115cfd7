"""Which of a host's addresses are tried, and for how long."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from ai_gateway.calls import Origin
from ai_gateway.errors import ConnectFailed, ConnectTimeout
from ai_gateway.transports.dialing import Dialer, alternate
from tests.upstream import Upstream

SWALLOWS = "192.0.2.1"


class Loop(asyncio.SelectorEventLoop):
    """An event loop in which an address swallows packets: three quarters of the time for connecting go by at once."""

    lost = 0.0

    def time(self) -> float:
        return super().time() + self.lost

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, *arguments: Any, **options: Any
    ) -> Any:
        if host == SWALLOWS:
            self.lost += 15.0
            await asyncio.Event().wait()
        return await super().create_connection(factory, host, *arguments, **options)


class Caller(asyncio.Protocol):
    """Keeps its transport."""

    transport: Any

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


def dial(monkeypatch: pytest.MonkeyPatch, port: int, *addresses: str) -> str:
    """Connect to a host that has these addresses, in 20 seconds; tell which answered."""

    async def resolve(dialer: Dialer, origin: Origin) -> list[str]:
        return list(addresses)

    async def main() -> str:
        caller = await Dialer().dial(Origin("http", "upstream.test", port), Caller, 20.0)
        caller.transport.abort()
        peer: str = caller.transport.get_extra_info("peername")[0]
        return peer

    monkeypatch.setattr(Dialer, "resolve", resolve)
    with asyncio.Runner(loop_factory=Loop) as runner:
        return runner.run(main())


def test_an_address_that_swallows_packets_leaves_time_for_the_next(
    monkeypatch: pytest.MonkeyPatch, upstream: Upstream
) -> None:
    assert dial(monkeypatch, upstream.port, SWALLOWS, "127.0.0.1") == "127.0.0.1"


def test_an_address_that_refuses_is_followed_by_the_next(monkeypatch: pytest.MonkeyPatch, upstream: Upstream) -> None:
    assert dial(monkeypatch, upstream.port, "::1", "127.0.0.1") == "127.0.0.1"


def test_the_last_address_has_all_the_time_that_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConnectTimeout):
        dial(monkeypatch, 9, SWALLOWS, SWALLOWS)
    with pytest.raises(ConnectFailed):
        dial(monkeypatch, 9, SWALLOWS, "127.0.0.1")


def test_the_families_of_addresses_alternate() -> None:
    assert alternate(["2001:db8::1", "2001:db8::2", "192.0.2.1"]) == ["2001:db8::1", "192.0.2.1", "2001:db8::2"]
    assert alternate(["192.0.2.1", "192.0.2.2"]) == ["192.0.2.1", "192.0.2.2"]
    assert alternate(["192.0.2.1", "2001:db8::1", "2001:db8::2"]) == ["192.0.2.1", "2001:db8::1", "2001:db8::2"]
