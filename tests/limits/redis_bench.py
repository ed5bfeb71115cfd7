"""What tests of the counters in Redis need: servers, stores on them, and a look at what they keep."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from ai_gateway.limits import LimitStore, StoreUnavailable
from ai_gateway.limits.redis import RedisStore
from ai_gateway.limits.redis.client import Client
from ai_gateway.limits.redis.link import Link
from tests.limits.backends import SharedBackend
from tests.limits.charging import Charge, states
from tests.redis_server import PATIENCE, RedisServer, find_redis

UNHURRIED = 10.0
"""Seconds for an answer where nothing is meant to be late: the machine may be busy."""

Result = TypeVar("Result")


def new_server(*options: str) -> RedisServer:
    try:
        find_redis()
    except LookupError as error:
        pytest.skip(str(error))
    return RedisServer(*options)


def new_sentinel(server: RedisServer) -> RedisServer:
    """Start a sentinel that watches a server, by the name of limits."""
    sentinel = new_server()
    sentinel.stop()
    configuration = sentinel.folder / "sentinel.conf"
    configuration.write_text(f"port {sentinel.port}\nsentinel monitor limits 127.0.0.1 {server.port} 1\n")
    sentinel.command = [sentinel.program, str(configuration), "--sentinel"]
    sentinel.start()
    return sentinel


def play(steps: Coroutine[Any, Any, Result]) -> Result:
    """Run the steps of a test in an event loop, which has closed everything at its end."""
    return asyncio.run(steps)


def open_store(server: RedisServer, **options: Any) -> RedisStore:
    return RedisStore(server.url, **{"timeout": UNHURRIED, **options})


def new_link(server: RedisServer, tag: str = "ai_gateway", timeout: float = UNHURRIED) -> Link:
    """Make a connection for batches that a test writes itself."""
    client = Client(server.url, UNHURRIED, options={})
    return Link(client, tag=tag, timeout=timeout, seed=0, unwritten=2.0, clock=None)


def keys(server: RedisServer) -> list[str]:
    return server.ask("KEYS", "*").decode().split("\r\n")[2::2]


async def used(store: LimitStore, *charges: Charge) -> list[int]:
    return [each.used for each in await states(store, *charges)]


async def recovered(store: LimitStore, *charges: Charge) -> list[int]:
    """Tell where counters stand as soon as Redis answers again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await used(store, *charges)
            except StoreUnavailable:
                await asyncio.sleep(0.05)


class InRedis(SharedBackend):
    """Stores of one server."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self._server = server

    def new_store(self) -> RedisStore:
        return open_store(self._server, clock=self.clock)

    async def renew(self, store: LimitStore) -> None:
        assert isinstance(store, RedisStore)
        await store.renew()

    async def kill(self, store: LimitStore) -> None:
        assert isinstance(store, RedisStore)
        store.abandon()
