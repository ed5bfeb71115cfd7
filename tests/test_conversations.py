"""Conversations of all formats become readable, whatever state they are in."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.conversations import Piece, Turn, read_answer, read_request
from ai_gateway.protocols.carrier import Carrier

CARRIER = Carrier([b"k" * 32])

CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Graz"}'}}
QUESTIONS: dict[str, tuple[str, Any]] = {
    "openai_chat": (
        "/v1/chat/completions",
        {
            "model": "m",
            "messages": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Weather?"},
                {"role": "assistant", "tool_calls": [CALL]},
                {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
            ],
            "tools": [{"type": "function", "function": {"name": "weather"}}],
        },
    ),
    "openai_responses": (
        "/v1/responses",
        {
            "model": "m",
            "instructions": "Be brief.",
            "input": [
                {"role": "user", "content": "Weather?"},
                {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Graz"}'},
                {"type": "function_call_output", "call_id": "call_1", "output": "sunny"},
            ],
            "tools": [{"type": "function", "name": "weather", "parameters": {}}],
        },
    ),
    "anthropic_messages": (
        "/v1/messages",
        {
            "model": "m",
            "max_tokens": 9,
            "system": "Be brief.",
            "messages": [
                {"role": "user", "content": "Weather?"},
                {
                    "role": "assistant",
                    "content": [{"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Graz"}}],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "sunny"}]},
            ],
            "tools": [{"name": "weather", "input_schema": {"type": "object"}}],
        },
    ),
    "gemini": (
        "/v1beta/models/gemini-3:generateContent",
        {
            "systemInstruction": {"parts": [{"text": "Be brief."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Weather?"}]},
                {"role": "model", "parts": [{"functionCall": {"name": "weather", "args": {"city": "Graz"}}}]},
                {
                    "role": "user",
                    "parts": [{"functionResponse": {"name": "weather", "response": {"output": "sunny"}}}],
                },
            ],
            "tools": [{"functionDeclarations": [{"name": "weather"}]}],
        },
    ),
}


@pytest.mark.parametrize("dialect", QUESTIONS)
def test_a_request_of_any_format_reads_the_same(dialect: str) -> None:
    path, body = QUESTIONS[dialect]
    asked = read_request(dialect, path, json.dumps(body), CARRIER)
    assert asked is not None
    assert [turn.role for turn in asked.turns] == ["system", "user", "assistant", "tool"]
    assert asked.turns[0].pieces == [Piece("text", "Be brief.")]
    assert asked.turns[1].pieces == [Piece("text", "Weather?")]
    assert asked.turns[2].pieces == [Piece("call", '{\n  "city": "Graz"\n}', "weather")]
    assert "sunny" in asked.turns[3].pieces[0].text
    assert asked.tools == ["weather"]


def test_media_are_named_and_not_shown() -> None:
    parts = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 4096}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    body = json.dumps({"model": "m", "messages": [{"role": "user", "content": parts}]})
    asked = read_request("openai_chat", "/v1/chat/completions", body, CARRIER)
    assert asked is not None
    titles = [piece.title for piece in asked.turns[0].pieces[1:]]
    assert titles == ["image/png, 3.0 KB", "https://example.com/a.png", "audio/wav, 0.0 KB"]
    assert not any("AAAA" in piece.text for piece in asked.turns[0].pieces)


@pytest.mark.parametrize("body", ['{"model": "m", "messages": [{"role"', "[]", "", "plain", '{"messages": 7}'])
def test_what_is_no_conversation_is_left_to_be_shown_as_it_is(body: str) -> None:
    assert read_request("openai_chat", "/v1/chat/completions", body, CARRIER) is None
    assert read_request("openai", "/v1/embeddings", body, CARRIER) is None


ANSWERS: dict[str, Any] = {
    "openai_chat": {
        "id": "c",
        "model": "m",
        "choices": [
            {"finish_reason": "stop", "message": {"role": "assistant", "content": "Sunny.", "reasoning_content": "Hm"}}
        ],
    },
    "openai_responses": {
        "id": "r",
        "model": "m",
        "status": "completed",
        "output": [
            {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Hm"}]},
            {
                "type": "message",
                "id": "msg",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "Sunny.", "annotations": []}],
            },
        ],
    },
    "anthropic_messages": {
        "id": "m",
        "model": "m",
        "type": "message",
        "role": "assistant",
        "stop_reason": "end_turn",
        "content": [{"type": "thinking", "thinking": "Hm", "signature": "s"}, {"type": "text", "text": "Sunny."}],
        "usage": {"input_tokens": 1, "output_tokens": 1},
    },
    "gemini": {
        "candidates": [
            {
                "finishReason": "STOP",
                "content": {"role": "model", "parts": [{"text": "Hm", "thought": True}, {"text": "Sunny."}]},
            }
        ]
    },
}


@pytest.mark.parametrize("dialect", ANSWERS)
def test_an_answer_of_any_format_reads_the_same(dialect: str) -> None:
    answered = read_answer(dialect, json.dumps(ANSWERS[dialect]).encode(), 200)
    assert answered is not None
    assert sorted(answered.turn.pieces) == [Piece("text", "Sunny."), Piece("thinking", "Hm")]
    assert answered.is_whole
    assert answered.ending == "the model was done"


def events(*deltas: dict[str, Any]) -> bytes:
    chunks = [{"id": "c", "model": "m", "choices": [{"index": 0, **delta}]} for delta in deltas]
    return b"".join(b"data: %b\n\n" % json.dumps(chunk).encode() for chunk in chunks)


STREAM = events({"delta": {"content": "Sun"}}, {"delta": {"content": "ny."}}, {"delta": {}, "finish_reason": "stop"})


def test_a_stream_reads_as_the_whole_answer_does() -> None:
    answered = read_answer("openai_chat", STREAM + b"data: [DONE]\n\n", 200)
    assert answered is not None
    assert answered.turn == Turn("assistant", [Piece("text", "Sunny.")])
    assert answered.is_whole


@pytest.mark.parametrize("length", [len(STREAM) // 2, len(STREAM) - 20])
def test_of_a_stream_that_was_cut_one_reads_what_came(length: int) -> None:
    answered = read_answer("openai_chat", STREAM[:length], 200)
    assert answered is not None
    assert answered.turn.pieces[0].text.startswith("Sun")
    assert not answered.is_whole
    assert answered.ending


@pytest.mark.parametrize(
    ("body", "status"), [(b"", 200), (b'{"error": {"message": "no"}}', 401), (b"<html>", 200), (b'{"a": 1', 200)]
)
def test_what_is_no_answer_is_left_to_be_shown_as_it_is(body: bytes, status: int) -> None:
    assert read_answer("openai_chat", body, status) is None
