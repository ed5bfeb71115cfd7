"""What callers of each dialect send, and how they recognise an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.conftest import GATEWAY_KEY

BEARER = ("authorization", f"Bearer {GATEWAY_KEY}")
JSON = ("content-type", "application/json")
CHAT_PATH = "/v1/chat/completions"
MESSAGES_PATH = "/v1/messages"
CHAT: dict[str, Any] = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Hello"}]}
MESSAGES: dict[str, Any] = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": CHAT["messages"]}
RESPONSES: dict[str, Any] = {"model": "gpt-5-mini", "input": "Hello"}
GEMINI: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One API as its callers see it."""

    name: str
    path: str
    body: dict[str, Any]
    events: tuple[bytes, ...]
    """A short stream, whole."""
    check_error: Callable[[Any], None]
    """Assert that a value is an error in this dialect's shape."""
    error_event: Callable[[bytes], Any]
    """Take the error out of the last event of a stream."""

    @property
    def stream_body(self) -> dict[str, Any]:
        return self.body if self.name == "gemini" else {**self.body, "stream": True}

    @property
    def stream_path(self) -> str:
        return self.path.replace(":generateContent", ":streamGenerateContent?alt=sse")


def check_openai(value: Any) -> None:
    assert set(value) == {"error"}
    assert set(value["error"]) == {"message", "type", "param", "code"}
    assert isinstance(value["error"]["message"], str)


def check_anthropic(value: Any) -> None:
    assert set(value) == {"type", "error", "request_id"}
    assert value["type"] == "error"
    assert isinstance(value["error"]["type"], str)
    assert isinstance(value["error"]["message"], str)


def check_gemini(value: Any) -> None:
    assert set(value) == {"error"}
    assert set(value["error"]) >= {"code", "message", "status"}
    assert isinstance(value["error"]["code"], int)


def last_data(event: bytes) -> Any:
    """The data of a single event as JSON."""
    lines = [line for line in event.splitlines() if line.startswith(b"data:")]
    assert len(lines) == 1, event
    return json.loads(lines[0][5:])


def named_error(event: bytes) -> Any:
    assert event.startswith(b"event: error\n"), event
    return last_data(event)


CHAT_DIALECT = Dialect(
    name="openai_chat",
    path=CHAT_PATH,
    body=CHAT,
    events=(
        b'data: {"choices":[{"delta":{"content":"Hel"}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"lo"},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ),
    check_error=check_openai,
    error_event=last_data,
)
RESPONSES_DIALECT = Dialect(
    name="openai_responses",
    path="/v1/responses",
    body=RESPONSES,
    events=(
        b'event: response.created\ndata: {"type":"response.created"}\n\n',
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"Hello"}\n\n',
        b'event: response.completed\ndata: {"type":"response.completed"}\n\n',
    ),
    check_error=check_openai,
    error_event=named_error,
)
MESSAGES_DIALECT = Dialect(
    name="anthropic_messages",
    path=MESSAGES_PATH,
    body=MESSAGES,
    events=(
        b'event: message_start\ndata: {"type":"message_start"}\n\n',
        b'event: content_block_delta\ndata: {"type":"content_block_delta","delta":{"text":"Hello"}}\n\n',
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    ),
    check_error=check_anthropic,
    error_event=named_error,
)
GEMINI_DIALECT = Dialect(
    name="gemini",
    path="/v1beta/models/gemini-3-flash:generateContent",
    body=GEMINI,
    events=(
        b'data: {"candidates":[{"content":{"parts":[{"text":"Hel"}]}}]}\r\n\r\n',
        b'data: {"candidates":[{"content":{"parts":[{"text":"lo"}]},"finishReason":"STOP"}]}\r\n\r\n',
    ),
    check_error=check_gemini,
    error_event=last_data,
)
DIALECTS = [CHAT_DIALECT, RESPONSES_DIALECT, MESSAGES_DIALECT, GEMINI_DIALECT]
BY_NAME = [(dialect.name, dialect) for dialect in DIALECTS]
