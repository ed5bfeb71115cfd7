"""Letting a listener hear an answer, as `relay.py` and the hops do."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from ai_gateway.calls import Call
from ai_gateway.consumption import Consumption, Listener
from ai_gateway.listeners import listener_of
from ai_gateway.sse import whole_events
from tests.factories import JSON, make_call

SSE = {b"content-type": b"text/event-stream; charset=utf-8"}
WHOLE = {b"content-type": b"application/json"}

PATHS = {
    "openai_chat": "/v1/chat/completions",
    "openai_responses": "/v1/responses",
    "anthropic_messages": "/v1/messages",
    "gemini": "/v1beta/models/m:generateContent",
    "bedrock_converse": "/v1/model/m/converse",
}
"""Where each format is asked for."""


def asking(path: str, body: Any = None, *, stream: bool = False) -> Call:
    """A call with a JSON body."""
    return make_call(path, JSON, body=json.dumps(body or {}).encode(), model="m", stream=stream)


def hear(listener: Listener, data: Iterable[bytes]) -> bytes:
    """Let a listener hear data; give what the caller gets."""
    return b"".join(map(listener.hear, data))


def consumption_of(call: Call, *data: bytes, headers: dict[bytes, bytes] | None = None) -> Consumption | None:
    """What an answer used, as heard in these pieces: a stream's are whole events."""
    listener = listener_of(call, WHOLE if headers is None else headers)
    hear(listener, data)
    return listener.consumption()


def events_of(stream: bytes) -> list[bytes]:
    """Take a stream apart, event by event; the last may lack its empty line."""
    events, start = [], 0
    for end in range(1, len(stream) + 1):
        if stream[end - 1 : end] in (b"\n", b"\r") and whole_events(stream[start:end]) == end - start:
            if stream[end : end + 1] == b"\n" and stream[end - 1 : end] == b"\r":
                continue
            events.append(stream[start:end])
            start = end
    return [*events, stream[start:]] if start < len(stream) else events


def chat_chunk(content: str | None = None, **members: Any) -> bytes:
    """One event of a streamed chat completion."""
    delta = {"content": content} if content is not None else {}
    choices = [{"index": 0, "delta": delta, "finish_reason": members.pop("finish_reason", None)}]
    chunk = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "gpt-x", "choices": choices, **members}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def usage(prompt: int = 9, completion: int = 5) -> dict[str, int]:
    """The usage of a chat completion."""
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


DONE = b"data: [DONE]\n\n"
