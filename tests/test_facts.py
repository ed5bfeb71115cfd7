"""What does a call ask for? The same facts in every format."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.calls import Caller
from ai_gateway.facts import NOTHING, Asked, Facts, read_asked
from tests.factories import make_call

IMAGES: dict[str, Any] = {
    "chat": {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x/a.png"}}]}]
    },
    "responses": {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://x/a.png"}]}]},
    "a tool's result": {"input": [{"type": "function_call_output", "output": [{"type": "input_image"}]}]},
    "messages": {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url"}}]}]},
    "a result in messages": {"messages": [{"content": [{"type": "tool_result", "content": [{"type": "image"}]}]}]},
    "gemini": {"contents": [{"parts": [{"inlineData": {"mimeType": "image/png", "data": ""}}]}]},
    "gemini, in snakes": {"contents": {"parts": [{"file_data": {"mime_type": "image/png", "file_uri": "gs://a"}}]}},
    "converse": {"messages": [{"content": [{"image": {"format": "png", "source": {"bytes": ""}}}]}]},
    "a result in converse": {"messages": [{"content": [{"toolResult": {"content": [{"image": {}}]}}]}]},
}
FILES: dict[str, Any] = {
    "chat": {"messages": [{"content": [{"type": "file", "file": {"file_id": "f"}}]}]},
    "responses": {"input": [{"content": [{"type": "input_file", "file_id": "f"}]}]},
    "messages": {"messages": [{"content": [{"type": "document", "source": {}}]}]},
    "gemini": {"contents": [{"parts": [{"inlineData": {"mimeType": "application/pdf"}}]}]},
    "converse": {"messages": [{"content": [{"document": {"name": "a"}}]}]},
}
AUDIO: dict[str, Any] = {
    "chat": {"messages": [{"content": [{"type": "input_audio", "input_audio": {}}]}]},
    "gemini": {"contents": [{"parts": [{"inlineData": {"mimeType": "audio/wav"}}]}]},
}
TOOLS: dict[str, Any] = {
    "most formats": {"tools": [{"type": "function"}]},
    "chat, of old": {"functions": [{"name": "f"}]},
    "converse": {"toolConfig": {"tools": [{}]}},
}
SCHEMAS: dict[str, Any] = {
    "chat": {"response_format": {"type": "json_schema", "json_schema": {}}},
    "responses": {"text": {"format": {"type": "json_schema"}}},
    "messages": {"output_config": {"format": {"type": "json_schema"}}},
    "gemini": {"generationConfig": {"responseSchema": {"type": "OBJECT"}}},
    "converse": {"outputConfig": {"textFormat": {"type": "json_schema"}}},
}


@pytest.mark.parametrize(
    ("fact", "body"),
    [
        pytest.param(fact, body, id=f"{fact}: {name}")
        for fact, bodies in (
            ("images", IMAGES),
            ("files", FILES),
            ("audio", AUDIO),
            ("tools", TOOLS),
            ("json_schema", SCHEMAS),
        )
        for name, body in bodies.items()
    ],
)
def test_each_format_says_it_in_its_own_way(fact: str, body: Any) -> None:
    assert read_asked(json.dumps(body).encode()) == Asked(**{fact: True})


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": 'Write {"type": "image_url"} and "tools": [1].'}]},
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": '{"type": "image"}'}}]}]},
        {"metadata": {"type": "image"}, "tools": [], "response_format": {"type": "json_object"}},
        {"input": "a text", "text": {"format": {"type": "text"}}},
        {"messages": [None, 1, "x", [], {"content": {"type": []}}], "contents": 5, "generationConfig": []},
    ],
)
def test_words_are_no_media_and_odd_bodies_ask_for_nothing(body: Any) -> None:
    assert read_asked(json.dumps(body).encode()) == NOTHING


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b"[" * 5000, None])
def test_what_is_no_object_asks_for_nothing(body: Any) -> None:
    assert read_asked(body) == NOTHING


def test_facts_are_read_once_and_only_when_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []

    def note(body: object) -> Asked:
        read.append(body)
        return NOTHING

    monkeypatch.setattr("ai_gateway.facts.read_asked", note)
    facts = Facts(make_call(body=b'{"a":"%s"}' % (b"x" * 4000)), Caller())
    assert facts.input_tokens == 1002
    assert read == []
    assert facts.asked is facts.asked
    assert len(read) == 1
