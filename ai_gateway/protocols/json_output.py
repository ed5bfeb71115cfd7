"""Asking a model for JSON that it cannot be held to by its format: by a tool, or in words.

A tool's arguments are the answer then (`emulation.py` makes them text again). Words do where no tool can be forced, and
beside OpenAI's JSON mode, which demands that the conversation has the word JSON in it.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

from ai_gateway.protocols.conversation import Message, Text
from ai_gateway.protocols.jsontext import dumps_text

ANY_OBJECT = "Respond with a single valid JSON object and nothing else."
BY_SCHEMA = "Respond with a single JSON value that follows this JSON Schema, and nothing else:\n"


def instruction(schema: dict[str, Any] | None) -> str:
    """Ask for JSON in words: for what a schema describes, or for any object."""
    return ANY_OBJECT if schema is None else BY_SCHEMA + dumps_text(schema)


def says_json(messages: Iterable[Message]) -> bool:
    """Whether a conversation has the word."""
    texts = (part.text for message in messages for part in message.parts if isinstance(part, Text))
    return any("json" in text.lower() for text in texts)


def tool_name(taken: Container[str]) -> str:
    """Give the name of the tool whose arguments are the answer, which no other tool has."""
    name = "json_output"
    while name in taken:
        name += "_"
    return name
