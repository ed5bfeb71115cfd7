"""Counting the tokens of a prompt: what a format must offer for it, and an estimate where no provider counts.

Anthropic's, Google's and OpenAI's counters take what their generation takes, and give a number. The estimate is meant
for deciding when to shorten a conversation, not for money: about four characters a token in languages written with
Latin letters, and about one token a character in scripts that tokenizers cut finely (Chinese, Japanese, Korean).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.protocols.capabilities import Destination
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import (
    Audio,
    CustomTool,
    File,
    FunctionTool,
    Image,
    Opaque,
    Part,
    Refusal,
    Request,
    Text,
    Thinking,
    Tool,
    ToolCall,
    ToolResult,
)
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.protocol import Head, Outgoing

TURN_TOKENS = 4
"""What separates two turns, as the formats of chat models write it."""

IMAGE_TOKENS = 1200
"""A picture of about a megapixel, at the providers that count pictures by their size."""

FILE_BYTES_PER_TOKEN = 20
"""A PDF: some 50 KB and 2,500 tokens a page, text and picture."""

AUDIO_BYTES_PER_TOKEN = 500
"""Sound: 32 tokens a second, 16 KB a second."""

_DENSE = re.compile("[\u2e80-\U0010ffff]+")
"""From U+2E80 on, scripts are written with a token or so for each character."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """How a format asks for a count."""

    format: str
    """The format whose prompts it counts."""

    endpoint: str
    """How a provider's row names it among its endpoints; "" if whoever speaks the format has it."""

    target: Callable[[str], str]
    """Tell the gateway's own path for a model."""

    read_request: Callable[[dict[str, Any], Head, Carrier], Request]
    """Read a caller's request. Raises BadRequest."""

    write_request: Callable[[Request, Destination], Outgoing]
    """Write a request."""

    read: Callable[[dict[str, Any]], int]
    """Read the number in an answer. Raises UpstreamProtocolError if there is none."""

    write: Callable[[int], dict[str, Any]]
    """Write an answer."""


def count_of(body: dict[str, Any], member: str) -> int:
    """Read the number in the answer of a provider's counter. Raises UpstreamProtocolError for what is no answer."""
    count = body.get(member)
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise UpstreamProtocolError("The provider's answer has no count of tokens.")
    return count


def estimate(request: Request) -> int:
    """Estimate the tokens of a prompt. At least 1."""
    parts = (part for message in request.messages for part in message.parts)
    tokens = TURN_TOKENS * len(request.messages) + sum(map(_part, parts)) + sum(map(_tool, request.tools))
    return max(1, round(tokens))


def tokens_of(text: str) -> float:
    """Estimate the tokens of a text."""
    if text.isascii():
        return len(text) / 4
    dense = sum(map(len, _DENSE.findall(text)))
    return dense + (len(text) - dense) / 3


def _part(part: Part) -> float:
    if isinstance(part, Text | Refusal | Thinking):
        return tokens_of(part.text)
    if isinstance(part, ToolCall):
        return tokens_of(part.name) + tokens_of(part.arguments) + TURN_TOKENS
    if isinstance(part, ToolResult):
        return sum(map(_part, part.parts)) + TURN_TOKENS
    if isinstance(part, Image):
        return IMAGE_TOKENS
    if isinstance(part, File):
        return tokens_of(part.text) if part.text is not None else _bytes(part.data) / FILE_BYTES_PER_TOKEN
    if isinstance(part, Audio):
        return _bytes(part.data) / AUDIO_BYTES_PER_TOKEN
    return len(dumps(part.value)) / 4 if isinstance(part, Opaque) else 0


def _bytes(data: str) -> float:
    return len(data) * 3 / 4


def _tool(tool: Tool) -> float:
    if isinstance(tool, FunctionTool):
        return _words((tool.name, tool.description)) + len(dumps(tool.schema or {})) / 4 + TURN_TOKENS
    if isinstance(tool, CustomTool):
        return _words((tool.name, tool.description)) + len(dumps(tool.grammar or {})) / 4 + TURN_TOKENS
    return len(dumps(tool.value)) / 4


def _words(texts: Iterable[str]) -> float:
    return sum(map(tokens_of, texts))
