"""Writing a stream of Messages for a caller.

Anthropic's SDKs want blocks that are numbered without gaps and open one at a time; a client acts on a call once its
block has stopped. Source: "Streaming Messages" of Anthropic's documentation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ai_gateway.errors import GatewayError
from ai_gateway.protocols.anthropic_errors import write_error_event
from ai_gateway.protocols.anthropic_messages.citations import write_citation
from ai_gateway.protocols.anthropic_messages.response import (
    call_id,
    message_id,
)
from ai_gateway.protocols.anthropic_messages.states import is_redacted, sealed_call_state, sealed_state
from ai_gateway.protocols.anthropic_messages.stops import write_details, write_stop
from ai_gateway.protocols.anthropic_messages.usage import (
    write_tier,
    write_usage,
)
from ai_gateway.protocols.arguments import Arguments
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Citation, Refusal, Request, State, Stop, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.jsontext import dumps, dumps_text
from ai_gateway.protocols.ordering import InOrder
from ai_gateway.protocols.protocol import StreamWriter

PING = b'event: ping\ndata: {"type": "ping"}\n\n'
COMMENT = b": keep-alive\n\n"

TEXT: dict[str, Any] = {"type": "text", "text": ""}
THINKING: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}

DELTAS = {Text: ("text_delta", "text"), Refusal: ("text_delta", "text"), Thinking: ("thinking_delta", "thinking")} | {
    ToolCall: ("input_json_delta", "partial_json")
}
"""The delta that adds to a part, and its member, by the kind of part."""


class _Part:
    """The part that is being written. Its block is started by the first thing that there is to write: an empty text
    gives no block, as a client would send it back, and Anthropic refuses such."""

    def __init__(self, part: Text | Refusal | Thinking | ToolCall) -> None:
        self.part = part
        self.state = part.state if not isinstance(part, Refusal) else None
        self.id = call_id(part.id) if isinstance(part, ToolCall) else ""
        self.is_started = False
        self.arguments = Arguments()
        self.pieces: list[str] = []
        """Of the free text of a call, which goes out as one string."""


class MessagesWriter(StreamWriter):
    """Writes one stream for a caller of Messages."""

    def __init__(self, request: Request, carrier: Carrier) -> None:
        self._request = request
        self._carrier = carrier
        self._in_order = InOrder()
        self._index = 0
        self._open: _Part | None = None
        self._head = b""
        """What a delta of the open block begins with, up to its text."""
        self._known_usage: dict[str, Any] = write_usage(None)
        self._is_started = False
        self._is_calling = False
        self._is_over = False
        self._refusal: list[str] = []
        self._handlers: dict[type[Event], Callable[[Any], bytes]] = {
            Started: self._start,
            Opened: self._open_part,
            Grown: self._grow,
            Signed: self._sign,
            Cited: self._cite,
            Closed: self._close_part,
            Finished: self._finish,
        }

    def write(self, event: Event) -> bytes:
        """Write an event. One that says that the stream failed is written as an error without a request id."""
        if self._is_over:
            return b""
        if isinstance(event, Failed):
            return self.fail(event.error, "")
        return b"".join([self._handlers[type(each)](each) for each in self._in_order.feed(event)])

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the error that ends the stream. Nothing follows it: no block is stopped, and no message."""
        if self._is_over:
            return b""
        self._is_over = True
        return write_error_event(error, request_id)

    def keep_alive(self) -> bytes:
        """A ping is an event of the message, and may come once that has started."""
        return PING if self._is_started else COMMENT

    def _start(self, event: Started) -> bytes:
        self._is_started = True
        usage = write_usage(event.usage)
        if event.usage is not None:
            self._known_usage = usage
        message: dict[str, Any] = {
            "id": message_id(event.id),
            "type": "message",
            "role": "assistant",
            "model": event.model or self._request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": usage | {"service_tier": write_tier(event.service_tier)},
        }
        return _event("message_start", {"message": message}) + PING

    def _open_part(self, event: Opened) -> bytes:
        part = event.part
        self._open = opened = _Part(part)
        if isinstance(part, ToolCall):
            self._is_calling = True
            return self._start_call(opened, part)
        written = self._grown(opened, part.text) if part.text else b""
        citations = part.citations if isinstance(part, Text) else ()
        return written + b"".join([self._cited(opened, each) for each in citations])

    def _start_call(self, opened: _Part, call: ToolCall) -> bytes:
        before = b""
        if opened.state is not None:
            before = self._call_state_block(opened.id, opened.state)
            opened.state = None
        block = {"type": "tool_use", "id": opened.id, "name": call.name, "input": {}}
        # Anthropic's own first delta is empty, whatever follows.
        started = before + self._start_block(opened, block) + self._head + b'""}}\n\n'
        return started + self._grown(opened, call.arguments) if call.arguments else started

    def _grow(self, event: Grown) -> bytes:
        return self._grown(self._open, event.text) if self._open is not None else b""

    def _grown(self, opened: _Part, text: str) -> bytes:
        """Write more of a part. This is the hot path: one delta is three byte strings put together."""
        part = opened.part
        if isinstance(part, ToolCall):
            return self._argued(opened, part, text)
        if isinstance(part, Refusal):
            self._refusal.append(text)
        start = b""
        if not opened.is_started:
            start = self._start_block(opened, THINKING if isinstance(part, Thinking) else TEXT)
        return start + self._head + dumps(text) + b"}}\n\n"

    def _argued(self, opened: _Part, call: ToolCall, text: str) -> bytes:
        """Write more of a call's arguments."""
        if call.is_custom:
            opened.pieces.append(text)
            return b""
        text = opened.arguments.add(text)
        return self._head + dumps(text) + b"}}\n\n" if text else b""

    def _start_block(self, opened: _Part, block: dict[str, Any]) -> bytes:
        opened.is_started = True
        kind, member = DELTAS[type(opened.part)]
        self._head = (
            f'event: content_block_delta\ndata: {{"type":"content_block_delta","index":{self._index},'
            f'"delta":{{"type":"{kind}","{member}":'
        ).encode()
        return _event("content_block_start", {"index": self._index, "content_block": block})

    def _delta(self, delta: dict[str, Any]) -> bytes:
        return _event("content_block_delta", {"index": self._index, "delta": delta})

    def _stop_block(self) -> bytes:
        stopped = _event("content_block_stop", {"index": self._index})
        self._index += 1
        return stopped

    def _sign(self, event: Signed) -> bytes:
        """Keep a state until the part is closed, as a later one replaces it."""
        if self._open is not None:
            self._open.state = event.state
        return b""

    def _cite(self, event: Cited) -> bytes:
        return self._cited(self._open, event.citation) if self._open is not None else b""

    def _cited(self, opened: _Part, citation: Citation) -> bytes:
        given = write_citation(citation, self._carrier)
        if given is None or not isinstance(opened.part, Text):
            return b""
        start = b"" if opened.is_started else self._start_block(opened, TEXT)
        return start + self._delta({"type": "citations_delta", "citation": given})

    def _close_part(self, event: Closed) -> bytes:
        opened, self._open = self._open, None
        if opened is None:
            return b""
        if isinstance(opened.part, Thinking):
            return self._close_thinking(opened)
        if isinstance(opened.part, ToolCall):
            return self._close_call(opened, opened.part)
        return self._stop_block() if opened.is_started else b""

    def _close_thinking(self, opened: _Part) -> bytes:
        state = opened.state
        if state is not None and is_redacted(state):
            block = {"type": "redacted_thinking", "data": self._carrier.seal(state)}
            return self._start_block(opened, block) + self._stop_block()
        if state is None and not opened.is_started:
            return b""
        start = b"" if opened.is_started else self._start_block(opened, THINKING)
        return start + self._signature(sealed_state(state, self._carrier)) + self._stop_block()

    def _close_call(self, opened: _Part, call: ToolCall) -> bytes:
        written = b""
        if call.is_custom:
            text = dumps_text({"input": "".join(opened.pieces)})
            written = self._delta({"type": "input_json_delta", "partial_json": text})
        written += self._stop_block()
        if opened.state is not None:
            written += self._call_state_block(opened.id, opened.state)
        return written

    def _call_state_block(self, id: str, state: State) -> bytes:
        start = _event("content_block_start", {"index": self._index, "content_block": THINKING})
        return start + self._signature(sealed_call_state(id, state, self._carrier)) + self._stop_block()

    def _signature(self, signature: str) -> bytes:
        return self._delta({"type": "signature_delta", "signature": signature})

    def _finish(self, event: Finished) -> bytes:
        self._is_over = True
        explanation = event.explanation or "".join(self._refusal) or None
        delta = {
            "stop_reason": write_stop(event.stop, self._is_calling),
            "stop_sequence": event.stop_sequence if event.stop is Stop.STOP_SEQUENCE else None,
            "stop_details": write_details(event.stop, explanation),
        }
        usage = write_usage(event.usage) if event.usage is not None else self._known_usage
        return _event("message_delta", {"delta": delta, "usage": usage}) + _event("message_stop", {})


def _event(name: str, members: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + dumps({"type": name, **members}) + b"\n\n"
