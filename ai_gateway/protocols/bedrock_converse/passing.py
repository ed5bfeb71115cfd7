"""What Converse tells while it passes: the counts stand in a stream's last frame. Neither id nor model is told."""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.protocols.bedrock_converse.response import read_service_tier
from ai_gateway.protocols.bedrock_converse.usage import read_usage
from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.passing import Passing, believed, decoded


class _Reasoning(msgspec.Struct):
    text: str | None = None


class _ToolUse(msgspec.Struct):
    input: Any = None


class _Delta(msgspec.Struct):
    text: str | None = None
    toolUse: _ToolUse | None = None
    reasoningContent: _Reasoning | None = None


class _Event(msgspec.Struct):
    delta: _Delta | None = None
    usage: Any = None
    serviceTier: Any = None


class _Message(msgspec.Struct):
    content: list[_Delta] | None = None


class _Output(msgspec.Struct):
    message: _Message | None = None


class _Whole(msgspec.Struct):
    output: _Output | None = None


_event = msgspec.json.Decoder(_Event)
_whole = msgspec.json.Decoder(_Whole)


class ConversePassing(Passing):
    """Reads one answer."""

    __slots__ = ()

    marker = b'"outputTokens"'

    def event(self, data: bytes) -> None:
        """See Passing.event()."""
        event = decoded(_event, data)
        if event is not None:
            self._usage(event)
            if event.delta is not None:
                self._delta(event.delta)

    def answer(self, body: bytes) -> None:
        """See Passing.answer()."""
        event = decoded(_event, body)
        if event is not None:
            self._usage(event)
        if self.usage is None:
            whole = decoded(_whole, body)
            message = whole.output.message if whole is not None and whole.output is not None else None
            for block in (message.content if message is not None else None) or ():
                self._delta(block)

    def _usage(self, event: _Event) -> None:
        usage = believed(read_usage(event.usage))
        if usage is not None:
            self.usage, self.is_final = usage, True
            self.tier = read_service_tier(event.serviceTier) or self.tier

    def _delta(self, delta: _Delta) -> None:
        if delta.text:
            self.add_text(delta.text)
        if delta.reasoningContent is not None and delta.reasoningContent.text:
            self.add_reasoning(delta.reasoningContent.text)
        if delta.toolUse is not None and delta.toolUse.input:
            given = delta.toolUse.input
            self.add_text(given if isinstance(given, str) else dumps_text(given))
