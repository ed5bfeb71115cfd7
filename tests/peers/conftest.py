"""Processes of a gateway that are none: members in one process, over a Redis of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import pytest

from ai_gateway.peers.member import Handler, Member
from ai_gateway.peers.redis import RedisWire
from tests.limits.redis_bench import new_server
from tests.redis_server import RedisServer


class Join(Protocol):
    """Gives a process that has joined the others, with what it does when it is told or asked something."""

    def __call__(self, handlers: dict[str, Handler] | None = None, **options: Any) -> Member: ...


@pytest.fixture(scope="session")
def _shared() -> Iterator[RedisServer]:
    server = new_server()
    yield server
    server.remove()


@pytest.fixture
def server(_shared: RedisServer) -> RedisServer:
    """A server, for tests that leave it as it is."""
    _shared.ask("FLUSHALL")
    return _shared


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server to be maltreated."""
    server = new_server()
    yield server
    server.remove()


@pytest.fixture
def members() -> Iterator[list[Member]]:
    """All of the test, which end with it."""
    made: list[Member] = []
    yield made
    for member in made:
        member.stop()


@pytest.fixture
def join(server: RedisServer, members: list[Member]) -> Join:
    def start(handlers: dict[str, Handler] | None = None, **options: Any) -> Member:
        url = options.pop("url", server.url)
        member = Member(lambda me: RedisWire(url, me, **options), handlers or {}, lambda: None)
        members.append(member)
        member.start()
        member._first.result(10)
        return member

    return start
