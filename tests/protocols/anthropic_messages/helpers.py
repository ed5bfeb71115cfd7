"""What the tests of Messages have in common: the SDK's own reading of a stream, and ours."""

from __future__ import annotations

import json
from typing import Any

import httpx2
from anthropic._streaming import SSEDecoder
from anthropic.lib.streaming._beta_messages import accumulate_event
from anthropic.types.beta import BetaMessage

from ai_gateway.protocols.anthropic_messages import PROTOCOL
from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Answer, Part, Request, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Event
from ai_gateway.protocols.protocol import Head
from tests.protocols.streams import collected, cut, events_of_pieces

FORMAT = "anthropic_messages"
CARRIER = Carrier([b"0" * 32], provider="upstream", model="its-model")
HEAD = Head(model="asked-for", stream=True)
DESTINATION = Destination(provider="upstream", model="its-model", format=FORMAT)
ASKED = Request(format=FORMAT, model="asked-for", messages=[])


def destination(**capabilities: Any) -> Destination:
    """A destination whose model can do this and that."""
    return Destination(provider="upstream", model="its-model", format=FORMAT, capabilities=Capabilities(**capabilities))


def read(body: dict[str, Any]) -> Request:
    """Read a caller's body."""
    return PROTOCOL.read_request(body, HEAD, CARRIER)


def events_of(stream: bytes, size: int | None = None) -> list[Event]:
    """Read a stream whole, or in pieces of some bytes."""
    return events_of_pieces(PROTOCOL, cut(stream, size or max(1, len(stream))))


def answer_of(stream: bytes) -> Answer:
    """Read a stream to the answer that it makes."""
    return collected(events_of(stream))


def written(events: list[Event], request: Request = ASKED) -> bytes:
    """Write a stream for a caller."""
    writer = PROTOCOL.stream_writer(request, CARRIER, HEAD)
    return b"".join(map(writer.write, events))


def wire_events(stream: bytes) -> list[dict[str, Any]]:
    """Take a stream apart as the SDK does, pings left out."""
    decoded = list(SSEDecoder().iter_bytes(iter([stream])))
    assert all(each.event == json.loads(each.data)["type"] for each in decoded if each.event)
    return [json.loads(each.data) for each in decoded if each.event and each.event != "ping"]


def accumulated(stream: bytes) -> BetaMessage:
    """What the SDK makes of a stream."""
    snapshot: Any = None
    buffers: dict[int, bytes] = {}
    for event in wire_events(stream):
        snapshot = accumulate_event(
            event=event,  # type: ignore[arg-type]
            current_snapshot=snapshot,
            json_bufs=buffers,
            request_headers=httpx2.Headers(),
        )
    assert isinstance(snapshot, BetaMessage)
    return snapshot


def assert_grammar(stream: bytes) -> None:
    """What Anthropic guarantees of a stream that ended well."""
    events = wire_events(stream)
    assert [event["type"] for event in events[:1]] == ["message_start"]
    assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
    index, kind = -1, None
    for event in events[1:-2]:
        if event["type"] == "content_block_start":
            assert (kind, event["index"]) == (None, index + 1)
            index, kind = event["index"], event["content_block"]["type"]
        else:
            assert event["index"] == index
            assert kind is not None
        if event["type"] == "content_block_delta":
            assert DELTAS[event["delta"]["type"]] == kind
        elif event["type"] == "content_block_stop":
            kind = None
    assert kind is None


DELTAS = {
    "text_delta": "text",
    "citations_delta": "text",
    "thinking_delta": "thinking",
    "signature_delta": "thinking",
    "input_json_delta": "tool_use",
}


def comparable(parts: list[Part]) -> list[tuple[Any, ...]]:
    """What of an answer's parts must be the same on every way; a text that is empty is none."""
    known: list[tuple[Any, ...]] = []
    for part in parts:
        if isinstance(part, Text) and part.text:
            known.append(("text", part.text))
        elif isinstance(part, Thinking) and (part.text or part.state):
            known.append(("thinking", part.text, part.state.value if part.state else ""))
        elif isinstance(part, ToolCall):
            known.append(("call", part.id, part.name, json.loads(part.arguments or "{}")))
    return known


def sdk_comparable(message: BetaMessage) -> list[tuple[Any, ...]]:
    """The same of what the SDK has read."""
    known: list[tuple[Any, ...]] = []
    for block in message.content:
        if block.type == "text" and block.text:
            known.append(("text", block.text))
        elif block.type == "thinking":
            known.append(("thinking", block.thinking, block.signature or ""))
        elif block.type == "redacted_thinking":
            known.append(("thinking", "", block.data))
        elif block.type == "tool_use":
            known.append(("call", block.id, block.name, block.input))
    return known
