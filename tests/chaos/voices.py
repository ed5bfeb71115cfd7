"""What providers of two formats say: answers whose every word tells which exchange it belongs to."""

from __future__ import annotations

import json
import random
from abc import ABC, abstractmethod
from typing import Any, NamedTuple


class Event(NamedTuple):
    """One event of a stream."""

    data: bytes
    text: str = ""
    is_proof: bool = False
    """Whether the answer is known to be whole with it: what may come after it tells nothing more of it."""
    is_usage: bool = False
    """Whether it tells the usage of chat completions, which callers get to see that asked for it."""


class Usage(NamedTuple):
    """What an answer says it used."""

    input: int
    output: int


def words(mark: str, dice: random.Random) -> list[str]:
    """Make up an answer, piece by piece."""
    return [f"<{mark}>{number} {dice.choice(('', '€', '🙂', 'x' * 300))}" for number in range(dice.randint(1, 8))]


class Voice(ABC):
    """A format that a provider speaks."""

    @abstractmethod
    def answer(self, texts: list[str], usage: Usage) -> bytes:
        """Write a whole answer."""

    @abstractmethod
    def events(self, texts: list[str], usage: Usage, *, with_usage: bool) -> list[Event]:
        """Write a stream."""

    @abstractmethod
    def error(self, code: str, message: str) -> dict[str, Any]:
        """Write an error."""

    @abstractmethod
    def error_event(self, code: str, message: str) -> bytes:
        """Write an error as an event."""


def data_event(value: Any, name: str = "") -> bytes:
    """Write an event."""
    line = f"event: {name}\n" if name else ""
    return f"{line}data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()


class Chat(Voice):
    """OpenAI's Chat Completions."""

    def answer(self, texts: list[str], usage: Usage) -> bytes:
        """See Voice."""
        message = {"role": "assistant", "content": "".join(texts)}
        value = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": "m",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
            "usage": self._usage(usage),
        }
        return json.dumps(value).encode()

    def events(self, texts: list[str], usage: Usage, *, with_usage: bool) -> list[Event]:
        """See Voice."""
        events = [Event(self._chunk({"role": "assistant", "content": ""}))]
        events += [Event(self._chunk({"content": text}), text) for text in texts]
        events.append(Event(self._chunk({}, "stop"), is_proof=True))
        if with_usage:
            value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": []}
            events.append(Event(data_event({**value, "usage": self._usage(usage)}), is_usage=True))
        return [*events, Event(b"data: [DONE]\n\n", is_proof=True)]

    def error(self, code: str, message: str) -> dict[str, Any]:
        """See Voice."""
        return {"error": {"message": message, "type": code, "param": None, "code": code}}

    def error_event(self, code: str, message: str) -> bytes:
        """See Voice."""
        return data_event(self.error(code, message))

    @staticmethod
    def _usage(usage: Usage) -> dict[str, int]:
        total = usage.input + usage.output
        return {"prompt_tokens": usage.input, "completion_tokens": usage.output, "total_tokens": total}

    @staticmethod
    def _chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        value = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
        return data_event({**value, "choices": [choice]})


class Messages(Voice):
    """Anthropic's Messages."""

    def answer(self, texts: list[str], usage: Usage) -> bytes:
        """See Voice."""
        value = {
            **self._message(usage),
            "content": [{"type": "text", "text": "".join(texts)}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": usage.input, "output_tokens": usage.output},
        }
        return json.dumps(value).encode()

    def events(self, texts: list[str], usage: Usage, *, with_usage: bool) -> list[Event]:
        """See Voice."""
        start = {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}
        delta = {"stop_reason": "end_turn", "stop_sequence": None}
        told = {"output_tokens": usage.output}
        events = [
            Event(self._event({"type": "message_start", "message": self._message(usage)})),
            Event(self._event(start)),
        ]
        for text in texts:
            piece = {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}
            events.append(Event(self._event(piece), text))
        return [
            *events,
            Event(self._event({"type": "content_block_stop", "index": 0})),
            Event(self._event({"type": "message_delta", "delta": delta, "usage": told}), is_proof=True),
            Event(self._event({"type": "message_stop"}), is_proof=True),
        ]

    def error(self, code: str, message: str) -> dict[str, Any]:
        """See Voice."""
        return {"type": "error", "error": {"type": code, "message": message}, "request_id": "req_1"}

    def error_event(self, code: str, message: str) -> bytes:
        """See Voice."""
        return self._event(self.error(code, message))

    @staticmethod
    def _message(usage: Usage) -> dict[str, Any]:
        return {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "m",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": usage.input, "output_tokens": 1},
        }

    @staticmethod
    def _event(value: dict[str, Any]) -> bytes:
        return data_event(value, value["type"])


CHAT, MESSAGES = Chat(), Messages()
