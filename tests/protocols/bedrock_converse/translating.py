"""What the tests of translated requests have in common."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.errors import BadRequest, GatewayError
from ai_gateway.protocols.bedrock_converse import PROTOCOL
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.conversation import (
    FunctionTool,
    Message,
    Part,
    Request,
    Text,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.protocol import Outgoing
from tests.protocols.bedrock_converse.botocore_client import checked
from tests.protocols.bedrock_converse.samples import CLAUDE, asked, to

Json = dict[str, Any]

TEXT = {"text": "Hi"}
FILLED = {"role": "assistant", "content": [{"text": "."}]}
CALL = ToolCall(id="call_1", name="f", arguments='{"a":1}')
RESULT = ToolResult(call_id="call_1", parts=[Text(text="ok")])
TOOL = FunctionTool(name="f", description="Does.", schema={"type": "object", "properties": {}}, at="tools[0]")
CALL_BLOCK = {"toolUse": {"toolUseId": "call_1", "name": "f", "input": {"a": 1}}}
RESULT_BLOCK = {"toolResult": {"toolUseId": "call_1", "content": [{"text": "ok"}]}}


def system(*parts: Part) -> Message:
    return Message(role="system", parts=list(parts), at="messages[0]")


def user(*parts: Part) -> Message:
    return Message(role="user", parts=list(parts), at="messages[0]")


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=list(parts), at="messages[0]")


def write(request: Request, capabilities: Capabilities = CLAUDE) -> Outgoing:
    """Write, and check what is written against the service model; and that the order of writing changes nothing."""
    outgoing = PROTOCOL.write_request(request, to(capabilities))
    checked(outgoing.body)
    assert json.dumps(PROTOCOL.write_request(request, to(capabilities)).body) == json.dumps(outgoing.body)
    return outgoing


def turns(*messages: Message, capabilities: Capabilities = CLAUDE) -> Any:
    tools = [TOOL] if any(isinstance(part, ToolCall) for message in messages for part in message.parts) else []
    return write(asked(*messages, tools=tools), capabilities).body["messages"]


def refusal(request: Request, capabilities: Capabilities = CLAUDE) -> GatewayError:
    with pytest.raises(BadRequest) as raised:
        PROTOCOL.write_request(request, to(capabilities))
    return raised.value
