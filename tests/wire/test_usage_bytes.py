"""What usage does to the bytes: a request that asks for it, an answer without the event that nobody asked for."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from tests import databases
from tests.conftest import StartGateway
from tests.raw_client import RawClient
from tests.upstream import LAST_CHUNK, Upstream, chunk, event_stream, json_answer, play, stream_head
from tests.wire.ledger_reader import LedgerReader, new_request_id
from tests.wire.samples import BEARER, CHAT, CHAT_PATH, DIALECTS, RESPONSES, Dialect

pytestmark = pytest.mark.usefixtures("quiescent")

STREAMED = {**CHAT, "stream": True}
ASKED = {"include_usage": True}
FIRST = b'data: {"choices":[{"delta":{"content":"caf\xc3\xa9"}}],"usage":null}\n\n'
LAST = b'data: {"choices":[{"delta":{},"finish_reason":"stop"}],"usage":null}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}\n\n'
ZERO = b'data: {"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}}\n\n'
DONE = b"data: [DONE]\n\n"

STREAMS = {
    "with": [FIRST, LAST, USAGE, DONE],
    "without": [FIRST, LAST, DONE],
    "zero": [FIRST, LAST, ZERO, DONE],
    "in the middle": [FIRST, USAGE, FIRST, LAST, DONE],
    "several": [FIRST, USAGE, LAST, USAGE, ZERO, DONE],
}
BY_STREAM = pytest.mark.parametrize("events", STREAMS.values(), ids=STREAMS)


@BY_STREAM
def test_a_caller_that_did_not_ask_gets_the_rest_of_the_stream(
    raw: RawClient, upstream: Upstream, events: list[bytes]
) -> None:
    upstream.answer(event_stream(*events))
    answer = raw.post(CHAT_PATH, STREAMED, [BEARER])
    assert answer.body == b"".join(event for event in events if event not in (USAGE, ZERO))
    assert json.loads(upstream.request.body) == {**STREAMED, "stream_options": ASKED}


@BY_STREAM
def test_a_caller_that_asked_gets_every_byte(raw: RawClient, upstream: Upstream, events: list[bytes]) -> None:
    upstream.answer(event_stream(*events))
    body = {**STREAMED, "stream_options": {"include_usage": True, "include_obfuscation": False}}
    assert raw.post(CHAT_PATH, body, [BEARER]).body == b"".join(events)
    assert json.loads(upstream.request.body) == body


LONG = json.dumps([{"role": "user", "content": 'The "model" is: {} ' * 40}] * 200)
INNER = '[{"type":"function","function":{"name":"f","parameters":{"properties":{"model":{"type":"string"}}}}}]'


@pytest.mark.parametrize(
    "written",
    [
        '{{"messages":{long},"model": "{model}" ,"stream":true}}',
        '{{"model":"{model}", "stream":true, "messages":{long}}}',
        '{{"tools":{inner},"messages":{long},"stream":true,"model":"{model}"}}',
        '{{"model":"{model}","tools":{inner},"messages":{long},"stream":true}}',
        '{{"mo\\u0064el":"{model}","messages":{long},"stream":true}}',
    ],
    ids=["model last", "model first", "another before", "another behind", "with an escape"],
)
def test_a_long_prompt_is_changed_in_two_places_and_no_other(raw: RawClient, upstream: Upstream, written: str) -> None:
    upstream.answer(event_stream(*STREAMS["with"]))
    body = written.format(model="openai/gpt-5-mini", long=LONG, inner=INNER)
    assert raw.post(CHAT_PATH, body.encode(), [BEARER]).status == 200
    expected = written.format(model="gpt-5-mini", long=LONG, inner=INNER)
    assert bytes(upstream.request.body).decode() == '{"stream_options":{"include_usage":true},' + expected[1:]


def test_a_caller_that_wants_none_gets_none(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(event_stream(*STREAMS["with"]))
    body = {**STREAMED, "stream_options": {"include_usage": False}}
    assert USAGE not in raw.post(CHAT_PATH, body, [BEARER]).body
    assert json.loads(upstream.request.body)["stream_options"] == ASKED


@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("seed", range(4))
def test_the_event_is_taken_out_however_the_stream_is_cut(
    raw: RawClient, upstream: Upstream, end: bytes, seed: int
) -> None:
    stream = b"".join(STREAMS["several"]).replace(b"\n", end)
    dice = random.Random(seed)
    cuts = range(len(stream) + 1) if seed == 0 else sorted({0, len(stream), *dice.sample(range(len(stream)), 9)})
    pieces = [chunk(stream[start:stop]) for start, stop in itertools.pairwise(cuts)]
    upstream.answer(play(stream_head(), *pieces, LAST_CHUNK))
    answer = raw.post(CHAT_PATH, STREAMED, [BEARER])
    assert answer.body == b"".join([FIRST, LAST, DONE]).replace(b"\n", end)


@pytest.mark.parametrize("dialect", DIALECTS[1:], ids=lambda dialect: dialect.name)
def test_other_formats_are_not_touched(raw: RawClient, upstream: Upstream, dialect: Dialect) -> None:
    upstream.answer(event_stream(*dialect.events))
    answer = raw.post(dialect.stream_path, dialect.stream_body, [BEARER])
    assert answer.body == b"".join(dialect.events)
    assert json.loads(upstream.request.body) == dialect.stream_body


def test_a_call_that_is_no_stream_is_not_touched(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(json_answer({"usage": {"prompt_tokens": 9}, "choices": []}))
    assert raw.post(CHAT_PATH, CHAT, [BEARER]).json() == {"usage": {"prompt_tokens": 9}, "choices": []}
    assert json.loads(upstream.request.body) == CHAT


def test_a_site_can_have_nobody_asked(start_gateway: StartGateway, upstream: Upstream) -> None:
    raw = RawClient(start_gateway(USAGE_STREAM_OPTIONS=False).port)
    upstream.answer(event_stream(*STREAMS["with"]))
    assert raw.post(CHAT_PATH, STREAMED, [BEARER]).body == b"".join(STREAMS["with"])
    assert json.loads(upstream.request.body) == STREAMED


def test_a_refusal_of_the_option_is_the_providers_answer(raw: RawClient, upstream: Upstream) -> None:
    """It is the operator's to say that this provider does not know it."""
    error = {"error": {"message": "Unknown parameter: stream_options", "type": "invalid_request_error"}}
    upstream.answer(json_answer(error, status=400))
    answer = raw.post(CHAT_PATH, STREAMED, [BEARER])
    assert (answer.status, answer.json()) == (400, error)


# Answers of which only parts are kept.

SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}}
OPENED = {**SEARCH, "id": "ws_2", "action": {"type": "open_page", "url": "https://example.com/x"}}
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [], "encrypted_content": "gAAAAA" * 5000}
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "status": "completed",
    "model": "gpt-5-mini",
    "output": [THOUGHT, SEARCH, OPENED] * 7 + [THOUGHT] * 3,
    "service_tier": "flex",
    "usage": {"input_tokens": 1000, "output_tokens": 200, "total_tokens": 1200},
}
PRICE = {"provider": "openai", "model": "*", "input": 0.25, "output": 2, "units": {"searches": "0.01"}}


def test_the_searches_of_a_long_answer_are_counted_and_its_bytes_pass_unchanged(
    start_gateway: StartGateway, upstream: Upstream, site_database: databases.Database
) -> None:
    """OpenAI lists each use of its tool in the midst of the answer, and charges for those that searched."""
    raw = RawClient(start_gateway(USAGE_INTERVAL=0.05, PRICES=[PRICE]).port)
    upstream.answer(json_answer(RESPONSE))
    name = new_request_id()
    answer = raw.post("/v1/responses", RESPONSES, [BEARER, ("x-request-id", name)])
    assert answer.body == json.dumps(RESPONSE).encode()
    entry = LedgerReader(site_database["NAME"]).entry(name)
    assert json.loads(entry["units"]) == {"searches": 7}
    assert (entry["service_tier"], entry["is_estimated"]) == ("flex", 0)
    assert entry["cost_nanos"] == 1000 * 250 + 200 * 2000 + 7 * 10_000_000
