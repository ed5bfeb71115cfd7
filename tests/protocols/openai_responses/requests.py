"""Requests that were recorded, and those of other formats."""

from __future__ import annotations

from typing import Any

from openai.types.responses import response_create_params
from pydantic import TypeAdapter

from ai_gateway.protocols.conversation import Message, Part, Request, Text
from tests.protocols.vectors import Vector, vectors

PARAMS: TypeAdapter[Any] = TypeAdapter(response_create_params.ResponseCreateParamsNonStreaming)

REFUSED = {
    "previous_response_id": "previous_response_not_found",
    "conversation": "invalid_request",
    "background": "unsupported_value",
    "prompt": "unsupported_value",
}
"""What nothing is kept for, with the code of the refusal."""

RECORDED = [v for v in vectors("openai_responses") if isinstance(v.request, dict) and v.path.endswith("/responses")]


def needs_storage(vector: Vector) -> bool:
    items = vector.request["input"] if isinstance(vector.request["input"], list) else []
    return any(vector.request.get(name) for name in REFUSED) or any(item.get("type") == "compaction" for item in items)


TRANSLATED = [vector for vector in RECORDED if not needs_storage(vector)]


def function(name: str, **members: Any) -> dict[str, Any]:
    return {"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, **members}


def user(*parts: Part) -> Message:
    return Message(role="user", parts=list(parts))


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=list(parts))


def request(*messages: Message, **fields: Any) -> Request:
    """A request of another format."""
    return Request(
        format="anthropic_messages", model="thinker-1", messages=list(messages or [user(Text(text="Hi"))]), **fields
    )
