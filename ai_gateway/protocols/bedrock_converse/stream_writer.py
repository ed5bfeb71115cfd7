"""Writing the events of ConverseStream, as binary frames.

As Bedrock does it, only calls have a `contentBlockStart`; a text or reasoning begins with its first delta, so that one
of which nothing comes is no block. The usage comes in `metadata`, after `messageStop`.

Source: the shape `ConverseStreamOutput` of the service model, and "Streaming" in the Amazon Bedrock User Guide.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ai_gateway.errors import GatewayError
from ai_gateway.protocols.arguments import Arguments
from ai_gateway.protocols.bedrock_converse.citations import write_citation
from ai_gateway.protocols.bedrock_converse.errors import write_error_event
from ai_gateway.protocols.bedrock_converse.framing import frame
from ai_gateway.protocols.bedrock_converse.states import seal_attached
from ai_gateway.protocols.bedrock_converse.usage import write_usage
from ai_gateway.protocols.bedrock_converse.words import SERVICE_TIERS, STOP_REASONS
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import State, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.jsontext import dumps, dumps_text
from ai_gateway.protocols.ordering import InOrder
from ai_gateway.protocols.protocol import StreamWriter

KEEP_ALIVE = frame("ping", b"{}")
"""A sign of life. Clients must skip events that they do not know: AWS adds new ones."""


class ConverseStreamWriter(StreamWriter):
    """Writes one stream. Parts come one after the other, so there is one block at a time."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._order = InOrder()
        self._index = 0
        self._is_open = False
        self._is_over = False
        self._arguments: Arguments | None = None
        """What has come of the arguments, if the part is a call of a function."""
        self._part: Text | Thinking | ToolCall | None = None
        self._state: State | None = None
        self._free_text: list[str] | None = None
        self._handlers: dict[type[Event], Callable[[Any], list[bytes]]] = {
            Grown: self._grown,
            Opened: self._opened,
            Signed: self._signed,
            Cited: self._cited,
            Closed: self._closed,
            Started: self._started,
            Finished: self._finished,
            Failed: self._failed,
        }

    def write(self, event: Event) -> bytes:
        """Write an event as no, one or several frames."""
        if self._is_over:
            return b""
        frames: list[bytes] = []
        for each in self._order.feed(event):
            frames += self._handlers[type(each)](each)
        return b"".join(frames)

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the exception that ends the stream."""
        self._is_over = True
        return write_error_event(error, request_id)

    def keep_alive(self) -> bytes:
        """Write an event that no client knows."""
        return KEEP_ALIVE

    def _started(self, event: Started) -> list[bytes]:
        return [_written("messageStart", {"role": "assistant"})]

    def _failed(self, event: Failed) -> list[bytes]:
        return [self.fail(event.error, "")]

    def _opened(self, event: Opened) -> list[bytes]:
        part = event.part
        if isinstance(part, ToolCall):
            return self._call_opened(part)
        self._part = part if isinstance(part, Text | Thinking) else Text(text=part.text)
        self._state = self._part.state
        frames = self._delta_of(part.text) if part.text else []
        for citation in part.citations if isinstance(part, Text) else ():
            frames += self._cited(Cited(key=event.key, citation=citation))
        return frames

    def _call_opened(self, call: ToolCall) -> list[bytes]:
        self._part, self._state, self._is_open = call, call.state, True
        start = {"toolUse": {"toolUseId": call.id, "name": call.name}}
        frames = [_written("contentBlockStart", {"contentBlockIndex": self._index, "start": start})]
        if call.is_custom:
            self._free_text = [call.arguments]
            return frames
        self._arguments = Arguments()
        return frames + self._argued(self._arguments.add(call.arguments))

    def _grown(self, event: Grown) -> list[bytes]:
        if self._free_text is not None:
            self._free_text.append(event.text)
            return []
        if self._arguments is not None:
            return self._argued(self._arguments.add(event.text))
        return self._delta_of(event.text)

    def _argued(self, text: str) -> list[bytes]:
        """Write a piece of a call's arguments."""
        return [self._delta({"toolUse": {"input": text}})] if text else []

    def _delta_of(self, text: str) -> list[bytes]:
        """Write a piece of the text or the reasoning that is open."""
        if isinstance(self._part, Thinking):
            return [self._delta({"reasoningContent": {"text": text}})]
        return [self._delta({"text": text})]

    def _delta(self, delta: dict[str, Any]) -> bytes:
        self._is_open = True
        return _written("contentBlockDelta", {"contentBlockIndex": self._index, "delta": delta})

    def _signed(self, event: Signed) -> list[bytes]:
        """Keep a state until its part is whole: it may be replaced, and clients put several signatures together."""
        self._state = event.state
        return []

    def _cited(self, event: Cited) -> list[bytes]:
        citation = write_citation(event.citation)
        return [] if citation is None else [self._delta({"citation": citation})]

    def _closed(self, event: Closed) -> list[bytes]:
        frames: list[bytes] = []
        if self._free_text is not None:
            frames += self._argued(dumps_text({"input": "".join(self._free_text)}))
        elif self._arguments is not None and not self._arguments.has_begun:
            frames += self._argued("{}")
        state, part = self._state, self._part
        self._state, self._part, self._free_text, self._arguments = None, None, None, None
        if state is None:
            return [*frames, *self._block_stop()]
        if isinstance(part, Thinking):
            return [*frames, self._signature(self._carrier.seal(state)), *self._block_stop()]
        if not self._is_open:
            # The state belongs to the block before it: there must be one, though nothing came of this text.
            frames.append(self._delta({"text": ""}))
        frames += self._block_stop()
        return [*frames, self._signature(seal_attached(state, self._carrier)), *self._block_stop()]

    def _signature(self, signature: str) -> bytes:
        return self._delta({"reasoningContent": {"signature": signature}})

    def _block_stop(self) -> list[bytes]:
        if not self._is_open:
            return []
        stop = _written("contentBlockStop", {"contentBlockIndex": self._index})
        self._index += 1
        self._is_open = False
        return [stop]

    def _finished(self, event: Finished) -> list[bytes]:
        self._is_over = True
        stop: dict[str, Any] = {"stopReason": STOP_REASONS[event.stop]}
        if event.stop_sequence is not None:
            stop["additionalModelResponseFields"] = {"stop_sequence": event.stop_sequence}
        metadata: dict[str, Any] = {"usage": write_usage(event.usage), "metrics": {"latencyMs": 0}}
        if event.service_tier in SERVICE_TIERS:
            metadata["serviceTier"] = {"type": event.service_tier}
        return [_written("messageStop", stop), _written("metadata", metadata)]


def _written(event_type: str, payload: dict[str, Any]) -> bytes:
    return frame(event_type, dumps(payload))
