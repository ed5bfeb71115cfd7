"""Requests, answers and streams of Converse, after the examples and descriptions in AWS's service model and guides."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any
from zlib import crc32

from ai_gateway.protocols.bedrock_converse.words import NAME
from ai_gateway.protocols.capabilities import Capabilities, Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Message, Request, Text
from ai_gateway.protocols.protocol import Head

Json = dict[str, Any]

CARRIER = Carrier([b"0" * 32], "bedrock", "model")
HEAD = Head(model="model", stream=False)
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"\0" * 24).decode()
PDF = base64.b64encode(b"%PDF-1.7\n" + b"\0" * 24).decode()

CLAUDE = Capabilities(
    reasoning="budget",
    top_k=True,
    result_media=True,
    strict_tools=True,
    forced_tool_choice="without_reasoning",
    max_budget=63999,
    mid_system=False,
)
ADAPTIVE = Capabilities(
    reasoning="adaptive",
    efforts=("low", "medium", "high", "max"),
    result_media=True,
    forced_tool_choice="adaptive",
    mid_system=False,
    shows_reasoning=False,
)
OTHERS = Capabilities(user_first=True, structured_outputs=False, forced_tool_choice="never", mid_system=False)


def to(capabilities: Capabilities = CLAUDE, model: str = "model") -> Destination:
    """Give a destination that speaks Converse."""
    return Destination(provider="bedrock", model=model, format=NAME, capabilities=capabilities)


def asked(*messages: Message, **fields: Any) -> Request:
    """Give a request of a caller of chat completions."""
    turns = list(messages) or [Message(role="user", parts=[Text(text="Hi")], at="messages[0]")]
    return Request(**({"format": "openai_chat", "model": "model", "messages": turns} | fields))


def hand_made_frame(headers: dict[str, str], payload: bytes) -> bytes:
    """Write a frame by the description of the encoding."""
    block = b"".join(
        struct.pack(f"!B{len(name)}sBH{len(value)}s", len(name), name, 7, len(value), value)
        for name, value in ((name.encode(), value.encode()) for name, value in headers.items())
    )
    prelude = struct.pack("!II", 16 + len(block) + len(payload), len(block))
    data = prelude + struct.pack("!I", crc32(prelude)) + block + payload
    return data + struct.pack("!I", crc32(data))


def event(name: str, **payload: Any) -> bytes:
    """Write an event as Bedrock does, with the padding that it adds against the guessing of lengths."""
    headers = {":event-type": name, ":content-type": "application/json", ":message-type": "event"}
    return hand_made_frame(headers, json.dumps(payload | {"p": "abcdefghij"}).encode())


def exception(name: str, message: str) -> bytes:
    """Write an exception."""
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return hand_made_frame(headers, json.dumps({"message": message}).encode())


def delta(index: int, **delta: Any) -> bytes:
    """Write a `contentBlockDelta`."""
    return event("contentBlockDelta", contentBlockIndex=index, delta=delta)


def stop(index: int) -> bytes:
    """Write a `contentBlockStop`."""
    return event("contentBlockStop", contentBlockIndex=index)


def call_start(index: int, id: str, name: str, **members: Any) -> bytes:
    """Write the `contentBlockStart` of a call."""
    start = {"toolUse": {"toolUseId": id, "name": name} | members}
    return event("contentBlockStart", contentBlockIndex=index, start=start)


USAGE = {
    "inputTokens": 9,
    "outputTokens": 20,
    "totalTokens": 1063,
    "cacheReadInputTokens": 1000,
    "cacheWriteInputTokens": 34,
    "cacheDetails": [{"ttl": "1h", "inputTokens": 30}, {"ttl": "5m", "inputTokens": 4}],
}
START = event("messageStart", role="assistant")
METADATA = event("metadata", usage=USAGE, metrics={"latencyMs": 551}, serviceTier={"type": "default"})


def ending(reason: str, **members: Any) -> list[bytes]:
    """Write the two events that end a stream."""
    return [event("messageStop", stopReason=reason, **members), METADATA]


STREAMS: dict[str, list[bytes]] = {
    "text": [START, delta(0, text="Hello"), delta(0, text=" 😀"), stop(0), *ending("end_turn")],
    "empty": [START, *ending("end_turn")],
    "empty text": [START, delta(0, text=""), stop(0), *ending("end_turn")],
    "stop sequence": [
        START,
        delta(0, text="1 2"),
        stop(0),
        *ending("stop_sequence", additionalModelResponseFields={"stop_sequence": "3"}),
    ],
    "parallel calls": [
        START,
        delta(0, text="Two calls."),
        stop(0),
        call_start(1, "tooluse_a", "weather"),
        delta(1, toolUse={"input": ""}),
        delta(1, toolUse={"input": '{"city"'}),
        delta(1, toolUse={"input": ':"Rome"}'}),
        stop(1),
        call_start(2, "tooluse_b", "time"),
        stop(2),
        *ending("tool_use"),
    ],
    "reasoning": [
        START,
        delta(0, reasoningContent={"text": "Hm"}),
        delta(0, reasoningContent={"text": "m."}),
        delta(0, reasoningContent={"signature": "c2ln"}),
        stop(0),
        delta(1, reasoningContent={"redactedContent": base64.b64encode(b"secret").decode()}),
        stop(1),
        delta(2, text="42"),
        stop(2),
        *ending("end_turn"),
    ],
    "citations": [
        START,
        delta(0, citation={"title": "A", "location": {"web": {"url": "https://a.example"}}}),
        delta(0, text="As A says."),
        stop(0),
        *ending("end_turn"),
    ],
    "own tools": [
        START,
        call_start(0, "tooluse_s", "nova_code_interpreter", type="server_tool_use"),
        delta(0, toolUse={"input": "{}"}),
        stop(0),
        event("contentBlockStart", contentBlockIndex=1, start={"toolResult": {"toolUseId": "tooluse_s"}}),
        delta(1, toolResult=[{"text": "4"}]),
        stop(1),
        delta(2, text="It is 4."),
        stop(2),
        *ending("end_turn"),
    ],
}
"""Streams, frame by frame."""

CONTENTS: dict[str, list[Json]] = {
    "text": [{"text": "Hello 😀"}],
    "empty": [],
    "empty text": [{"text": ""}],
    "stop sequence": [{"text": "1 2"}],
    "parallel calls": [
        {"text": "Two calls."},
        {"toolUse": {"toolUseId": "tooluse_a", "name": "weather", "input": {"city": "Rome"}}},
        {"toolUse": {"toolUseId": "tooluse_b", "name": "time", "input": {}}},
    ],
    "reasoning": [
        {"reasoningContent": {"reasoningText": {"text": "Hmm.", "signature": "c2ln"}}},
        {"reasoningContent": {"redactedContent": base64.b64encode(b"secret").decode()}},
        {"text": "42"},
    ],
    "citations": [
        {
            "citationsContent": {
                "content": [{"text": "As A says."}],
                "citations": [{"title": "A", "location": {"web": {"url": "https://a.example"}}}],
            }
        }
    ],
    "own tools": [
        {"toolUse": {"toolUseId": "tooluse_s", "name": "code", "input": {}, "type": "server_tool_use"}},
        {"toolResult": {"toolUseId": "tooluse_s", "content": [{"text": "4"}]}},
        {"text": "It is 4."},
    ],
}
"""The content of the whole answers that say the same as the streams."""


def whole_answer(name: str) -> Json:
    """Give the whole answer that says the same as a stream."""
    reasons = {"parallel calls": "tool_use", "stop sequence": "stop_sequence"}
    answer: Json = {
        "output": {"message": {"role": "assistant", "content": CONTENTS[name]}},
        "stopReason": reasons.get(name, "end_turn"),
        "usage": USAGE,
        "metrics": {"latencyMs": 551},
        "serviceTier": {"type": "default"},
    }
    return answer | ({"additionalModelResponseFields": {"stop_sequence": "3"}} if name == "stop sequence" else {})
