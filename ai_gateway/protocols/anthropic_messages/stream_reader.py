"""Reading a provider's stream of Messages.

Source: "Streaming Messages" of Anthropic's documentation. Recorded besides: blocks never interleave, pings come at any
time, a signature comes just before its block's end, a citation before the text that it stands for, and a
`message_start` may come twice.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import GatewayError, UpstreamClosed, UpstreamProtocolError
from ai_gateway.protocols.anthropic_messages.citations import read_citation
from ai_gateway.protocols.anthropic_messages.errors import read_error_event
from ai_gateway.protocols.anthropic_messages.response import read_block, signature_state, string
from ai_gateway.protocols.anthropic_messages.stops import read_explanation, read_stop
from ai_gateway.protocols.anthropic_messages.usage import merge_usage, read_tier, read_units, read_usage
from ai_gateway.protocols.conversation import Stop, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.protocol import StreamReader


class _Block:
    """An open block: its key, its part as it was opened, how much text it has by now, and its citations."""

    __slots__ = ("citations", "is_whole", "key", "kind", "length")

    def __init__(self, key: int, part: Text | Thinking | ToolCall) -> None:
        self.key = key
        self.kind = type(part)
        self.length = len(part.text) if isinstance(part, Text) else 0
        # Some servers give the arguments with the start; what comes after a whole object is no part of it.
        self.is_whole = isinstance(part, ToolCall) and bool(part.arguments)
        self.citations: list[dict[str, Any]] = []


GROWING = {
    "text_delta": (Text, "text"),
    "input_json_delta": (ToolCall, "partial_json"),
    "thinking_delta": (Thinking, "thinking"),
}
"""Deltas that add text: the kind of part that they belong to, and the member that holds it."""


class MessagesReader(StreamReader):
    """Reads one stream of an upstream."""

    def __init__(self) -> None:
        self._id: str | None = None
        self._usage: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._next_key = 0
        self._stop: Stop | None = None
        self._stop_sequence: str | None = None
        self._explanation: str | None = None
        self._is_calling = False
        self._is_over = False
        self._handlers = {
            "message_start": self._message_start,
            "content_block_start": self._block_start,
            "content_block_delta": self._block_delta,
            "content_block_stop": self._block_stop,
            "message_delta": self._message_delta,
            "message_stop": self._message_stop,
            "error": self._error,
        }

    def read(self, name: str | None, data: bytes) -> list[Event]:
        """Take one event of the wire; give what it means."""
        if self._is_over:
            return []
        try:
            event = loads(data)
        except (ValueError, RecursionError):
            return self._fail(UpstreamProtocolError("The provider's stream has an event that is not JSON."))
        if not isinstance(event, dict):
            return self._fail(UpstreamProtocolError("The provider's stream has an event that is no object."))
        kind = event.get("type", name)
        handler = self._handlers.get(kind) if isinstance(kind, str) else None
        if handler is not None:
            return handler(event)
        # A server that speaks the format only roughly reports an error as OpenAI does.
        return self._error(event) if kind is None and "error" in event else []

    def end(self) -> list[Event]:
        """The body is over. A stop reason proves that the answer is whole, if all of its blocks are: a stream without
        `message_stop` was recorded."""
        if self._is_over:
            return []
        if self._stop is not None and not self._blocks:
            return self._finish()
        return self._fail(UpstreamClosed("The provider's stream ended before the answer was complete."))

    def _fail(self, error: GatewayError) -> list[Event]:
        self._is_over = True
        return [Failed(error=error)]

    def _error(self, event: dict[str, Any]) -> list[Event]:
        return self._fail(read_error_event(event))

    @property
    def units(self) -> dict[str, float]:
        """See StreamReader.units."""
        return read_units(self._usage)

    def _message_start(self, event: dict[str, Any]) -> list[Event]:
        message = event.get("message")
        if not isinstance(message, dict):
            return self._fail(UpstreamProtocolError("The provider's stream starts a message without saying which."))
        merge_usage(self._usage, message.get("usage"))
        id = string(message.get("id"))
        if self._id is not None:
            # The same start twice was recorded. Another one means that two answers were spliced.
            is_same = id == self._id
            return [] if is_same else self._fail(UpstreamProtocolError("The provider's stream has a second message."))
        self._id = id
        return [
            Started(
                id=id,
                model=string(message.get("model")),
                usage=read_usage(self._usage),
                service_tier=read_tier(self._usage),
            )
        ]

    def _block_start(self, event: dict[str, Any]) -> list[Event]:
        if self._id is None:
            return self._fail(UpstreamProtocolError("The provider's stream has content before its message."))
        given = event.get("content_block")
        parts = read_block(given) if isinstance(given, dict) else []
        if not parts:
            return []
        part = parts[0]
        if isinstance(part, ToolCall):
            part = _begun(part)
            self._is_calling = True
        if not isinstance(part, Text | Thinking | ToolCall):
            return []
        events = self._close(_index(event))
        block = _Block(self._next_key, part)
        self._next_key += 1
        self._blocks[_index(event)] = block
        events.append(Opened(key=block.key, part=part))
        return events

    def _block_delta(self, event: dict[str, Any]) -> list[Event]:
        block = self._blocks.get(_index(event))
        delta = event.get("delta")
        if block is None or not isinstance(delta, dict):
            return []
        kind = delta.get("type")
        growing = GROWING.get(kind) if isinstance(kind, str) else None
        if growing is None:
            return _other_delta(block, delta)
        text = delta.get(growing[1])
        if not text or growing[0] is not block.kind or block.is_whole or not isinstance(text, str):
            return []
        block.length += len(text)
        return [Grown(key=block.key, text=text)]

    def _block_stop(self, event: dict[str, Any]) -> list[Event]:
        return self._close(_index(event))

    def _close(self, index: int) -> list[Event]:
        block = self._blocks.pop(index, None)
        if block is None:
            return []
        # Only now it is known how much text a citation stands for.
        events: list[Event] = [
            Cited(key=block.key, citation=read_citation(each, 0, block.length)) for each in block.citations
        ]
        events.append(Closed(key=block.key))
        return events

    def _message_delta(self, event: dict[str, Any]) -> list[Event]:
        if self._id is None:
            return self._fail(UpstreamProtocolError("The provider's stream ends a message that it did not start."))
        merge_usage(self._usage, event.get("usage"))
        delta = event.get("delta")
        if isinstance(delta, dict) and delta.get("stop_reason") is not None:
            self._stop = read_stop(delta["stop_reason"])
            self._stop_sequence = string(delta.get("stop_sequence")) or None
            self._explanation = read_explanation(delta.get("stop_details"))
        return []

    def _message_stop(self, event: dict[str, Any]) -> list[Event]:
        if self._id is None:
            return self._fail(UpstreamProtocolError("The provider's stream ends a message that it did not start."))
        return self._finish()

    def _finish(self) -> list[Event]:
        self._is_over = True
        events = [event for index in list(self._blocks) for event in self._close(index)]
        stop = (self._stop or Stop.END).given(self._is_calling)
        events.append(
            Finished(
                stop=stop,
                stop_sequence=self._stop_sequence if stop is Stop.STOP_SEQUENCE else None,
                explanation=self._explanation,
                usage=read_usage(self._usage),
                units=self.units,
                service_tier=read_tier(self._usage),
            )
        )
        return events


def _index(event: dict[str, Any]) -> int:
    index = event.get("index")
    return index if isinstance(index, int) else 0


def _begun(call: ToolCall) -> ToolCall:
    """A call begins without arguments, which Anthropic writes as an empty object."""
    return ToolCall(id=call.id, name=call.name) if call.arguments == "{}" else call


def _other_delta(block: _Block, delta: dict[str, Any]) -> list[Event]:
    kind = delta.get("type")
    if kind == "signature_delta" and block.kind is Thinking:
        state = signature_state(string(delta.get("signature")))
        return [Signed(key=block.key, state=state)] if state else []
    citation = delta.get("citation")
    if kind == "citations_delta" and block.kind is Text and isinstance(citation, dict):
        block.citations.append(citation)
    return []
