"""What do the stores cost, and do they hold? Three figures of docs/reliability.md, each with real servers.

    python -m tests.benchmarks.stores connections [--streams 1000]      F5: connections to PostgreSQL, beside streams
    python -m tests.benchmarks.stores rate [--seconds 600]              F11: what four gateways let through of a rate
    python -m tests.benchmarks.stores reservations [--limits 1]         F23: how long a reservation in PostgreSQL takes

They need PostgreSQL's and Redis' programs, and leave nothing behind.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

import django
import psycopg
from django.conf import settings

from ai_gateway.charges import Algorithm, Charges, Counter
from ai_gateway.ids import new_id
from tests import databases
from tests.conftest import GATEWAY_KEY
from tests.gateway_process import GatewayProcess, site_environment
from tests.raw_client import RawClient
from tests.redis_server import RedisServer
from tests.upstream import End, Upstream, chunk, play, stream_head

PATH = "/v1/chat/completions"
BEARER = ("authorization", f"Bearer {GATEWAY_KEY}")
EVENT = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
TOTAL = {"scope": "key", "window": "total"}

GATEWAYS = 4
RATE = 600
"""Requests a minute."""


@contextmanager
def postgres() -> Iterator[databases.PostgresServer]:
    """A server with the tables of the site."""
    server = databases.PostgresServer()
    try:
        databases.migrate(site_environment("direct", {}, {"DATABASES": {"default": server.database}}))
        yield server
    finally:
        server.remove()


# F5.


def connections(streams: int) -> None:
    """Hold streams open through a gateway that uses its database for everything, and count its connections."""
    with postgres() as server, tempfile.TemporaryDirectory() as folder:
        upstream = Upstream()
        upstream.answer(play(stream_head(), chunk(EVENT), End.STALL))
        gateway = GatewayProcess(
            "direct", connected(upstream.port), Path(folder) / "log", site={"DATABASES": {"default": server.database}}
        )
        try:
            asyncio.run(hold(streams, gateway, server))
        finally:
            gateway.stop()
            upstream.stop()


def connected(port: int) -> dict[str, Any]:
    """Write settings by which usage, limits and configuration are in the database."""
    options = {"base_url": f"http://127.0.0.1:{port}/v1", "api_key": "sk-x", "allow_private": True}
    return {
        "PROVIDERS": {"openai": {"OPTIONS": options}},
        "KEYS": {"team-a": GATEWAY_KEY},
        "PRICES": [{"model": "*", "input": 1, "output": 1}],
        "LIMITS": [{"name": "cost", "measure": "cost", "amount": 10**6, **TOTAL}],
        "LIMIT_STORE": {"BACKEND": "database", "TIMEOUT": 30},
        "TRANSPORT": {"OPTIONS": {"max_connections": 4000}},
        "MAX_CALLS": 4000,
    }


async def hold(streams: int, gateway: GatewayProcess, server: databases.PostgresServer) -> None:
    """Open streams, and tell how many connections there are before, with them, and after."""
    print(f"idle: {count(server)}")
    writers = []
    for begin in range(0, streams, 50):
        opened = await asyncio.gather(*(open_stream(gateway.port) for _ in range(begin, min(begin + 50, streams))))
        writers += opened
    most = max(count(server) for _ in range(20))
    print(f"{len(writers)} streams: {most} connections at most, {gateway.threads} threads")
    for writer in writers:
        writer.close()
    await asyncio.sleep(3)
    print(f"afterwards: {count(server)}")


async def open_stream(port: int) -> asyncio.StreamWriter:
    """Begin a stream, and wait for its first event."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"model":"m","stream":true,"max_tokens":5,"messages":[]}'
    head = f"POST {PATH} HTTP/1.1\r\nhost: 127.0.0.1\r\n{BEARER[0]}: {BEARER[1]}\r\ncontent-length: {len(body)}\r\n"
    writer.write(f"{head}content-type: application/json\r\n\r\n".encode() + body)
    await reader.readuntil(b"Hello")
    return writer


def count(server: databases.PostgresServer) -> int:
    """Count the connections to the database, but for this one."""
    with psycopg.connect(f"host=127.0.0.1 port={server.port} user=gateway dbname=gateway") as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = 'gateway' AND pid <> pg_backend_pid()"
        ).fetchone()
    assert row is not None
    return int(row[0])


# F11.


def rate(seconds: float) -> None:
    """Ask four gateways that share a limit for twice as much as it allows, and count what they let through."""
    server = RedisServer()
    limit = {"name": "often", "scope": "key", "measure": "requests", "window": "minute", "amount": RATE}
    store = {"BACKEND": "redis", "OPTIONS": {"url": server.url}}
    chosen = {"KEYS": {"team-a": GATEWAY_KEY}, "LIMITS": [limit], "LIMIT_STORE": store, "USAGE": False}
    with tempfile.TemporaryDirectory() as folder:
        gateways = [GatewayProcess("direct", chosen, Path(folder) / f"log-{number}") for number in range(GATEWAYS)]
        try:
            tell_rate(asyncio.run(ask_all([gateway.port for gateway in gateways], seconds)))
        finally:
            for gateway in gateways:
                gateway.stop()
            server.remove()


async def ask_all(ports: Sequence[int], seconds: float) -> list[tuple[float, int]]:
    """Ask every gateway in its turn, at twice the rate; give when each answer came, and its status."""
    found: list[tuple[float, int]] = []
    clients = [RawClient(port) for port in ports]
    pause = 60 / RATE / 2
    began = time.monotonic()
    calls = []
    for number in range(int(seconds / pause)):
        await asyncio.sleep(max(0.0, began + number * pause - time.monotonic()))
        calls.append(asyncio.create_task(ask(clients[number % len(clients)], found)))
    await asyncio.gather(*calls)
    return sorted(found)


async def ask(client: RawClient, found: list[tuple[float, int]]) -> None:
    """Make one call to the provider that answers by itself."""
    answer = await asyncio.to_thread(client.post, PATH, {"model": "echo/echo-1", "messages": []}, [BEARER])
    found.append((time.monotonic(), answer.status))


def tell_rate(found: Sequence[tuple[float, int]]) -> None:
    """Tell what was let through in all, and in whichever span had the most beyond what the limit allows."""
    admitted = [at for at, status in found if status == 200]
    statuses = {status: sum(each == status for _, each in found) for status in sorted({each for _, each in found})}
    # Beyond the rate, and its burst of a minute: the largest rise of "so many so far, less what the rate gives".
    excess = [number - at * RATE / 60 for number, at in enumerate(admitted, 1)]
    lowest = accumulate((each - 1 for each in excess), min)
    worst = max(each - low for each, low in zip(excess, lowest, strict=True))
    seconds = found[-1][0] - found[0][0]
    print(f"{len(found)} calls in {seconds:.0f} s: {statuses}")
    print(f"allowed: {RATE + seconds * RATE / 60:.0f}; the most in any span beyond the rate: {worst:.1f} of {RATE}")


# F23.


def reservations(seconds: float, limits: int) -> None:
    """Reserve and settle a hundred times a second, with so many limits for each of twenty keys."""
    with postgres() as server:
        os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
        settings.DATABASES = {"default": server.database}
        django.setup()
        asyncio.run(reserve(seconds, limits))


async def reserve(seconds: float, limits: int, each_second: int = 100) -> None:
    """Take and settle charges at an even pace, and tell how long taking took."""
    from ai_gateway.limits.database import DatabaseStore  # The models need Django to be set up.

    store = DatabaseStore()
    taken: list[float] = []

    async def call(number: int) -> None:
        charges = charges_of(number % 20, limits)
        began = time.perf_counter()
        verdict = await store.admit(charges, 300.0)
        taken.append(time.perf_counter() - began)
        assert verdict.is_admitted
        await asyncio.sleep(0.2)
        store.settle(charges, [amount // 2 for amount in charges.amounts])

    began, calls = time.monotonic(), []
    for number in range(int(seconds * each_second)):
        await asyncio.sleep(max(0.0, began + number / each_second - time.monotonic()))
        calls.append(asyncio.create_task(call(number)))
    await asyncio.gather(*calls)
    await store.aclose()
    shown = statistics.quantiles((each * 1e3 for each in taken), n=100)
    print(f"{len(taken)} reservations: p50 {shown[49]:.1f} ms, p95 {shown[94]:.1f} ms, p99 {shown[98]:.1f} ms")


def charges_of(key: int, limits: int) -> Charges:
    """What a call takes of the first limits of a key."""
    counters = [
        Counter(f"{key}:cost", Algorithm.QUOTA, 10**15),
        Counter(f"{key}:requests", Algorithm.RATE, 10**6),
        Counter(f"{key}:slots", Algorithm.CONCURRENCY, 1000),
        Counter(f"{key}:tokens", Algorithm.QUOTA, 10**15),
    ]
    return Charges(new_id(), counters[:limits], [1000, 1, 1, 1000][:limits])


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.stores", description=__doc__)
    commands = parser.add_subparsers(dest="figure", required=True)
    commands.add_parser("connections").add_argument("--streams", type=int, default=1000)
    commands.add_parser("rate").add_argument("--seconds", type=float, default=600)
    reserving = commands.add_parser("reservations")
    reserving.add_argument("--seconds", type=float, default=60)
    reserving.add_argument("--limits", type=int, default=1, choices=range(1, 5))
    given = parser.parse_args()
    if given.figure == "connections":
        connections(given.streams)
    elif given.figure == "rate":
        rate(given.seconds)
    else:
        reservations(given.seconds, given.limits)


if __name__ == "__main__":
    main()
