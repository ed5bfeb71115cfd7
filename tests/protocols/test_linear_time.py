"""A long request takes as long as it is long: it is translated on the loop, where every other caller waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.protocols.test_writing import MARK, written

Json = dict[str, Any]

MANY = 20_000
LONGEST = 3.0
"""Seconds that each takes at most: several times what it needs, and a part of what the square would be."""


def said(*content: Json) -> Json:
    return {"max_tokens": 5, "messages": [{"role": "user", "content": list(content)}]}


def documents(count: int) -> Json:
    source = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
    return said(*({"type": "document", "source": source, "title": "t"} for _ in range(count)))


def marks(count: int) -> Json:
    return said(*({"type": "text", "text": "x", **MARK} for _ in range(count)))


def thought(details: list[Json], content: str = "y") -> Json:
    spoken = {"role": "assistant", "content": content, "reasoning_details": details}
    return {"messages": [{"role": "user", "content": "x"}, spoken, {"role": "user", "content": "z"}]}


def pieces(count: int) -> Json:
    return thought([{"index": 0, "type": "reasoning.text", "text": "a" * 50} for _ in range(5 * count)])


def places(count: int) -> Json:
    blocks = ((place, {"content": place * 20, "tool_calls": 0}) for place in range(2 * count))
    details = [{"index": place, "type": "reasoning.text", "text": "a", "position": at} for place, at in blocks]
    return thought(details, "y" * 40 * count)


def allowed(count: int) -> Json:
    names = [f"f{place}" for place in range(count)]
    return {
        "contents": [{"role": "user", "parts": [{"text": "x"}]}],
        "tools": [{"functionDeclarations": [{"name": name} for name in names]}],
        "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": names}},
    }


@pytest.mark.parametrize(
    ("format", "body", "to"),
    [
        ("anthropic_messages", documents, "bedrock_converse"),
        ("anthropic_messages", marks, "bedrock_converse"),
        ("openai_chat", pieces, "gemini"),
        ("openai_chat", places, "gemini"),
        ("gemini", allowed, "openai_responses"),
        ("gemini", allowed, "anthropic_messages"),
    ],
)
def test_time_does_not_go_with_the_square(format: str, body: Callable[[int], Json], to: str) -> None:
    given = body(MANY)
    began = time.process_time()
    written(format, given, to, cache_marks=True, openai_hints=True)
    assert time.process_time() - began < LONGEST
