"""Calls under way are listed, and an operator ends one: its caller is told so, its provider is left, its row is
written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests import databases
from tests.conftest import StartGateway
from tests.gateway_process import GatewayProcess
from tests.limits.redis_bench import new_server
from tests.raw_client import RawClient, RawConnection
from tests.redis_server import RedisServer
from tests.upstream import End, Upstream, event_stream, play
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT_DIALECT, CHAT_PATH, DIALECTS, JSON

STREAM_BODY = b'{"model": "m", "stream": true}'
A_MOMENT = 2.0


@pytest.fixture
def ledger(site_database: databases.Database) -> LedgerReader:
    return LedgerReader(site_database["NAME"])


@pytest.fixture
def raw(start_gateway: StartGateway) -> RawClient:
    return RawClient(start_gateway(USAGE_INTERVAL=0.05).port)


def begin(raw: RawClient, path: str, request_id: str, body: bytes = STREAM_BODY) -> RawConnection:
    connection = RawConnection(raw.port)
    connection.request("POST", path, [BEARER, JSON, ("x-request-id", request_id)], body)
    return connection


def under_way(raw: RawClient) -> dict[str, dict[str, Any]]:
    """The calls, by their request ids."""
    return {call["request_id"]: call for call in raw.get("/calls").json()["calls"]}


def end(raw: RawClient, call: dict[str, Any]) -> bool:
    return bool(raw.post(f"/calls?id={call['id']}", {}).json()["found"])


def test_streams_are_listed_and_end_with_an_error_event_of_their_dialect(
    raw: RawClient, upstream: Upstream, ledger: LedgerReader
) -> None:
    streams = []
    for dialect in DIALECTS:
        upstream.answer(event_stream(dialect.events[0], End.STALL))
        request_id = new_request_id()
        stream = begin(raw, dialect.stream_path, request_id)
        assert stream.read_head().status == 200
        assert stream.read_text_until(dialect.events[0]) == dialect.events[0]
        streams.append((dialect, request_id, stream))
    listed = under_way(raw)
    for dialect, request_id, stream in streams:
        call = listed[request_id]
        assert (call["state"], call["dialect"], call["key_name"]) == ("streaming", dialect.name, "team-a")
        assert call["bytes_out"] == len(dialect.events[0])
        asked_at = time.monotonic()
        assert end(raw, call)
        event = b"".join(stream.chunks())
        assert time.monotonic() - asked_at < A_MOMENT
        assert "ended by an operator" in dialect.error_event(event)["error"]["message"]
        stream.close()
    upstream.wait_for("the upstream was left", lambda: upstream.busy == 0)
    assert not under_way(raw)
    rows = ledger.entries([request_id for _, request_id, _ in streams])
    assert {(row["outcome"], row["status"], row["error_code"]) for row in rows} == {
        ("cancelled", 200, "cancelled_by_operator")
    }


def test_a_call_that_waits_for_its_answer_is_told_so_and_asked_of_nobody_else(
    raw: RawClient, upstream: Upstream, ledger: LedgerReader
) -> None:
    upstream.answer(play(End.STALL))
    request_id = new_request_id()
    with begin(raw, CHAT_PATH, request_id, b'{"model": "m"}') as connection:
        upstream.wait_for_requests()
        call = under_way(raw)[request_id]
        assert call["state"] == "asking"
        assert end(raw, call)
        answer = connection.read_answer()
        assert (answer.status, answer.json()["error"]["code"]) == (499, "cancelled_by_operator")
        assert (answer.header("x-request-id"), answer.header("x-should-retry")) == (request_id, "false")
    upstream.wait_for("the upstream was left", lambda: upstream.busy == 0)
    row = ledger.entry(request_id)
    assert (row["outcome"], row["status"], row["attempts"]) == ("cancelled", 499, 1)
    assert not end(raw, call), "it is over"


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    server = new_server()
    yield server
    server.remove()


def test_a_call_of_another_process_is_listed_and_ended_over_redis(
    gateway_processes: Callable[..., GatewayProcess], redis: RedisServer, upstream: Upstream
) -> None:
    here, there = (
        RawClient(gateway_processes("direct", {"PEERS": {"URL": redis.url}, "BODY_TIMEOUT": seconds}, {}).port)
        for seconds in (60.0, 61.0)
    )
    upstream.answer(event_stream(CHAT_DIALECT.events[0], End.STALL))
    request_id = new_request_id()
    with begin(there, CHAT_PATH, request_id) as stream:
        assert stream.read_head().status == 200
        assert stream.read_text_until(CHAT_DIALECT.events[0]) == CHAT_DIALECT.events[0]
        found: dict[str, Any] = {}
        upstream.wait_for("they know each other", lambda: bool(found.update(under_way(here)) or request_id in found))
        assert here.get("/calls").json()["processes"] == 2
        assert end(here, found[request_id])
        event = b"".join(stream.chunks())
        assert CHAT_DIALECT.error_event(event)["error"]["code"] == "cancelled_by_operator"
        assert not end(here, found[request_id]), "it is over"
