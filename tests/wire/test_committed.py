"""With USAGE_DURABILITY "committed" nobody sees the end of an answer before it is written down.

In all of these tests the database is locked while a call is made. So its entry can only be in the journal, and it must
be there by the time at which the caller can tell that the answer is whole.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests import databases
from tests.conftest import StartGateway
from tests.raw_client import RawConnection
from tests.upstream import Upstream, event_stream, json_answer
from tests.wire.durable_site import is_in_journal, locked
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import (
    BEARER,
    CHAT,
    CHAT_DIALECT,
    CHAT_PATH,
    GEMINI_DIALECT,
    JSON,
    MESSAGES,
    MESSAGES_DIALECT,
    MESSAGES_PATH,
    RESPONSES_DIALECT,
)
from tests.wire.test_accounting import ANSWER, STREAM


class Calling:
    """Makes calls while the database of the gateway is locked."""

    def __init__(self, port: int, database: databases.Database) -> None:
        self.port = port
        self.database = database
        self.name = ""

    @contextmanager
    def call(self, path: str, body: Any) -> Iterator[RawConnection]:
        """Make a call. After the block, the lock is released, and the call must come into the ledger."""
        self.name = new_request_id()
        with locked(self.database), RawConnection(self.port) as connection:
            text = json.dumps(body).encode()
            connection.request("POST", path, [BEARER, JSON, ("x-request-id", self.name)], text)
            yield connection
        LedgerReader(self.database["NAME"]).entry(self.name)

    @property
    def is_durable(self) -> bool:
        """Whether the call that was made last would outlive the process."""
        return is_in_journal(self.name, self.database)


@pytest.fixture
def calling(start_gateway: StartGateway, site_database: databases.Database) -> Calling:
    return Calling(start_gateway(USAGE_DURABILITY="committed", USAGE_INTERVAL=0.05).port, site_database)


TRANSLATED = {**MESSAGES, "model": "groq/gpt-5-mini"}


@pytest.mark.parametrize(
    ("path", "body", "events", "proof"),
    [
        pytest.param(dialect.stream_path, dialect.stream_body, dialect.events, proof, id=dialect.name)
        for dialect, proof in (
            (CHAT_DIALECT, b"[DONE]"),
            (RESPONSES_DIALECT, b"response.completed"),
            (MESSAGES_DIALECT, b"message_stop"),
            (GEMINI_DIALECT, None),  # Its streams just end.
        )
    ]
    + [pytest.param(MESSAGES_PATH, {**TRANSLATED, "stream": True}, STREAM, b"message_stop", id="translated")],
)
def test_the_end_of_a_stream_waits_and_nothing_else_does(
    calling: Calling, upstream: Upstream, path: str, body: Any, events: tuple[bytes, ...], proof: bytes | None
) -> None:
    gate = upstream.gate()
    upstream.answer(event_stream(*events[:-1], gate, events[-1]))
    with calling.call(path, body) as connection:
        assert connection.read_head().status == 200
        assert connection.read_chunk()
        assert not calling.is_durable
        gate.open()
        if proof is not None:
            connection.read_text_until(proof)
        else:
            list(connection.chunks())
        assert calling.is_durable


@pytest.mark.parametrize(
    ("path", "body"),
    [pytest.param(CHAT_PATH, CHAT, id="passed on"), pytest.param(MESSAGES_PATH, TRANSLATED, id="translated")],
)
def test_the_last_byte_of_a_plain_answer_waits(calling: Calling, upstream: Upstream, path: str, body: Any) -> None:
    upstream.answer(json_answer(ANSWER))
    with calling.call(path, body) as connection:
        answer = connection.read_answer("POST")
        assert calling.is_durable
    assert answer.status == 200


def test_the_refusal_of_a_call_waits_too(calling: Calling) -> None:
    with calling.call(CHAT_PATH, {"model": 5}) as connection:
        assert connection.read_answer("POST").status == 400
        assert calling.is_durable
