"""What a message tells while it passes.

A stream tells the prompt's tokens first, and at its end all counts, cumulative: what is not null replaces what was
there. The thinking of a model that does not show it is in no event; it is counted only by the usage.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ai_gateway.protocols.anthropic_messages.usage import merge_usage, read_tier, read_units, read_usage
from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.passing import Passing, believed, decoded


class _Delta(msgspec.Struct):
    text: str | None = None
    partial_json: str | None = None
    thinking: str | None = None


class _Block(msgspec.Struct):
    text: str | None = None
    thinking: str | None = None
    input: Any = None


class _Head(msgspec.Struct):
    """What a message tells of itself."""

    id: Any = None
    model: Any = None
    usage: Any = None


class _Event(msgspec.Struct):
    type: str = ""
    delta: _Delta | None = None
    message: _Head | None = None
    usage: Any = None


class _Message(msgspec.Struct):
    content: list[_Block] | None = None


_head = msgspec.json.Decoder(_Head)
_event = msgspec.json.Decoder(_Event)
_message = msgspec.json.Decoder(_Message)


class MessagePassing(Passing):
    """Reads one answer."""

    __slots__ = ("_known",)

    marker = b'"usage"'

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[str, Any] = {}

    def event(self, data: bytes) -> None:
        """See Passing.event()."""
        event = decoded(_event, data)
        if event is None:
            return
        if event.message is not None:
            self._head(event.message)
            self.prompt = self.usage
        if event.usage:
            self._merge(event.usage)
            self.is_final = event.type == "message_delta" and self.usage is not None
        delta = event.delta
        if delta is None:
            return
        if delta.text or delta.partial_json:
            self.add_text(delta.text or delta.partial_json or "")
        elif delta.thinking:
            self.add_reasoning(delta.thinking)

    def answer(self, body: bytes) -> None:
        """See Passing.answer()."""
        head = decoded(_head, body)
        if head is not None:
            self._head(head)
            self.is_final = self.usage is not None
        if self.usage is None:
            message = decoded(_message, body)
            for block in (message.content if message is not None else None) or ():
                self._block(block)

    def _head(self, head: _Head) -> None:
        self.name(head.id, head.model)
        self._merge(head.usage)

    def _merge(self, usage: object) -> None:
        merge_usage(self._known, usage)
        self.usage = believed(read_usage(self._known))
        self.tier = read_tier(self._known) or self.tier
        self.units = read_units(self._known)

    def _block(self, block: _Block) -> None:
        if block.thinking:
            self.add_reasoning(block.thinking)
        elif block.text or block.input:
            self.add_text(block.text or dumps_text(block.input))
