"""What was asked: the request as the modules of the single APIs see it, and the text in it.

A token is taken to be four characters of text, rounded up. That is an estimate, good enough to see usage arrive; it
counts the text of all messages and instructions for the prompt, and the repeated text for the answer.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

CHARACTERS_PER_TOKEN = 4

TEXT_MEMBERS = ("content", "text", "parts", "output")
"""The members in which the messages of all dialects hold text, or what holds it in turn."""

PROMPT_MEMBERS = ("system", "systemInstruction", "instructions", "messages", "input", "prompt", "contents", "content")
"""The members of a request body that make up its prompt, in all dialects."""

NO_TEXT = "(no text)"
"""What is said to a request that has none, such as one with an image only."""

PIECE = re.compile(r"\S+\s*|\s+")
"""A word and the blanks behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request: its head, taken apart, and its JSON body (empty if it has none)."""

    method: str
    path: str
    query: Mapping[str, str]
    fields: Mapping[bytes, bytes]
    body: Mapping[str, Any]
    delay: float = 0.0
    id: str = field(default_factory=lambda: uuid.uuid4().hex[:24])
    now: int = field(default_factory=lambda: int(time.time()))

    @property
    def model(self) -> str:
        """The model that the body names."""
        model = self.body.get("model")
        return model if isinstance(model, str) else "echo-1"

    @property
    def is_stream(self) -> bool:
        """Whether the body asks for a stream."""
        return self.body.get("stream") is True

    @property
    def prompt_tokens(self) -> int:
        """The estimate for the whole prompt."""
        return sum(tokens(text) for member in PROMPT_MEMBERS for text in texts(self.body.get(member)))

    @property
    def reply(self) -> str:
        """What the user said last: the text of the last turn of a user that has any."""
        for member in ("messages", "input", "contents", "prompt"):
            value = self.body.get(member)
            turns = value if isinstance(value, list) else [value]
            for turn in reversed(turns):
                if not isinstance(turn, dict) or turn.get("role", "user") == "user":
                    text = "\n".join(texts(turn))
                    if text:
                        return text
        return NO_TEXT


def texts(value: Any) -> Iterator[str]:
    """Find the text in a message, a part of one, or a list of either."""
    if isinstance(value, str) and value:
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)
    elif isinstance(value, dict):
        for member in TEXT_MEMBERS:
            yield from texts(value.get(member))


def tokens(text: str) -> int:
    """Estimate the tokens of a text."""
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def words(text: str) -> list[str]:
    """Split a text into words that make up the text when joined."""
    return PIECE.findall(text)
