"""Searches that providers charge apart are on the bill, whoever counts them and however the call ends."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests import databases
from tests.conftest import StartGateway
from tests.raw_client import RawClient
from tests.upstream import Upstream, json_answer
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, RESPONSES

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

    def headers(self) -> list[tuple[str, str]]:
        self._name = new_request_id()
        return [BEARER, ("x-provider", "agents"), ("x-request-id", self._name)]

    def entry(self) -> dict[str, Any]:
        return self._reader.entry(self._name)


@pytest.fixture
def ledger(start_gateway: StartGateway, upstream: Upstream, site_database: databases.Database) -> Ledger:
    options = {"base_url": f"http://127.0.0.1:{upstream.port}/v1", "allow_private": True, "api_key": "sk-x"}
    agents = {"BACKEND": "custom", "OPTIONS": {**options, "dialects": ["openai_chat", "openai_responses"]}}
    gateway = start_gateway(USAGE_INTERVAL=0.05, PRICES=[PRICE], PROVIDERS={"agents": agents})
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
