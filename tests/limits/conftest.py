"""Servers of Redis for the tests of counters."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.limits.redis_bench import new_server
from tests.redis_server import RedisServer


@pytest.fixture(scope="module")
def _server() -> Iterator[RedisServer]:
    server = new_server()
    yield server
    server.remove()


@pytest.fixture
def server(_server: RedisServer) -> RedisServer:
    """An empty server, for tests that leave it as it is."""
    _server.ask("FLUSHALL")
    return _server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server to be maltreated."""
    server = new_server()
    yield server
    server.remove()
