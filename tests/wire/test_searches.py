"""Searches that providers charge apart are on the bill, whoever counts them and however the call ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import databases
from tests.conftest import StartGateway
from tests.raw_client import RawClient
from tests.upstream import End, Upstream, event_stream, json_answer
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, JSON, MESSAGES, MESSAGES_PATH, RESPONSES

pytestmark = pytest.mark.usefixtures("quiescent")

PRICE = {"provider": "*", "model": "*", "input": 0.25, "output": 2, "units": {"searches": "0.01", "file_searches": 1}}
SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}}
OF_A_FILE = {"id": "fs_1", "type": "file_search_call", "status": "completed", "queries": ["x"], "results": None}
OPENED = {**SEARCH, "id": "ws_2", "action": {"type": "open_page", "url": "https://example.com/x"}}
COUNTS = {"input_tokens": 1000, "output_tokens": 200, "total_tokens": 1200}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "grok-4.7",
    "output": [SEARCH, OPENED, OF_A_FILE],
    "usage": COUNTS,
}
CALLS = {"web_search_calls": 3, "x_search_calls": 7, "code_interpreter_calls": 1, "file_search_calls": 0}


class Ledger:
    """A gateway in front of one provider, and what it writes down."""

    def __init__(self, port: int, reader: LedgerReader) -> None:
        self.raw = RawClient(port)
        self._reader = reader
        self._name = ""

    def headers(self, provider: str = "agents") -> list[tuple[str, str]]:
        self._name = new_request_id()
        return [BEARER, ("x-provider", provider), ("x-request-id", self._name)]

    def entry(self) -> dict[str, Any]:
        return self._reader.entry(self._name)


@pytest.fixture
def ledger(start_gateway: StartGateway, upstream: Upstream, site_database: databases.Database) -> Ledger:
    options = {"base_url": f"http://127.0.0.1:{upstream.port}/v1", "allow_private": True, "api_key": "sk-x"}
    dialects = {"agents": ["openai_chat", "openai_responses"], "responses": ["openai_responses"]}
    providers = {
        name: {"BACKEND": "custom", "OPTIONS": {**options, "dialects": spoken}} for name, spoken in dialects.items()
    }
    gateway = start_gateway(USAGE_INTERVAL=0.05, PRICES=[PRICE], PROVIDERS=providers)
    return Ledger(gateway.port, LedgerReader(site_database["NAME"]))


@pytest.mark.parametrize(
    ("counted", "units"),
    [
        ({}, {"searches": 1, "file_searches": 1}),
        ({"server_side_tool_usage_details": CALLS}, {"searches": 3}),
        ({"tool_calls_details": {"search_web": {"invocation": 2}, "fetch_url": {"invocation": 9}}}, {"searches": 2}),
    ],
    ids=["openai", "xai", "perplexity"],
)
def test_a_response_pays_for_what_its_provider_charges(
    ledger: Ledger, upstream: Upstream, counted: dict[str, Any], units: dict[str, int]
) -> None:
    upstream.answer(json_answer({**RESPONSE, "usage": {**COUNTS, **counted}}))
    assert ledger.raw.post("/v1/responses", RESPONSES, ledger.headers()).status == 200
    entry = ledger.entry()
    assert json.loads(entry["units"]) == units
    assert entry["cost_nanos"] == 650_000 + 10_000_000 * units["searches"] + 10**9 * units.get("file_searches", 0)


def test_a_chat_completion_pays_for_the_searches_that_openrouter_counts(ledger: Ledger, upstream: Upstream) -> None:
    usage = {"prompt_tokens": 1000, "completion_tokens": 200, "total_tokens": 1200}
    counted = {**usage, "cost": 0.5, "server_tool_use_details": {"web_search_requests": 2, "tool_calls_executed": 3}}
    upstream.answer(json_answer({"id": "gen-1", "model": "m", "choices": [], "usage": counted}))
    assert ledger.raw.post(CHAT_PATH, CHAT, ledger.headers()).status == 200
    assert ledger.entry()["cost_nanos"] == 650_000 + 2 * 10_000_000


def event(**members: Any) -> bytes:
    return f"event: {members['type']}\ndata: {json.dumps(members)}\n\n".encode()


SEARCHED = (
    event(type="response.created", response={**RESPONSE, "status": "in_progress", "output": [], "usage": None}),
    event(type="response.output_item.done", output_index=0, item=SEARCH),
    event(type="response.output_item.done", output_index=1, item=OPENED),
    event(type="response.output_text.delta", output_index=2, content_index=0, delta="Spain"),
)
TRANSLATED = {**MESSAGES, "model": "gpt-5-mini", "stream": True}


def pays_for_a_search(entry: dict[str, Any]) -> bool:
    """Whether an estimated entry costs its tokens and one search."""
    assert (json.loads(entry["units"]), entry["is_estimated"]) == ({"searches": 1}, 1)
    return bool(entry["cost_nanos"] == entry["input_tokens"] * 250 + entry["output_tokens"] * 2000 + 10_000_000)


def test_a_translated_stream_whose_provider_dies_pays_for_the_searches_that_were_made(
    ledger: Ledger, upstream: Upstream
) -> None:
    upstream.answer(event_stream(*SEARCHED, End.RESET))
    assert ledger.raw.post(MESSAGES_PATH, TRANSLATED, ledger.headers("responses")).status == 200
    entry = ledger.entry()
    assert (entry["outcome"], entry["dialect"]) == ("failed", "anthropic_messages")
    assert pays_for_a_search(entry)


def test_a_translated_stream_whose_caller_hangs_up_pays_for_the_searches_that_were_made(
    ledger: Ledger, upstream: Upstream
) -> None:
    upstream.answer(event_stream(*SEARCHED, End.STALL))
    with ledger.raw.connect() as connection:
        connection.request("POST", MESSAGES_PATH, [JSON, *ledger.headers("responses")], json.dumps(TRANSLATED).encode())
        connection.read_head()
        connection.read_text_until(b"Spain")
    entry = ledger.entry()
    assert (entry["outcome"], entry["dialect"]) == ("disconnected", "anthropic_messages")
    assert pays_for_a_search(entry)
