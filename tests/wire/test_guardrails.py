"""Guardrails through both doors: what the provider gets, what the caller gets, and what the ledger says."""

from __future__ import annotations

import json

import pytest

from tests import databases
from tests.conftest import StartGateway
from tests.raw_client import RawClient
from tests.upstream import Upstream, event_stream
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_PATH

GUARDRAILS = {
    "pii": {"BACKEND": "redaction", "OPTIONS": {"restore": True}, "EVERYWHERE": True},
    "words": {"BACKEND": "patterns", "OPTIONS": {"deny": ["forbidden"]}, "EVERYWHERE": True, "WINDOW": 20},
}


@pytest.fixture
def raw(start_gateway: StartGateway) -> RawClient:
    return RawClient(start_gateway(GUARDRAILS=GUARDRAILS, USAGE_INTERVAL=0.05).port)


def streamed(*texts: str) -> list[bytes]:
    pieces = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    return [*(b"data: %s\n\n" % json.dumps(piece).encode() for piece in pieces), b"data: [DONE]\n\n"]


def test_what_passes_is_changed_and_what_must_not_ends(
    raw: RawClient, upstream: Upstream, site_database: databases.Database
) -> None:
    ids = [new_request_id() for _ in range(3)]
    mail = {**CHAT, "stream": True, "messages": [{"role": "user", "content": "Greet ann@mail.example"}]}
    upstream.answer(event_stream(*streamed("Dear [EM", "AIL_1]!")), event_stream(*streamed("It is for", "bidden", "!")))

    passed = raw.post(CHAT_PATH, mail, [BEARER, ("x-request-id", ids[0])])
    assert passed.body == b"".join(streamed("Dear ann@mail.example", "!"))
    assert [request.json()["messages"] for request in upstream.requests] == [
        [{"role": "user", "content": "Greet [EMAIL_1]"}]
    ]

    ended = raw.post(CHAT_PATH, mail, [BEARER, ("x-request-id", ids[1])])
    assert (ended.status, b"guardrail_blocked" in ended.body, b"[DONE]" in ended.body) == (200, True, False)
    assert b"bidden" not in ended.body

    asked = {**CHAT, "messages": [{"role": "user", "content": "forbidden"}]}
    refused = raw.post(CHAT_PATH, asked, [BEARER, ("x-request-id", ids[2])])
    assert (refused.status, refused.header("x-should-retry")) == (400, "false")
    assert len(upstream.requests) == 2

    rows = LedgerReader(site_database["NAME"]).entries(ids)
    assert {row["request_id"]: (row["outcome"], row["status"]) for row in rows} == {
        ids[0]: ("answered", 200),
        ids[1]: ("blocked", 200),
        ids[2]: ("blocked", 400),
    }
    assert "mail.example" not in json.dumps([row["trail"] for row in rows])
