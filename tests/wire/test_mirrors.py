"""What a mirror and an experiment look like from outside: to the caller, to the providers, and in the ledger."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from tests import databases
from tests.conftest import StartGateway
from tests.raw_client import RawClient
from tests.upstream import Upstream, event_stream
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH

ROUTES = {
    "copied": {"targets": ["openai/old", {"target": "groq/new", "part": "mirror", "percent": 100}]},
    "tried": {
        "targets": ["openai/old", {"target": "groq/new", "part": "experiment", "percent": 50}],
        "experiment": "spring",
    },
}


@pytest.fixture
def ledger(site_database: databases.Database) -> LedgerReader:
    return LedgerReader(site_database["NAME"])


@pytest.fixture
def raw(start_gateway: StartGateway) -> RawClient:
    return RawClient(start_gateway(ROUTES=ROUTES, USAGE_INTERVAL=0.05).port)


def ask(raw: RawClient, route: str, request_id: str) -> str | None:
    answer = raw.post(CHAT_PATH, {**CHAT, "model": route, "stream": True}, [BEARER, ("x-request-id", request_id)])
    assert (answer.status, answer.body) == (200, b"".join(CHAT_DIALECT.events))
    return answer.header("x-gateway-provider")


def test_a_copy_is_seen_by_its_target_and_in_the_ledger_only(
    raw: RawClient, upstream: Upstream, ledger: LedgerReader
) -> None:
    upstream.answer(*[event_stream(*CHAT_DIALECT.events)] * 2)
    request_id = new_request_id()
    assert ask(raw, "copied", request_id) == "openai"
    rows = ledger.entries([request_id] * 2)
    found = {(row["provider"], row["key_name"], row["is_mirror"], row["outcome"]) for row in rows}
    assert found == {("openai", "team-a", 0, "answered"), ("groq", "", 1, "answered")}
    assert sorted(request.json()["model"] for request in upstream.requests) == ["new", "old"]


def test_the_part_of_each_call_is_written_down(raw: RawClient, upstream: Upstream, ledger: LedgerReader) -> None:
    upstream.answer(*[event_stream(*CHAT_DIALECT.events)] * 30)
    asked = {request_id: ask(raw, "tried", request_id) for request_id in [new_request_id() for _ in range(30)]}
    rows = ledger.entries(list(asked))
    assert {row["request_id"]: row["provider"] for row in rows} == asked
    parts = Counter((row["provider"], row["variant"]) for row in rows)
    assert set(parts) == {("openai", "spring:control"), ("groq", "spring:groq/new")}, json.dumps(list(parts))
