"""Building neutral requests, and what is written of them."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types.beta import BetaContentBlockParam, BetaToolUnionParam
from pydantic import TypeAdapter

from ai_gateway.errors import BadRequest
from ai_gateway.protocols.anthropic_messages import PROTOCOL
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import (
    FunctionTool,
    Message,
    Part,
    Request,
    Role,
    State,
    Text,
)
from ai_gateway.protocols.protocol import Outgoing
from tests.protocols.anthropic_messages.helpers import DESTINATION, FORMAT, destination

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8/5+hHgAHggJ/PchI7wAAAABJRU5ErkJggg=="
PERSON = {"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]}
BLOCK: TypeAdapter[Any] = TypeAdapter(BetaContentBlockParam)
TOOL: TypeAdapter[Any] = TypeAdapter(BetaToolUnionParam)
F = FunctionTool(name="f", schema={"type": "object", "properties": {"a": {"type": "string"}}})
G = FunctionTool(name="g")
ADAPTIVE = destination(reasoning="adaptive", max_output_tokens=64000, shows_reasoning=False)
BUDGET = destination(reasoning="budget", max_output_tokens=64000, max_budget=63999)


def turn(role: Role, *parts: Part | str, at: str = "") -> Message:
    """A turn; strings are texts."""
    return Message(role=role, parts=[Text(text=part) if isinstance(part, str) else part for part in parts], at=at)


HI = turn("user", "hi")


def request(*messages: Message, **members: Any) -> Request:
    """What a caller of chat completions asks for."""
    return Request(format="openai_chat", model="asked-for", messages=list(messages) or [HI], **members)


def outgoing(given: Request, where: Destination = DESTINATION) -> Outgoing:
    """What is written; every block and tool is one that the SDK knows."""
    written = PROTOCOL.write_request(given, where)
    for message in written.body["messages"]:
        assert message["content"]
        for block in message["content"] if isinstance(message["content"], list) else ():
            BLOCK.validate_python(block)
    for tool in written.body.get("tools", ()):
        TOOL.validate_python(tool)
    return written


def body(given: Request, where: Destination = DESTINATION) -> dict[str, Any]:
    """The body that is written."""
    return outgoing(given, where).body


def conversation(*messages: Message, where: Destination = DESTINATION) -> list[tuple[str, Any]]:
    """The turns that are written, as roles and contents."""
    return [(each["role"], each["content"]) for each in body(request(*messages), where)["messages"]]


def refused(given: Request, where: Destination = DESTINATION) -> str | None:
    """Assert that a request is refused; tell by what name."""
    with pytest.raises(BadRequest) as raised:
        PROTOCOL.write_request(given, where)
    return raised.value.param


def signed(kind: str = "signature", **members: str) -> State:
    """A state that came back from a caller; it is that of the destination unless another is named."""
    whose = {"provider": "upstream", "model": "its-model", "format": FORMAT, **members}
    return State(kind=kind, value="c2ln", **whose)
