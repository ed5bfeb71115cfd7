"""Counting tokens: `POST /v1/responses/input_tokens`.

The answer is `{"object": "response.input_tokens", "input_tokens": 11}`. Source: "Get input token counts" of OpenAI's
API reference.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.conversation import Request
from ai_gateway.protocols.counting import count_of
from ai_gateway.protocols.openai_responses.request_writer import write_request
from ai_gateway.protocols.protocol import Outgoing

COUNTED = ("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text")
"""The members that the endpoint takes: what the prompt is made of, and nothing of how it is answered."""


def read_count(body: dict[str, Any]) -> int:
    """Read the answer: how many tokens. Raises UpstreamProtocolError for what is no answer."""
    return count_of(body, "input_tokens")


def write_count(tokens: int) -> dict[str, Any]:
    """Write the answer."""
    return {"object": "response.input_tokens", "input_tokens": tokens}


def write_count_request(request: Request, destination: Destination) -> Outgoing:
    """Write a request to count the tokens of a conversation. Raises Unsupported as for the conversation itself."""
    written = write_request(request, destination)
    body = {name: written.body[name] for name in COUNTED if name in written.body}
    return msgspec.structs.replace(written, body=body)
