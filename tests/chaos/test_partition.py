"""Two gateways that share a PostgreSQL and a Redis, and cables between them that are cut, slow, or unplugged."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests import databases
from tests.chaos.conftest import wait_until_equal
from tests.chaos.link import Link
from tests.conftest import default_settings
from tests.gateway_process import GatewayProcess, site_environment
from tests.raw_client import ConnectionEnded, RawClient
from tests.redis_server import RedisServer
from tests.site_shell import SiteShell
from tests.threads import going_on
from tests.upstream import Upstream, json_answer
from tests.wire.ledger_reader import new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_PATH
from tests.wire.test_accounting import ANSWER, PRICES

SECONDS = float(os.environ.get("GATEWAY_PARTITION_SECONDS", "0"))
"""How long each state of a cable lasts at least. With more than 0, there are more of them."""

ENOUGH = 15
"""How often in a row the callers of a gateway must have been told something, so that it can be relied on."""

PATIENCE = 30.0

CALLERS = 3
"""For each gateway."""

REFUSED = "503 limits_unavailable"
"""What callers are told while the limits cannot be counted."""

LIMITS = [
    {"name": "requests", "scope": "key", "measure": "requests", "window": "total", "amount": 10**9},
    {"name": "cost", "scope": "key", "measure": "cost", "window": "total", "amount": "1000000"},
]


class Seen(NamedTuple):
    """What one caller saw: an answer, or how it failed, after so many seconds."""

    state: str
    told: str
    seconds: float
    name: str
    port: int


class Callers:
    """Callers of both gateways that go on all the time, and what they saw, by the state of the cables."""

    def __init__(self, ports: list[int]) -> None:
        self.state = "cold"
        self._ports = ports
        self.calls: list[Seen] = []
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._call_on, args=(port,)) for port in ports for _ in range(CALLERS)]

    def calling(self) -> AbstractContextManager[None]:
        """Call, until the block is over."""
        return going_on(self._threads, self._is_over)

    def _call_on(self, port: int) -> None:
        client = RawClient(port)
        while not self._is_over.is_set():
            name, began = new_request_id(), time.monotonic()
            try:
                answer = client.post(CHAT_PATH, CHAT, [BEARER, ("x-request-id", name)])
            except (OSError, ConnectionEnded) as error:
                told = repr(error)
            else:
                told = "200" if answer.status == 200 else f"{answer.status} {answer.json()['error']['code']}"
            # In which state it ended: one that began before may have been cut off.
            self.calls.append(Seen(self.state, told, time.monotonic() - began, name, port))
            time.sleep(0.005)

    def during(self, state: str, begin: Callable[[], None], end: Callable[[], None], told: str = "200") -> None:
        """Let a cable be in a state until callers have been told this often enough, and then until all is well again
        for them."""
        self.state = state
        begin()
        self.wait_until_told(told)
        end()
        self.state = f"after {state}"
        self.wait_until_told("200")

    def wait_until_told(self, told: str) -> None:
        """Wait until callers of every gateway are told this in the present state, and nothing else any more."""
        began = time.monotonic()
        while time.monotonic() < began + SECONDS or not all(self._are_told(told, port) for port in self._ports):
            assert time.monotonic() < began + PATIENCE, f"{self.state}: {self.in_state(self.state)}"
            time.sleep(0.02)

    def _are_told(self, told: str, port: int) -> bool:
        latest = [seen.told for seen in self.calls if (seen.state, seen.port) == (self.state, port)][-ENOUGH:]
        return latest == [told] * ENOUGH

    @property
    def answered(self) -> list[str]:
        """The request ids of the calls that were answered."""
        return [seen.name for seen in self.calls if seen.told == "200"]

    def in_state(self, state: str) -> Counter[str]:
        """What callers saw in a state, and how often."""
        return Counter(seen.told for seen in self.calls if seen.state == state)


@pytest.fixture
def redis_link(redis_server: RedisServer) -> Iterator[Link]:
    link = Link(redis_server.port)
    yield link
    link.close()


@pytest.fixture
def postgres_link(postgres_server: databases.PostgresServer) -> Iterator[Link]:
    link = Link(postgres_server.port)
    yield link
    link.close()
    if postgres_server.process is None:
        postgres_server.start()


def test_two_gateways_whose_stores_are_cut_off_slow_and_restarted(
    redis_server: RedisServer,
    postgres_server: databases.PostgresServer,
    redis_link: Link,
    postgres_link: Link,
    upstream: Upstream,
    tmp_path: Path,
) -> None:
    """Without the database calls go on, and are written down later. Without Redis, where the limits are counted, they
    are refused at once with an error that says so, and are served as soon as it is back."""
    upstream.answer(json_answer(ANSWER))
    site = {"DATABASES": {"default": cabled(postgres_server.database, postgres_link)}}
    store = {"BACKEND": "redis", "OPTIONS": {"url": f"redis://127.0.0.1:{redis_link.port}/0"}, "TIMEOUT": 1}
    settings = {**default_settings(upstream), "PRICES": PRICES, "LIMITS": LIMITS, "LIMIT_STORE": store}
    shell = SiteShell(site_environment("direct", settings, {"DATABASES": {"default": postgres_server.database}}))
    shell.run("UsageRecord.objects.all().delete()")
    gateways = [
        GatewayProcess(door, {**settings, "USAGE_INTERVAL": 0.2}, tmp_path / f"{door}.log", site=site)
        for door in ("direct", "django")
    ]
    callers = Callers([gateway.port for gateway in gateways])
    try:
        with callers.calling():
            callers.wait_until_told("200")
            callers.state = "well"
            callers.wait_until_told("200")
            callers.during("redis is cut off", redis_link.cut, redis_link.mend, REFUSED)
            callers.during("postgres is cut off", postgres_link.cut, postgres_link.mend)
            if SECONDS:
                callers.during("redis is slow", lambda: redis_link.slow(0.05), redis_link.mend)
                callers.during("redis is unplugged", redis_link.unplug, redis_link.mend, REFUSED)
                callers.during("redis is restarted", redis_server.stop, redis_server.start, REFUSED)
                callers.during("postgres is slow", lambda: postgres_link.slow(0.05), postgres_link.mend)
                callers.during("postgres is unplugged", postgres_link.unplug, postgres_link.mend)
                callers.during("postgres is restarted", postgres_server.stop, postgres_server.start)
        tell(callers)
        wait_until_equal("calls that are not written down", lambda: unwritten(shell, callers.answered), [])
    finally:
        for gateway in gateways:
            gateway.stop()
        shell.close()
    for state in {seen.state for seen in callers.calls}:
        allowed = {"200", REFUSED} if "redis" in state or state == "cold" else {"200"}
        assert set(callers.in_state(state)) <= allowed, f"{state}: {callers.in_state(state)}"
    for gateway in gateways:
        assert "Traceback" not in gateway.log()


def cabled(database: databases.Database, link: Link) -> databases.Database:
    """The same database at the other end of a cable. Without a pool, which takes its time to notice."""
    return {**database, "PORT": str(link.port), "OPTIONS": {"connect_timeout": 2}}


def unwritten(shell: SiteShell, names: list[str]) -> list[str]:
    """The calls that are not in the ledger. None may be there twice."""
    written = shell.run("result = list(UsageRecord.objects.values_list('request_id', flat=True))")
    assert len(written) == len(set(written))
    return sorted(set(names) - set(written))[:5]


def tell(callers: Callers) -> None:
    """Print what callers saw."""
    for state in dict.fromkeys(seen.state for seen in callers.calls):
        longest = max(seen.seconds for seen in callers.calls if seen.state == state)
        print(f"{state:32} {dict(callers.in_state(state))}, longest {longest * 1000:.0f} ms")
