"""Counting tokens: `POST /v1beta/models/{model}:countTokens`.

A request is `{"contents": [...]}`, or `{"generateContentRequest": {"model", "contents", "systemInstruction", "tools",
...}}` where more than the turns counts. Vertex AI, and so google-genai, has the members of the latter beside the
contents. The answer is `{"totalTokens": 31}`. Source: "Counting tokens" of the Gemini API's reference.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Request
from ai_gateway.protocols.counting import count_of
from ai_gateway.protocols.gemini.request_reader import read_request
from ai_gateway.protocols.gemini.request_writer import write_request
from ai_gateway.protocols.gemini.spelling import members, spelled
from ai_gateway.protocols.protocol import Head, Outgoing
from ai_gateway.protocols.segments import path_segments

COUNTED = ("contents", "systemInstruction", "tools", "toolConfig", "cachedContent")
"""The members that are the prompt. The others say how it is answered."""


def count_target(model: str) -> str:
    """Tell the path that a model's tokens are counted at."""
    return f"/v1beta/models/{path_segments(model)}:countTokens"


def read_count_request(body: dict[str, Any], head: Head, carrier: Carrier) -> Request:
    """Read a caller's request. Raises BadRequest naming the member that is wrong."""
    inner = members(body, "").get("generateContentRequest")
    if inner is None:
        return read_request(body, head, carrier)
    members(inner, spelled(body, "generateContentRequest"))
    return read_request(inner, head, carrier)


def write_count_request(request: Request, destination: Destination) -> Outgoing:
    """Write a request to count what `write_request` would send. Raises Unsupported as that does."""
    outgoing = write_request(request, destination)
    counted = {name: outgoing.body[name] for name in COUNTED if name in outgoing.body}
    if counted.keys() == {"contents"}:
        return msgspec.structs.replace(outgoing, body=counted)
    inner = {"model": f"models/{destination.model}", **counted}
    return msgspec.structs.replace(outgoing, body={"generateContentRequest": inner})


def read_count(body: dict[str, Any]) -> int:
    """Read the answer. Raises UpstreamProtocolError for what is no answer."""
    return count_of(body, "totalTokens")


def write_count(tokens: int) -> dict[str, Any]:
    """Write the answer."""
    return {"totalTokens": tokens}
