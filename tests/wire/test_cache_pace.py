"""Streams out of the cache at their own pace, as callers see them. In the cache of these tests every piece was waited
for, for a minute."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import databases
from tests.conftest import default_settings
from tests.gateway_process import Door, GatewayProcess
from tests.raw_client import RawConnection
from tests.upstream import Upstream, event_stream
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, JSON

SLOW = {"default": {"BACKEND": "tests.wire.slow_streams.SlowStreams"}}
CACHE = {"replay": "paced", "replay_seconds": 3600, "memory": 0, "timeout": 20}
FIRST = CHAT_DIALECT.events[0]
WHOLE = b"".join(CHAT_DIALECT.events)


@pytest.fixture
def gateway(
    door: Door, upstream: Upstream, site_database: databases.Database, tmp_path: Path
) -> Iterator[GatewayProcess]:
    """A gateway that is the test's alone, and has a stream in its cache."""
    gate = upstream.gate()
    upstream.answer(event_stream(FIRST, gate, *CHAT_DIALECT.events[1:]))
    settings = {"RESPONSE_CACHE": CACHE, "USAGE_INTERVAL": 0.05, "KEEP_ALIVE_INTERVAL": 0, "DRAIN_TIMEOUT": 30}
    site = {"DATABASES": {"default": site_database}, "CACHES": SLOW}
    process = GatewayProcess(door, {**default_settings(upstream), **settings}, tmp_path / "gateway.log", site=site)
    with ask(process) as caller:
        caller.read_head()
        caller.read_text_until(FIRST)  # By itself, and so it is a piece.
        gate.open()
        assert [*caller.chunks()]
    upstream.wait_for("it is kept", lambda: is_kept(process))
    yield process
    process.kill()
    process.assert_log_in_order()


def ask(gateway: GatewayProcess, *headers: tuple[str, str]) -> RawConnection:
    """Ask the same as always, on a connection of its own."""
    connection = RawConnection(gateway.port)
    body = json.dumps({**CHAT, "stream": True, "seed": os.getpid()}).encode()
    connection.request("POST", CHAT_PATH, [BEARER, JSON, *headers], body)
    return connection


def is_kept(gateway: GatewayProcess) -> bool:
    with ask(gateway, ("x-gateway-cache", "replay=at-once")) as caller:
        answer = caller.read_answer()
        assert answer.body == WHOLE
        return answer.header("x-gateway-cache") == "hit"


def begun(gateway: GatewayProcess, *headers: tuple[str, str]) -> RawConnection:
    """Ask, and read the first piece of what is given again."""
    caller = ask(gateway, *headers)
    assert caller.read_head().header("x-gateway-cache") == "hit"
    assert caller.read_text_until(FIRST) == FIRST
    return caller


def test_whoever_hangs_up_in_a_pause_is_gone(
    gateway: GatewayProcess, upstream: Upstream, site_database: databases.Database
) -> None:
    name, tasks = new_request_id(), gateway.tasks()
    begun(gateway, ("x-request-id", name)).close()
    row = LedgerReader(site_database["NAME"]).entry(name)
    assert (row["outcome"], row["bytes_out"], row["cost_nanos"]) == ("disconnected", len(FIRST), 0)
    upstream.wait_for("nothing is left of it", lambda: gateway.tasks() <= tasks)


def test_a_gateway_that_stops_gives_the_rest_at_once(
    gateway: GatewayProcess, site_database: databases.Database
) -> None:
    names = [new_request_id() for _ in range(3)]
    callers = [begun(gateway, ("x-request-id", name)) for name in names]
    gateway.terminate()
    for caller in callers:
        assert b"".join(caller.chunks()) == WHOLE.removeprefix(FIRST)
        caller.close()
    gateway.wait()
    rows = LedgerReader(site_database["NAME"]).entries(names)
    assert [row["outcome"] for row in rows] == ["cached"] * 3
