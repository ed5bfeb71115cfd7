"""The playground over a real server: it streams, and a page that hangs up ends the call at the provider."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import databases
from tests.raw_client import RawClient, RawConnection
from tests.upstream import End, Upstream, event_stream
from tests.wire.ledger_reader import LedgerReader
from tests.wire.samples import CHAT_DIALECT, JSON

pytestmark = [
    pytest.mark.usefixtures("quiescent"),
    pytest.mark.parametrize("door", ["direct", "stock"], indirect=True),
]

PATH = "/playground/answer/"
TOKEN = "a" * 32
HEADERS = [JSON, ("cookie", f"csrftoken={TOKEN}"), ("x-csrftoken", TOKEN)]
PROMPT: dict[str, Any] = {"model": "openai/gpt-5-mini", "messages": [{"role": "user", "text": "Good day"}]}
FIRST, *REST = CHAT_DIALECT.events


def ask(connection: RawConnection) -> None:
    connection.request("POST", PATH, HEADERS, json.dumps(PROMPT).encode())
    assert connection.read_head().status == 200


def test_an_event_arrives_before_the_next_one_is_sent(raw: RawClient, upstream: Upstream) -> None:
    gate = upstream.gate()
    upstream.answer(event_stream(FIRST, gate, *REST))
    with raw.connect() as connection:
        ask(connection)
        first = connection.read_text_until(b"Hel")
        assert b'"status":200' in first
        gate.open()
        rest = b"".join(connection.chunks())
    lines = [json.loads(line) for line in (first + rest).splitlines()]
    assert "".join(line.get("raw", "") for line in lines) == b"".join(CHAT_DIALECT.events).decode()
    assert lines[-1]["ended"] is True
    assert upstream.request.json()["messages"] == [{"role": "user", "content": "Good day"}]


@pytest.mark.parametrize("leave", [RawConnection.close, RawConnection.reset], ids=["close", "reset"])
def test_a_page_that_hangs_up_frees_the_provider(raw: RawClient, upstream: Upstream, leave: Any) -> None:
    upstream.answer(event_stream(FIRST, End.STALL))
    connection = raw.connect()
    ask(connection)
    connection.read_text_until(b"Hel")
    leave(connection)
    upstream.wait_for("the gateway has left the provider", lambda: upstream.aborted == 1 and upstream.busy == 0, 10)


def test_a_page_that_hangs_up_before_the_provider_answers_frees_it(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(event_stream(End.STALL))
    connection = raw.connect()
    connection.request("POST", PATH, HEADERS, json.dumps(PROMPT).encode())
    upstream.wait_for_requests()
    connection.close()
    upstream.wait_for("the gateway has left the provider", lambda: upstream.aborted == 1 and upstream.busy == 0, 10)


def test_the_record_names_the_user(raw: RawClient, upstream: Upstream, site_database: databases.Database) -> None:
    upstream.answer(event_stream(*CHAT_DIALECT.events))
    with raw.connect() as connection:
        ask(connection)
        lines = [json.loads(line) for line in b"".join(connection.chunks()).splitlines()]
    (head,) = [line["head"] for line in lines if "head" in line]
    row = LedgerReader(site_database["NAME"]).entry(dict(head["headers"])["x-request-id"])
    assert (row["user_id"], row["key_id"]) == (4711, None)


def test_without_the_token_nothing_is_asked(raw: RawClient, upstream: Upstream) -> None:
    assert raw.post(PATH, PROMPT, [("cookie", f"csrftoken={TOKEN}")]).status == 403
    assert not upstream.requests
