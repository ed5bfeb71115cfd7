"""Streams of providers, event by event, that end well or die in mid-text."""

from __future__ import annotations

import json
from typing import Any

from ai_gateway.errors import UpstreamClosed
from tests.factories import Answer

SSE = (b"content-type", b"text/event-stream")
DEATH = UpstreamClosed("gone")


def chat(*texts: str) -> list[bytes]:
    head = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1, "model": "their-model"}
    chunks = [{**head, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}]
    chunks += [{**head, "choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    return [b"data: " + json.dumps(each).encode() + b"\n\n" for each in chunks]


def chat_end() -> list[bytes]:
    stop = {"id": "chatcmpl-up", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {"id": "chatcmpl-up", "choices": [], "usage": {"prompt_tokens": 30, "completion_tokens": 7}}
    return [*(b"data: " + json.dumps(each).encode() + b"\n\n" for each in (stop, usage)), b"data: [DONE]\n\n"]


def named(name: str, **members: Any) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **members})}\n\n".encode()


def messages(*texts: str) -> list[bytes]:
    usage = {"input_tokens": 20, "output_tokens": 1}
    message = {
        "id": "msg_up",
        "type": "message",
        "role": "assistant",
        "model": "their-model",
        "content": [],
        "usage": usage,
    }
    return [
        named("message_start", message=message),
        named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
        *(named("content_block_delta", index=0, delta={"type": "text_delta", "text": text}) for text in texts),
    ]


def messages_end() -> list[bytes]:
    return [
        named("content_block_stop", index=0),
        named("message_delta", delta={"stop_reason": "end_turn"}, usage={"input_tokens": 30, "output_tokens": 7}),
        named("message_stop"),
    ]


def gemini(*texts: str) -> list[bytes]:
    contents = [
        {"candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "index": 0}]} for text in texts
    ]
    return [b"data: " + json.dumps({**each, "responseId": "g1"}).encode() + b"\r\n\r\n" for each in contents]


def gemini_end() -> list[bytes]:
    candidate = {"content": {"role": "model", "parts": [{"text": ""}]}, "finishReason": "STOP", "index": 0}
    end = {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 30, "candidatesTokenCount": 7}}
    return [b"data: " + json.dumps(end).encode() + b"\r\n\r\n"]


SAYS = {"openai_chat": chat, "anthropic_messages": messages, "gemini": gemini}
ENDS = {"openai_chat": chat_end, "anthropic_messages": messages_end, "gemini": gemini_end}


def dying(format: str, *texts: str, of: Exception = DEATH) -> Answer:
    return Answer(*SAYS[format](*texts), of, headers=[SSE])


def whole(format: str, *texts: str) -> Answer:
    return Answer(*SAYS[format](*texts), *ENDS[format](), headers=[SSE])
