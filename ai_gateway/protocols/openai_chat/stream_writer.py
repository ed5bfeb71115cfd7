"""Writing a stream for a caller.

Every chunk has the same head; only what `delta` holds changes, so the head is written once. OpenAI's SDK concatenates
the strings of a delta it has seen before: role, ids, names and formats are sent exactly once, and the annotations,
whose entries have no index, all in one chunk. Calls could be mixed, but its helpers take a call for whole when a piece
of another one comes; so parts are put one after the other.

Source: the chat completion chunk object of OpenAI's API reference; `accumulate_delta` of its Python SDK.
"""

from __future__ import annotations

import time
from typing import Any

from ai_gateway.errors import GatewayError
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Citation, Part, Refusal, Request, State, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.openai_chat.response import annotation, answer_id, is_shown, position
from ai_gateway.protocols.openai_chat.states import google_extra, sealed_detail
from ai_gateway.protocols.openai_chat.stops import write_reason
from ai_gateway.protocols.openai_chat.usage import write_usage
from ai_gateway.protocols.openai_errors import write_error_event
from ai_gateway.protocols.openai_tiers import TIERS
from ai_gateway.protocols.ordering import InOrder
from ai_gateway.protocols.protocol import StreamWriter

DONE = b"data: [DONE]\n\n"
END_OF_CHOICE = b',"logprobs":null,"finish_reason":null}]'


class _Writing:
    """A part that is open, as the caller sees it."""

    __slots__ = (
        "citations",
        "grow",
        "index",
        "is_custom",
        "is_empty",
        "is_redacted",
        "kind",
        "length",
        "pieces",
        "start",
        "state",
    )

    def __init__(self, kind: type[Part], grow: Any, index: int = 0, start: int = 0) -> None:
        self.kind = kind
        self.grow = grow
        """Gives the delta for more of the part."""
        self.index = index
        """Its number among the calls, or among the blocks of reasoning."""
        self.start = start
        """Where a text begins in the whole content."""
        self.length = 0
        self.is_empty = True
        self.is_custom = False
        self.is_redacted = False
        self.state: State | None = None
        self.citations: list[Citation] = []
        self.pieces: list[str] = []
        """Reasoning that the caller does not want to see, kept until it is known whether it must be carried."""


class ChatStreamWriter(StreamWriter):
    """Writes one stream."""

    def __init__(self, request: Request, carrier: Carrier) -> None:
        self._request = request
        self._carrier = carrier
        self._shows_reasoning = is_shown(request)
        self._end = b',"usage":null}\n\n' if request.includes_usage else b"}\n\n"
        self._head = b""
        self._role = b""
        """The chunk with the role, held back until it is known what comes: text, or something else."""
        self._is_tier_told = False
        self._open: dict[int, _Writing] = {}
        self._calls = 0
        self._blocks = 0
        self._length = 0
        """Characters of content so far."""
        self._has_reasoning = False
        self._has_refusal = False
        self._annotations: list[dict[str, Any]] = []
        self._verbatim: list[dict[str, Any]] = []
        self._order = InOrder()
        self._own: dict[str, Any] = {}
        """What of a text is told with the end: its phase and its state."""

    def write(self, event: Event) -> bytes:
        """Write what an event means to the caller."""
        return b"".join([WRITERS[type(each)](self, each) for each in self._order.feed(event)])

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the error. No `[DONE]` follows it."""
        return write_error_event(error, request_id)

    def _failed(self, event: Failed) -> bytes:
        return self.fail(event.error, "")

    def _started(self, event: Started) -> bytes:
        created = event.created if event.created is not None else int(time.time())
        head: dict[str, Any] = {
            "id": answer_id(event.id),
            "object": "chat.completion.chunk",
            "created": created,
            "model": event.model or self._request.model,
            "system_fingerprint": None,
        }
        if event.service_tier in TIERS:
            head["service_tier"] = event.service_tier
            self._is_tier_told = True
        self._head = b"data: " + dumps(head)[:-1]
        self._role = b"held"
        return b""

    def _chunk(self, delta: dict[str, Any]) -> bytes:
        """Write a chunk with a delta, and in front of it, if it is the first, the one with the role."""
        chunk = self._head + b',"choices":[{"index":0,"delta":' + dumps(delta) + END_OF_CHOICE + self._end
        return self._begin("content" in delta) + chunk if self._role else chunk

    def _begin(self, is_text: bool) -> bytes:
        """Write the chunk with the role. An answer without text keeps a content of null, as at OpenAI."""
        self._role = b""
        return self._chunk({"role": "assistant", "content": "" if is_text else None, "refusal": None})

    def _opened(self, event: Opened) -> bytes:
        part = event.part
        if isinstance(part, Text):
            return self._open_text(event.key, part)
        if isinstance(part, ToolCall):
            return self._open_call(event.key, part)
        if isinstance(part, Thinking):
            return self._open_block(event.key, part)
        self._open[event.key] = _Writing(Refusal, _refusal_delta)
        return self._more(event.key, part.text, None)

    def _open_text(self, key: int, part: Text) -> bytes:
        writing = _Writing(Text, _text_delta, start=self._length)
        writing.state, writing.citations = part.state, list(part.citations)
        self._open[key] = writing
        if part.phase:
            self._own["phase"] = part.phase
        return self._more(key, part.text, part.logprobs)

    def _open_call(self, key: int, part: ToolCall) -> bytes:
        writing = _Writing(ToolCall, _custom_delta if part.is_custom else _arguments_delta, self._calls)
        if self._request.uses_functions:
            writing.grow = _function_delta
        self._open[key] = writing
        self._calls += 1
        if self._request.uses_functions and writing.index:
            # The older form has room for one call.
            return b""
        delta = self._call_delta(writing.index, part)
        if part.state is not None and not self._request.uses_functions:
            # At once if it is known: some clients look for it in a call's first piece only.
            delta["tool_calls"][0]["extra_content"] = google_extra(self._carrier.seal(part.state))
        else:
            writing.state = part.state
        writing.is_custom = part.is_custom
        writing.is_empty = not (part.arguments or part.is_custom)
        return self._chunk(delta)

    def _call_delta(self, index: int, part: ToolCall) -> dict[str, Any]:
        if self._request.uses_functions:
            return {"function_call": {"name": part.name, "arguments": part.arguments}}
        kind, member = ("custom", "input") if part.is_custom else ("function", "arguments")
        call = {"index": index, "id": part.id, "type": kind, kind: {"name": part.name, member: part.arguments}}
        return {"tool_calls": [call]}

    def _open_block(self, key: int, part: Thinking) -> bytes:
        writing = _Writing(Thinking, None, NO_INDEX)
        writing.state, self._open[key] = part.state, writing
        writing.is_redacted = part.is_redacted
        return self._think(writing, part.text) if part.text else b""

    def _think(self, writing: _Writing, text: str) -> bytes:
        """Write more of a block of reasoning. The text stands twice: for those who only show it, and for those who
        bring it back."""
        if not self._shows_reasoning:
            writing.pieces.append(text)
            return b""
        detail: dict[str, Any] = {"index": writing.index, "type": "reasoning.text", "text": text}
        shown = text
        if writing.index == NO_INDEX:
            detail |= self._number(writing)
            shown = f"\n\n{text}" if self._has_reasoning else text
            self._has_reasoning = True
        return self._chunk({"reasoning_content": shown, "reasoning_details": [detail]})

    def _number(self, writing: _Writing) -> dict[str, Any]:
        """Give a block its number, and tell what stands before it."""
        writing.index = self._blocks
        self._blocks += 1
        return {"index": writing.index, **position(self._length, self._calls)}

    def _grown(self, event: Grown) -> bytes:
        return self._more(event.key, event.text, event.logprobs)

    def _more(self, key: int, text: str, logprobs: list[dict[str, Any]] | None) -> bytes:
        writing = self._open.get(key)
        if not text or writing is None:
            return b""
        if writing.kind is Thinking:
            return self._think(writing, text)
        if writing.kind is Text:
            self._length += len(text)
            writing.length += len(text)
            if logprobs:
                return self._probable(text, logprobs)
        elif writing.kind is Refusal:
            self._has_refusal = True
        elif self._request.uses_functions and writing.index:
            return b""
        writing.is_empty = False
        return self._chunk(writing.grow(text, writing.index))

    def _probable(self, text: str, logprobs: list[dict[str, Any]]) -> bytes:
        """Write text with the probabilities of its tokens."""
        chunk = {"index": 0, "delta": {"content": text}, "logprobs": {"content": logprobs, "refusal": None}}
        written = self._head + b',"choices":[' + dumps({**chunk, "finish_reason": None}) + b"]" + self._end
        return self._begin(True) + written if self._role else written

    def _signed(self, event: Signed) -> bytes:
        writing = self._open.get(event.key)
        if writing is not None:
            writing.state = event.state
        return b""

    def _cited(self, event: Cited) -> bytes:
        writing = self._open.get(event.key)
        if writing is not None:
            writing.citations.append(event.citation)
        return b""

    def _closed(self, event: Closed) -> bytes:
        writing = self._open.pop(event.key, None)
        if writing is None:
            return b""
        if writing.kind is Thinking:
            return self._close_block(writing)
        if writing.kind is ToolCall:
            return self._close_call(writing)
        if writing.kind is Text:
            self._close_text(writing)
        return b""

    def _close_text(self, writing: _Writing) -> None:
        for cited in writing.citations:
            if cited.url:
                self._annotations.append(annotation(cited, writing.start, writing.length))
            if cited.verbatim is not None:
                self._verbatim.append(cited.verbatim)
        if writing.state is not None:
            self._own["extra_content"] = google_extra(self._carrier.seal(writing.state))

    def _close_call(self, writing: _Writing) -> bytes:
        """A call without arguments has `{}`, which clients parse; its state is told last."""
        if self._request.uses_functions:
            is_shown_empty = writing.is_empty and not writing.index
            return self._chunk(_function_delta("{}", 0)) if is_shown_empty else b""
        written = self._chunk(_arguments_delta("{}", writing.index)) if writing.is_empty else b""
        if writing.state is not None:
            extra = google_extra(self._carrier.seal(writing.state))
            # The SDK wants the function in every piece of a call.
            piece = {"index": writing.index, **({} if writing.is_custom else {"function": {"arguments": ""}})}
            written += self._chunk({"tool_calls": [{**piece, "extra_content": extra}]})
        return written

    def _close_block(self, writing: _Writing) -> bytes:
        if writing.state is None:
            return b""
        place = self._number(writing) if writing.index == NO_INDEX else {}
        detail = sealed_detail(writing.index, writing.state, self._carrier, writing.is_redacted) | place
        hidden = "".join(writing.pieces)
        return self._chunk({"reasoning_details": [detail | ({"text": hidden} if hidden else {})]})

    def _finished(self, event: Finished) -> bytes:
        """Write the chunk with the reason, the usage if the caller wants it, and the end."""
        delta: dict[str, Any] = dict(self._own)
        delta |= {"annotations": self._annotations} if self._annotations else {}
        delta |= {"citations": self._verbatim} if self._verbatim else {}
        if event.explanation and not self._length and not self._has_refusal:
            delta["refusal"] = event.explanation
        choice: dict[str, Any] = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": write_reason(event.stop, self._calls > 0, self._request.uses_functions),
        }
        if event.stop_sequence is not None:
            choice["stop_sequence"] = event.stop_sequence
        head = self._head
        if event.service_tier in TIERS and not self._is_tier_told:
            head += b',"service_tier":' + dumps(event.service_tier)
        begin = self._begin(not self._calls) if self._role else b""
        finish = head + b',"choices":[' + dumps(choice) + b"]" + self._end
        return begin + finish + self._usage(event, head) + DONE

    def _usage(self, event: Finished, head: bytes) -> bytes:
        if event.usage is None or not self._request.includes_usage:
            return b""
        return head + b',"choices":[],"usage":' + dumps(write_usage(event.usage)) + b"}\n\n"


NO_INDEX = -1
"""The number of a block of reasoning of which nothing was written yet."""

WRITERS: dict[type[Event], Any] = {
    Started: ChatStreamWriter._started,
    Opened: ChatStreamWriter._opened,
    Grown: ChatStreamWriter._grown,
    Signed: ChatStreamWriter._signed,
    Cited: ChatStreamWriter._cited,
    Closed: ChatStreamWriter._closed,
    Finished: ChatStreamWriter._finished,
    Failed: ChatStreamWriter._failed,
}


def _text_delta(text: str, index: int) -> dict[str, Any]:
    return {"content": text}


def _refusal_delta(text: str, index: int) -> dict[str, Any]:
    return {"refusal": text}


def _arguments_delta(text: str, index: int) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "function": {"arguments": text}}]}


def _custom_delta(text: str, index: int) -> dict[str, Any]:
    return {"tool_calls": [{"index": index, "custom": {"input": text}}]}


def _function_delta(text: str, index: int) -> dict[str, Any]:
    return {"function_call": {"arguments": text}}
