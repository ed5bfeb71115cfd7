"""A stream dies in mid-text, and the next target goes on: one stream for the caller, two answers in the books."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import breakers, gateway, ledger
from ai_gateway.calls import Reply
from ai_gateway.errors import UpstreamClosed
from ai_gateway.meter import Entry
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.conversation import Stop, Text, TokenUsage
from tests.factories import Answer, Scripted, make_arrival, run
from tests.protocols.streams import collected, events_of_pieces

KEY = (b"authorization", b"Bearer gw_a-key-of-the-settings")
SSE = (b"content-type", b"text/event-stream")
DEATH = UpstreamClosed("gone")

TARGETS = {
    "openai_chat": "mistral/mistral-large",
    "anthropic_messages": "anthropic/claude-haiku-4-5",
    "gemini": "gemini/gemini-2.5-flash",
}
SETTINGS: dict[str, Any] = {
    "PROVIDERS": {
        name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in ("mistral", "anthropic", "gemini", "groq")
    },
    "KEYS": {"team": "gw_a-key-of-the-settings"},
    "PRICES": [{"model": "*", "input": 1, "output": 10}],
}


def route(*targets: str, **facts: Any) -> dict[str, Any]:
    return {**SETTINGS, "ROUTES": {"r": {"targets": list(targets), "continue_streams": True, **facts}}}


# What providers say, event by event.


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


# What callers ask.

ASKED: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": ("/v1/chat/completions", {"messages": [{"role": "user", "content": "Hi"}]}),
    "openai_responses": ("/v1/responses", {"input": "Hi"}),
    "anthropic_messages": ("/v1/messages", {"max_tokens": 64, "messages": [{"role": "user", "content": "Hi"}]}),
    "gemini": ("/v1beta/models/r:streamGenerateContent", {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]}),
    "bedrock_converse": ("/v1/model/r/converse-stream", {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}),
}


class Books:
    """A ledger that remembers what it was told."""

    is_committed = False

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def put(self, entry: Entry) -> None:
        self.entries.append(entry)


@pytest.fixture(autouse=True)
def books(monkeypatch: pytest.MonkeyPatch) -> Books:
    made = Books()
    breakers.forget()
    monkeypatch.setattr(ledger, "ledger", made)
    monkeypatch.setattr("ai_gateway.registry.writes_usage", lambda: True)
    return made


class Told:
    """What the caller got."""

    def __init__(self, reply: Reply, written: bytes, transport: Scripted) -> None:
        self.status, self.headers, self.written = reply.status, dict(reply.headers), written
        self.requests = transport.requests

    def sent(self, number: int) -> Any:
        """The body of a request to a provider."""
        body = self.requests[number].body
        assert isinstance(body, bytes)
        return json.loads(body)


async def ask(transport: Scripted, caller: str, body: dict[str, Any]) -> Reply:
    path, asked = ASKED[caller]
    if caller in ("gemini", "bedrock_converse"):
        content = json.dumps({**asked, **body}).encode()
    else:
        content = json.dumps({"model": "r", "stream": True, **asked, **body}).encode()
    query = b"alt=sse" if caller == "gemini" else b""
    return await gateway.handle(make_arrival(path, KEY, body=content, query=query), transport)


def tell(*answers: Answer | Exception, settings: dict[str, Any], caller: str = "openai_chat", **body: Any) -> Told:
    """Ask the route, and read what comes to its end."""
    transport = Scripted(*answers)

    async def read() -> Told:
        reply = await ask(transport, caller, body)
        written = reply.body if isinstance(reply.body, bytes) else b"".join([part async for part in reply.body])
        await reply.aclose()
        return Told(reply, written, transport)

    with override_settings(AI_GATEWAY=settings):
        return run(read())


def text_of(caller: str, told: Told) -> tuple[str, TokenUsage | None]:
    """Read the caller's stream by its format: the text of one answer that ended well, and what it says was used."""
    answer = collected(events_of_pieces(PROTOCOLS[caller], [told.written]))
    assert answer.stop is Stop.END
    [text] = [part for part in answer.parts if isinstance(part, Text)]
    return text.text, answer.usage


@pytest.mark.parametrize("second", TARGETS)
@pytest.mark.parametrize("first", TARGETS)
@pytest.mark.parametrize("caller", ASKED)
def test_the_caller_gets_one_stream_with_both_texts(caller: str, first: str, second: str) -> None:
    answers = (dying(first, "Hello ", "wor"), whole(second, "ld, ", "good day"))
    told = tell(*answers, settings=route(TARGETS[first], TARGETS[second] + "-b"), caller=caller)
    assert text_of(caller, told)[0] == "Hello world, good day"
    assert told.headers[b"x-gateway-continuation"] == b"on"
    assert all(answer.is_closed for answer in answers)
    begin = {
        "openai_chat": b'"role":"assistant"',
        "openai_responses": b"event: response.created",
        "anthropic_messages": b"event: message_start",
    }
    if caller in begin:
        assert told.written.count(begin[caller]) == 1
