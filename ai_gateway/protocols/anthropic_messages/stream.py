"""Streams of Messages: what a provider sends, and what a caller gets.

Source: "Streaming Messages" of Anthropic's documentation. Recorded besides: blocks never interleave, pings come at any
time, a signature comes just before its block's end, a citation before the text that it stands for, and a
`message_start` may come twice. Its SDKs want blocks that are numbered without gaps and open one at a time; a client
acts on a call once its block has stopped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ai_gateway.errors import GatewayError, UpstreamClosed, UpstreamProtocolError
from ai_gateway.protocols.anthropic_errors import write_error_event
from ai_gateway.protocols.anthropic_messages.citations import read_citation, write_citation
from ai_gateway.protocols.anthropic_messages.failures import read_error_event
from ai_gateway.protocols.anthropic_messages.response import (
    call_id,
    message_id,
    read_block,
    signature_state,
    string,
)
from ai_gateway.protocols.anthropic_messages.states import is_redacted, sealed_call_state, sealed_state
from ai_gateway.protocols.anthropic_messages.stops import read_explanation, read_stop, write_details, write_stop
from ai_gateway.protocols.anthropic_messages.usage import (
    merge_usage,
    read_tier,
    read_usage,
    write_tier,
    write_usage,
)
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Citation, Refusal, Request, State, Stop, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.jsontext import dumps, loads
from ai_gateway.protocols.ordering import InOrder
from ai_gateway.protocols.protocol import StreamReader, StreamWriter

# Reading.


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
        events.append(
            Finished(
                stop=self._stop or Stop.END,
                stop_sequence=self._stop_sequence,
                explanation=self._explanation,
                usage=read_usage(self._usage),
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


# Writing.

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
        if isinstance(part, ToolCall) and part.is_custom:
            opened.pieces.append(text)
            return b""
        if isinstance(part, Refusal):
            self._refusal.append(text)
        start = b""
        if not opened.is_started:
            start = self._start_block(opened, THINKING if isinstance(part, Thinking) else TEXT)
        return start + self._head + dumps(text) + b"}}\n\n"

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
            text = dumps({"input": "".join(opened.pieces)}).decode()
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
