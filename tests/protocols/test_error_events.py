"""Errors that providers put into a stream: each dialect's judgement of shapes that are rare or broken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_gateway.protocols import DIALECTS

CHAT, RESPONSES = DIALECTS["openai_chat"], DIALECTS["openai_responses"]
MESSAGES, GEMINI = DIALECTS["anthropic_messages"], DIALECTS["gemini"]

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "type", "code", "message", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("chunk", "status"),
    [
        ({"choices": [{"delta": {"content": "an error"}}]}, None),
        ({"choices": [{"delta": {"content": '"error"'}}]}, None),
        ({"choices": [], "error": None}, None),
        ({"choices": [{"delta": {"error": "inner"}}]}, None),
        (["error"], None),
        ({"error": "boom"}, 502),
        ({"error": {}, "choices": []}, None),
        ({"error": {"message": "x"}}, 502),
        ({"error": {"message": "x", "code": 503}}, 503),
        ({"error": {"message": "x", "code": "429"}}, 429),
        ({"error": {"message": "x", "code": 200}}, 502),
        ({"error": {"message": "x", "code": "RateLimitReached"}}, 429),
        ({"error": {"message": "x", "type": "insufficient_quota"}}, 429),
        ({"error": {"message": "x", "type": "overloaded_error"}}, 503),
        ({"error": {"message": "x", "type": "invalid_request_error", "code": "tool_use_failed"}}, 400),
        ({"code": "The service is currently unavailable", "error": "The service is unavailable"}, 503),
        ({"choices": [{"delta": {}, "finish_reason": "error"}], "error": {"code": 502, "message": "x"}}, 502),
    ],
)
def test_a_chat_chunk(chunk: Any, status: int | None) -> None:
    assert CHAT.read_error(None, json.dumps(chunk).encode()) == status


@pytest.mark.parametrize(
    ("name", "event", "status"),
    [
        ("response.created", {"type": "response.created", "response": {"error": None}}, None),
        ("response.output_text.delta", {"delta": "error"}, None),
        ("error", {"type": "error", "error": {"type": "invalid_request_error", "code": "rate_limit_exceeded"}}, 429),
        ("error", {"type": "error", "code": "rate_limit_exceeded", "message": "x", "param": None}, 429),
        ("error", {"type": "error", "code": None, "message": "x"}, 502),
        ("error", "boom", 502),
        (None, {"type": "error", "code": "invalid_prompt", "message": "x"}, 400),
        (None, {"error": {"message": "x", "code": 429}}, 429),
        (None, {"type": "response.created", "response": {"error": None}}, None),
        (None, "error", None),
    ],
)
def test_a_responses_event(name: str | None, event: Any, status: int | None) -> None:
    assert RESPONSES.read_error(name, json.dumps(event).encode()) == status


@pytest.mark.parametrize(
    ("name", "event", "status"),
    [
        ("message_start", {"type": "message_start"}, None),
        ("ping", {"type": "ping"}, None),
        ("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, 529),
        ("error", {"type": "error", "error": {"type": "rate_limit_error", "message": "x"}}, 429),
        ("error", {"type": "error", "error": {"type": "something_new", "message": "x"}}, 502),
        ("error", {"type": "error", "error": {"type": ["odd"], "message": "x"}}, 502),
        ("error", {"type": "error", "error": "x"}, 502),
        ("error", [], 502),
    ],
)
def test_an_anthropic_event(name: str, event: Any, status: int | None) -> None:
    assert MESSAGES.read_error(name, json.dumps(event).encode()) == status


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ({"candidates": [{"content": {"parts": [{"text": "error"}]}}]}, None),
        ({"candidates": [{"functionCall": {"args": {"error": 1}}}]}, None),
        ({"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}}, 503),
        ([{"error": {"code": 429, "message": "x", "status": "RESOURCE_EXHAUSTED"}}], 429),
        ({"error": {"message": "x"}}, 502),
        ({"error": "x"}, 502),
        ([], None),
        (["error"], None),
    ],
)
def test_a_gemini_event(event: Any, status: int | None) -> None:
    assert GEMINI.read_error(None, json.dumps(event).encode()) == status


@pytest.mark.parametrize("name", ["openai_chat", "openai_responses", "anthropic_messages", "gemini"])
@pytest.mark.parametrize("event", ["error", None])
def test_what_is_no_json_breaks_nothing(name: str, event: str | None) -> None:
    for data in (b"", b'"error"', b'{"error"', b"[DONE]", b'{"error":{"code":' + b"1" * 5000 + b"}}", b'"error"\xff'):
        assert DIALECTS[name].read_error(event, data) in (None, 502)


@given(st.sampled_from(["openai_chat", "openai_responses", "anthropic_messages", "gemini"]), JSON)
def test_any_json_is_judged_to_be_an_error_or_not(name: str, event: Any) -> None:
    for event_name in (None, "error"):
        status = DIALECTS[name].read_error(event_name, json.dumps(event).encode())
        assert status is None or 400 <= status <= 599
