"""What a chat completion tells while it passes; an older completion is read by the same means.

The usage is the provider's last word if its chunk has no choices (OpenAI), or a finish reason (Mistral, DeepSeek and
others). Some tell a running count with every chunk (Perplexity): of a stream that was cut it counts the prompt.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.protocols.openai_chat.stream_reader import DONE
from ai_gateway.protocols.openai_chat.usage import Report, read_report, tokens_of, units_of
from ai_gateway.protocols.passing import Passing, believed, decoded


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | None = None


class _Call(msgspec.Struct):
    function: _Function | None = None


class _Piece(msgspec.Struct):
    text: str | None = None
    thinking: list[_Piece] | str | None = None


class _Message(msgspec.Struct):
    content: str | list[_Piece] | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None
    function_call: _Function | None = None


class _Choice(msgspec.Struct):
    delta: _Message | None = None
    message: _Message | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Head(msgspec.Struct):
    """What a body tells of itself."""

    id: Any = None
    model: Any = None
    service_tier: Any = None
    usage: Any = None
    x_groq: Any = None


class _Chunk(_Head):
    choices: list[_Choice] | None = None


class _Whole(msgspec.Struct):
    """What an answer tells of itself, if it tells its usage as it should."""

    usage: Report
    id: Any = None
    model: Any = None
    service_tier: Any = None


_head = msgspec.json.Decoder(_Head)
_whole = msgspec.json.Decoder(_Whole)
_chunk = msgspec.json.Decoder(_Chunk)


class ChatPassing(Passing):
    """Reads one answer."""

    __slots__ = ()

    marker = b'"prompt_tokens"'

    def event(self, data: bytes) -> None:
        """See Passing.event()."""
        if data == DONE:
            return  # Which is no JSON, and would be tried by one decoder after the other.
        chunk = decoded(_chunk, data)
        if chunk is None:
            head = decoded(_head, data)
            if head is not None:
                self._head(head, is_last=False)
            return
        is_last = not chunk.choices
        for choice in chunk.choices or ():
            self._choice(choice)
            is_last = is_last or bool(choice.finish_reason)
        self._head(chunk, is_last=is_last)

    def answer(self, body: bytes) -> None:
        """See Passing.answer()."""
        if self._is_as_it_should_be(body):
            return
        head = decoded(_head, body)
        if head is not None:
            self._head(head, is_last=True)
        if self.usage is None:
            whole = decoded(_chunk, body)
            for choice in (whole.choices if whole is not None else None) or ():
                self._choice(choice)

    def _is_as_it_should_be(self, body: bytes) -> bool:
        """Read a whole answer that nothing is odd about, which takes two thirds of the time. Tell whether it is one."""
        try:
            whole = _whole.decode(body)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return False
        usage = believed(tokens_of(whole.usage)) if whole.usage.prompt_tokens else None
        if usage is None:
            return False
        self.name(whole.id, whole.model, whole.service_tier)
        self.usage, self.is_final, self.units = usage, True, units_of(whole.usage)
        return True

    def _head(self, head: _Head, *, is_last: bool) -> None:
        self.name(head.id, head.model, head.service_tier)
        if head.usage or head.x_groq:
            report = read_report(head.usage, head.x_groq)
            usage = believed(tokens_of(report)) if report is not None else None
            if report is not None and usage is not None:
                self.usage, self.is_final, self.units = usage, is_last, units_of(report)

    def _choice(self, choice: _Choice) -> None:
        if choice.text:
            self.add_text(choice.text)
        message = choice.delta or choice.message
        if message is None:
            return
        if message.content:
            self._content(message.content)
        if message.refusal:
            self.add_text(message.refusal)
        reasoning = message.reasoning_content or message.reasoning
        if reasoning:
            self.add_reasoning(reasoning)
        for call in message.tool_calls or ():
            self._function(call.function)
        self._function(message.function_call)

    def _content(self, content: str | list[_Piece]) -> None:
        if isinstance(content, str):
            self.add_text(content)
            return
        for piece in content:  # Mistral's way.
            if piece.text:
                self.add_text(piece.text)
            for thought in piece.thinking if isinstance(piece.thinking, list) else ():
                self.add_reasoning(thought.text or "")

    def _function(self, function: _Function | None) -> None:
        if function is not None and (function.name or function.arguments):
            self.add_text((function.name or "") + (function.arguments or ""))
