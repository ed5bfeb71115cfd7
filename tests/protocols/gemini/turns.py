"""Turns of a conversation in another format, and what is written of them for Google."""

from __future__ import annotations

from typing import Any

from google.genai import types

from ai_gateway.protocols.conversation import FunctionTool, Message, Part, Role, Text, ToolCall
from tests.protocols.gemini.samples import asked, written

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
WEATHER = FunctionTool(name="weather", description="Tells it.", schema=SCHEMA, at="tools[0]")
LEVEL: dict[str, Any] = {"reasoning": "level", "efforts": ("low", "medium", "high"), "can_disable_reasoning": False}
BUDGET: dict[str, Any] = {"reasoning": "budget", "min_budget": 128, "max_budget": 32768}


def turn(role: Role, *parts: Part) -> Message:
    return Message(role=role, parts=list(parts))


def contents(*messages: Message, **capabilities: Any) -> list[Any]:
    body = written(asked(*messages), **capabilities).body
    for content in body["contents"]:
        types.Content.model_validate(content)
    return list(body["contents"])


USER = turn("user", Text(text="Weather?"))
TWO_CALLS = turn(
    "assistant",
    ToolCall(id="c1", name="weather", arguments='{"city": "A"}'),
    ToolCall(id="c2", name="time", arguments=""),
)
