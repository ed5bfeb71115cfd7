"""A call through guardrails: what is asked and answered, and what came through."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from django.test import override_settings

from ai_gateway import gateway
from ai_gateway.calls import Caller, Reply, ReplyBody
from tests.factories import JSON, Answer, Scripted, make_arrival, run

KEY = (b"authorization", b"Bearer gw_a-key-of-the-settings")
SSE = (b"content-type", b"text/event-stream")
CHAT = "/v1/chat/completions"
MAIL = "ann@mail.example"
REDACTION = {"BACKEND": "redaction", "EVERYWHERE": True}
HOLDER = Caller(key_name="team", guardrails=("words",))


class Conversation:
    """What was sent for a call, and what its caller got."""

    def __init__(self, reply: Reply, body: bytes, transport: Scripted) -> None:
        self.status = reply.status
        self.headers = dict(reply.headers)
        self.body = body
        self.requests = transport.requests
        self.sent = [request.body for request in transport.requests]


def ask(
    guardrails: Mapping[str, Any],
    body: bytes,
    *outcomes: Answer | Exception,
    path: str = CHAT,
    headers: Sequence[tuple[bytes, bytes]] = (JSON,),
    caller: Caller | None = None,
    method: str = "POST",
    **settings: Any,
) -> Conversation:
    """Make a call, and read all of its answer."""
    transport = Scripted(*outcomes)
    path, _, query = path.partition("?")

    async def main() -> tuple[Reply, bytes]:
        arrival = make_arrival(path, *headers, KEY, body=body, method=method, query=query.encode())
        reply = await gateway.handle(arrival, transport, caller)
        if not isinstance(reply.body, ReplyBody):
            return reply, reply.body
        try:
            return reply, b"".join([piece async for piece in reply.body])
        finally:
            await reply.aclose()

    named = ("openai", "anthropic", "gemini")
    site = {
        "PROVIDERS": {name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in named},
        "KEYS": {"team": "gw_a-key-of-the-settings"},
        "GUARDRAILS": guardrails,
        **settings,
    }
    with override_settings(AI_GATEWAY=site):
        return Conversation(*run(main()), transport)


def request(text: str = "hi", **others: Any) -> bytes:
    return json.dumps({"model": "m", **others, "messages": [{"role": "user", "content": text}]}).encode()


def plain(value: Any) -> Answer:
    content = json.dumps(value).encode()
    return Answer(content, headers=[JSON, (b"content-length", b"%d" % len(content))])


def chat(text: str) -> Answer:
    usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
    return plain({"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}], "usage": usage})


def events(*values: Any, end: bytes = b"") -> list[bytes]:
    named = [(value.get("type"), json.dumps(value)) for value in values]
    return [
        b"".join((b"event: %s\n" % name.encode() if name else b"", b"data: %s\n\n" % data.encode()))
        for name, data in named
    ] + ([end] if end else [])


def chat_events(*texts: str) -> list[bytes]:
    pieces = [{"choices": [{"index": 0, "delta": {"content": text}}]} for text in texts]
    finish = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    return events(*pieces, finish, end=b"data: [DONE]\n\n")


def messages_events(*texts: str) -> list[bytes]:
    pieces = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}} for text in texts
    ]
    message = {"id": "m", "type": "message", "role": "assistant", "content": [], "usage": {"input_tokens": 1}}
    block = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
    ends = ({"type": "content_block_stop", "index": 0}, {"type": "message_stop"})
    return events({"type": "message_start", "message": message}, block, {"type": "ping"}, *pieces, *ends)


def responses_events(*texts: str) -> list[bytes]:
    base = {"output_index": 0, "content_index": 0, "item_id": "i"}
    pieces = [{"type": "response.output_text.delta", **base, "delta": text} for text in texts]
    whole = "".join(texts)
    item = {"type": "message", "id": "i", "role": "assistant", "content": [{"type": "output_text", "text": whole}]}
    done = {"type": "response.output_text.done", **base, "text": whole}
    completed = {"type": "response.completed", "response": {"id": "r", "status": "completed", "output": [item]}}
    return events(*pieces, done, completed)


def gemini_events(*texts: str) -> list[bytes]:
    return events(
        *({"candidates": [{"index": 0, "content": {"role": "model", "parts": [{"text": text}]}}]} for text in texts),
        {"candidates": [{"index": 0, "content": {"parts": [{"text": ""}]}, "finishReason": "STOP"}]},
    )


GEMINI = "/v1beta/models/m:streamGenerateContent?alt=sse"
CONTENTS = b'{"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}'
FORMATS = {
    "chat": (CHAT, request(stream=True), chat_events),
    "messages": ("/v1/messages", request(stream=True, max_tokens=9), messages_events),
    "responses": ("/v1/responses", b'{"model": "m", "stream": true, "input": "hi"}', responses_events),
    "gemini": (GEMINI, CONTENTS, gemini_events),
}


def text_of(body: bytes) -> str:
    """The text that a client makes of a stream, in whatever format."""
    found = []
    for block in body.decode().split("\n\n"):
        data = next((line[6:] for line in block.split("\n") if line.startswith("data: {")), "{}")
        value = json.loads(data)
        for choice in value.get("choices", ()):
            found.append(choice["delta"].get("content", ""))
        for candidate in value.get("candidates", ()):
            found += [part["text"] for part in candidate["content"]["parts"]]
        delta = value.get("delta")
        found.append(delta if isinstance(delta, str) else (delta or {}).get("text", ""))
    return "".join(found)


WORDS = {"BACKEND": "patterns", "OPTIONS": {"deny": ["forbidden"]}}
