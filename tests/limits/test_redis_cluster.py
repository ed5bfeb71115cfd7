"""Counters in a cluster of Redis."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ai_gateway.ids import new_id
from ai_gateway.limits import StoreUnavailable
from ai_gateway.limits.redis import RedisStore
from tests.limits.charging import admits, end, quota, rate, slot, take
from tests.limits.redis_bench import new_server, open_store, play, recovered
from tests.redis_server import RedisServer


@pytest.fixture
def cluster() -> Iterator[RedisServer]:
    """A cluster of one node."""
    server = new_server("--cluster-enabled", "yes")
    server.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    yield server
    server.remove()


async def joined(server: RedisServer) -> RedisStore:
    """Wait until it is a cluster, which takes a moment, and give a store in it."""
    store = open_store(server, cluster=True)
    assert await recovered(store, quota()) == [0]
    return store


def test_a_cluster_counts_on_one_of_its_nodes(cluster: RedisServer) -> None:
    async def steps() -> None:
        store = await joined(cluster)
        assert await admits(store, rate(1), quota(1), slot())
        assert await recovered(store, rate(), quota(), slot()) == [1, 1, 1]

    play(steps())


def test_a_cluster_that_cannot_be_reached_is_tried_again(
    cluster: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    """For redis-py that is an error of another kind than that of a single server."""

    async def steps() -> None:
        store, call = await joined(cluster), new_id()
        await take(store, quota(10), call=call)
        cluster.stop()
        end(store, call, (quota(10), 3))
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"Redis: .*Connect"):
                await admits(store, quota(1))
        (line,) = store._lines.values()
        assert line._send_settled in line._timers

    play(steps())
    assert not [record for record in caplog.records if record.name == "asyncio"]


def test_a_prefix_that_keeps_no_keys_together_is_refused() -> None:
    for prefix in ("", "}a"):
        with pytest.raises(ValueError, match="prefix"):
            RedisStore(cluster=True, prefix=prefix)
    RedisStore(cluster=True, prefix="a}")
    RedisStore(prefix="")
