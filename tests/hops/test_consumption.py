"""What calls used that are translated, counted or answered here."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from ai_gateway.attempts import ask
from ai_gateway.calls import Caller, Target
from ai_gateway.consumption import UNUSED, Consumption
from ai_gateway.errors import ProviderError, UpstreamProtocolError
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.registry import Snapshot
from tests.factories import JSON, Answer, Scripted, make_meter, run
from tests.hops.conftest import SSE, Exchange, call_to

Ask = Callable[..., Exchange]

CHAT = {"model": "m", "messages": [{"role": "user", "content": "word " * 800}]}
MESSAGE: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-x",
    "content": [{"type": "text", "text": "x" * 80}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 9, "cache_read_input_tokens": 100, "output_tokens": 21, "service_tier": "priority"},
}
USED = Consumption(
    tokens=TokenUsage(input=9, cache_read=100, output=21),
    model="claude-x",
    upstream_id="msg_1",
    service_tier="priority",
)


def event(**members: Any) -> bytes:
    return f"event: {members['type']}\ndata: {json.dumps(members)}\n\n".encode()


START = event(
    type="message_start", message={**MESSAGE, "content": [], "usage": {**MESSAGE["usage"], "output_tokens": 1}}
)
OPEN = event(type="content_block_start", index=0, content_block={"type": "text", "text": ""})
TEXT = event(type="content_block_delta", index=0, delta={"type": "text_delta", "text": "x" * 80})
END = event(type="message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 21})
STOP = event(type="message_stop")


def stream(*events: bytes) -> Answer:
    return Answer(*events, headers=[SSE])


def test_a_translated_answer(exchange: Ask) -> None:
    done = exchange("/v1/chat/completions", CHAT, "messages", Answer(json.dumps(MESSAGE).encode(), headers=[JSON]))
    assert done.consumption == USED


def test_a_translated_stream(exchange: Ask) -> None:
    answer = stream(START, OPEN + TEXT, END, STOP)
    done = exchange("/v1/chat/completions", {**CHAT, "stream": True}, "messages", answer)
    assert done.consumption == USED
    assert done.meter.first_token_at is not None


SEARCHED = {"output_tokens": 21, "server_tool_use": {"web_search_requests": 2}}


def test_a_translated_answer_counts_the_searches_for_it_like_one_that_passes(exchange: Ask) -> None:
    """They are charged apart; untold they cost nothing, whatever the budget."""
    message = {**MESSAGE, "usage": {**MESSAGE["usage"], **SEARCHED}}
    whole = exchange("/v1/chat/completions", CHAT, "messages", Answer(json.dumps(message).encode(), headers=[JSON]))
    end = event(type="message_delta", delta={"stop_reason": "end_turn"}, usage=SEARCHED)
    answer = stream(START, OPEN + TEXT, end, STOP)
    streamed = exchange("/v1/chat/completions", {**CHAT, "stream": True}, "messages", answer)
    assert whole.consumption == streamed.consumption == msgspec.structs.replace(USED, units={"searches": 2})


def test_a_translated_stream_that_breaks(exchange: Ask) -> None:
    done = exchange("/v1/chat/completions", {**CHAT, "stream": True}, "messages", stream(START, OPEN + TEXT))
    assert done.consumption is not None
    assert done.consumption.tokens == TokenUsage(input=9, cache_read=100, output=20, is_estimated=True)
    assert done.consumption.upstream_id == "msg_1"


@pytest.mark.parametrize(
    ("answer", "uses_prompt"),
    [
        (Answer(b'{"error":{"type":"overloaded_error"}}', status=529, headers=[JSON]), False),
        (stream(event(type="error", error={"type": "overloaded_error", "message": "x"})), False),
        (Answer(b"<html>", headers=[JSON]), True),
    ],
    ids=["status", "first event", "no answer"],
)
def test_a_refusal_uses_nothing_but_an_answer_that_cannot_be_read_does(
    snapshot: Snapshot, answer: Answer, uses_prompt: bool
) -> None:
    call = call_to("/v1/chat/completions", {**CHAT, "stream": True})
    meter = make_meter(call, Caller(key_name="team"))
    with pytest.raises((ProviderError, UpstreamProtocolError)):
        run(ask(meter, [Target("messages", "m")], snapshot, Scripted(answer)))
    consumption = meter.listener.consumption() if meter.listener is not None else None
    assert (consumption is not None) == uses_prompt
    if consumption is not None:
        assert consumption.tokens.is_estimated
        assert consumption.tokens.input > 1000


def test_what_is_answered_here_uses_nothing(exchange: Ask) -> None:
    warm = {"model": "m", "max_tokens": 0, "messages": CHAT["messages"]}
    assert exchange("/v1/messages", warm, "chat").consumption == UNUSED
    count = {"model": "m", "messages": CHAT["messages"]}
    assert exchange("/v1/messages/count_tokens", count, "chat").consumption == UNUSED


def test_translated_embeddings(exchange: Ask) -> None:
    answer: dict[str, Any] = {"embeddings": [{"values": [0.5]}]}
    body = {"model": "m", "input": "word " * 800}
    google = exchange("/v1/embeddings", body, "google", Answer(json.dumps(answer).encode(), headers=[JSON]))
    assert google.consumption is not None
    assert google.consumption.tokens.is_estimated
    assert google.consumption.tokens.input > 1000
    asked = {"content": {"parts": [{"text": "word"}]}}
    answer = {
        "data": [{"index": 0, "embedding": [0.5]}],
        "model": "e",
        "usage": {"prompt_tokens": 3, "total_tokens": 3},
    }
    path = "/v1beta/models/m:embedContent"
    openai = exchange(path, asked, "openai", Answer(json.dumps(answer).encode(), headers=[JSON]))
    assert openai.consumption == Consumption(tokens=TokenUsage(input=3), model="e")


# Of a stream that is cut, its end does not tell what is charged apart.

SEARCH = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"type": "search", "query": "x"}}
OPENED = {**SEARCH, "id": "ws_2", "action": {"type": "open_page", "url": "https://example.com/x"}}
DELTA = {"type": "response.output_text.delta", "output_index": 2, "content_index": 0, "delta": "Spain"}
OF_OPENAI = (
    event(type="response.created", response={"id": "resp_1", "model": "gpt-x", "output": []}),
    event(type="response.output_item.done", output_index=0, item=SEARCH),
    event(type="response.output_item.done", output_index=1, item=OPENED),
    event(**DELTA),
)


def unnamed(**members: Any) -> bytes:
    return f"data: {json.dumps(members)}\n\n".encode()


GROUNDING = {"webSearchQueries": ["x"], "groundingChunks": []}
OF_GOOGLE = (
    unnamed(candidates=[{"content": {"parts": [{"text": "Sp"}]}, "groundingMetadata": GROUNDING}], modelVersion="m"),
    unnamed(candidates=[{"content": {"parts": [{"text": "ain"}]}}]),
)
COUNTED = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10, "num_search_queries": 1}
OF_PERPLEXITY = (
    unnamed(id="a", model="m", choices=[{"index": 0, "delta": {"content": "Sp"}}], usage=COUNTED),
    unnamed(id="a", model="m", choices=[{"index": 0, "delta": {"content": "ain"}}], usage=COUNTED),
)


@pytest.mark.parametrize(
    ("path", "to", "events"),
    [
        ("/v1/chat/completions", "responses", OF_OPENAI),
        ("/v1/chat/completions", "google/gemini-3-flash", OF_GOOGLE),
        ("/v1/messages", "chat", OF_PERPLEXITY),
    ],
    ids=["responses", "gemini", "chat"],
)
def test_a_translated_stream_that_is_cut_has_its_searches_counted(
    exchange: Ask, path: str, to: str, events: tuple[bytes, ...]
) -> None:
    done = exchange(path, {**CHAT, "max_tokens": 9, "stream": True}, to, stream(*events))
    assert done.consumption is not None
    assert done.consumption.tokens.is_estimated
    assert done.consumption.units == {"searches": 1}
