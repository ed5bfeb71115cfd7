"""Writing a stream of Responses events.

Items may be open side by side, each with an `output_index` of its own, so nothing is held back but one thing: the end
of the last item is written with what comes next, because only then it is known whether a text goes on, and whether the
answer was cut off. Source: "Streaming events" in OpenAI's API reference for Responses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ai_gateway.errors import GatewayError, Kind
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Refusal, Request, State, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.openai_errors import error_object
from ai_gateway.protocols.openai_responses import states
from ai_gateway.protocols.openai_responses.item_writer import (
    INCOMPLETE,
    CallItems,
    Item,
    ResponseObject,
    item_id,
    reasoning_item,
)
from ai_gateway.protocols.openai_responses.open_items import OpenCall, OpenItem, OpenReasoning, OpenRefusal, OpenText
from ai_gateway.protocols.protocol import StreamWriter

FAILURES = {
    Kind.BAD_REQUEST: "invalid_prompt",
    Kind.RATE_LIMIT: "rate_limit_exceeded",
    Kind.QUOTA: "rate_limit_exceeded",
}
"""The code of a failed response, where it is not `server_error`: it must be one of a short list."""


class ResponsesWriter(StreamWriter):
    """Writes one stream. `response` is what its last event held."""

    def __init__(self, request: Request, carrier: Carrier) -> None:
        self._request = request
        self._carrier = carrier
        self._calls = CallItems(request)
        self._object: ResponseObject | None = None
        self._sequence = 0
        self._open: dict[int, OpenItem] = {}
        self._last: OpenItem | None = None
        self._waiting: OpenItem | None = None
        self._output: dict[int, Item] = {}
        self._next_index = 0
        self._is_over = False
        self.response: dict[str, Any] = {}

    def write(self, event: Event) -> bytes:
        """Write an event."""
        if type(event) is Grown:
            return self._grown(event)
        write = _WRITERS.get(type(event))
        return write(self, event) if write is not None and not self._is_over else b""

    def fail(self, error: GatewayError, request_id: str) -> bytes:
        """Write the error, and the response as it failed: some clients read the one, some the other."""
        if self._is_over:
            return b""
        self._is_over = True
        members = error_object(error)
        flat = {"code": members["code"], "message": members["message"], "param": members["param"]}
        written = self._event("error", {**flat, "error": members})
        for item in self._unfinished():
            self._output[item.index] = item.item("incomplete")
        response = self._response_object()
        failure = {"code": FAILURES.get(error.kind, "server_error"), "message": error.message}
        self.response = response.failed(self._items(), failure)
        return written + self._event("response.failed", {"response": self.response})

    def _event(self, name: str, members: dict[str, Any]) -> bytes:
        """Frame an event with the next number."""
        number = self._sequence
        self._sequence = number + 1
        return b"event: %b\ndata: %b\n\n" % (name.encode(), dumps({"type": name, "sequence_number": number, **members}))

    def _events(self, events: list[tuple[str, dict[str, Any]]]) -> bytes:
        return b"".join([self._event(name, members) for name, members in events])

    # The response.

    def _response_object(self, started: Started | None = None) -> ResponseObject:
        if self._object is None:
            begun = started or Started(id="", model=self._request.model)
            self._object = ResponseObject(self._request, begun.id, begun.created, begun.model, begun.service_tier)
        return self._object

    def _started(self, event: Started) -> bytes:
        if self._object is not None:
            return b""
        response = self._response_object(event).in_progress()
        begun = [("response.created", {"response": response}), ("response.in_progress", {"response": response})]
        return self._events(begun)

    def _finished(self, event: Finished) -> bytes:
        is_cut = event.stop in INCOMPLETE
        written = self._explain(event.explanation)
        written += b"".join([self._finish(item, is_cut) for item in self._unfinished()])
        self._is_over = True
        response = self._response_object()
        self.response = response.finished(event.stop, self._items(), event.usage, event.service_tier)
        name = "response.incomplete" if is_cut else "response.completed"
        return written + self._event(name, {"response": self.response})

    def _explain(self, explanation: str | None) -> bytes:
        """Write why the provider refused, if that is all there is to say."""
        if not explanation or self._next_index or self._open:
            return b""
        refusal = OpenRefusal(Refusal(text=explanation))
        self._waiting = refusal
        return self._begin(refusal) + self._events(refusal.beginning())

    def _failed(self, event: Failed) -> bytes:
        return self.fail(event.error, "")

    def _items(self) -> list[Item]:
        return [self._output[index] for index in sorted(self._output)]

    def _unfinished(self) -> list[OpenItem]:
        """Give what has no end yet, in its order, and forget it."""
        items = [*self._open.values(), *([self._waiting] if self._waiting else ())]
        self._open, self._waiting = {}, None
        return sorted({item.index: item for item in items if item.is_begun}.values(), key=lambda item: item.index)

    # Items.

    def _opened(self, event: Opened) -> bytes:
        """Begin an item, or go on with the text before it."""
        part = event.part
        if isinstance(part, Text) and (message := self._going_on(part)) is not None:
            return self._go_on(event.key, message, part)
        written = self._finish_waiting()
        if isinstance(part, ToolCall) and part.state is not None:
            written += self._carry(states.of_call(part.state, part.id))
        item = self._new(part)
        self._open[event.key] = self._last = item
        if not isinstance(part, ToolCall) and not part.text:
            return written
        return written + self._begin(item) + self._events(item.beginning())

    def _going_on(self, text: Text) -> OpenText | None:
        """Give the message that a text goes on with: the last item, if it is a text whose end was not written yet."""
        waiting = self._waiting
        if not isinstance(waiting, OpenText) or waiting is not self._last:
            return None
        return waiting if waiting.phase == text.phase else None

    def _go_on(self, key: int, item: OpenText, text: Text) -> bytes:
        self._waiting = None
        self._open[key] = item
        return self._events(item.next_block(text))

    def _new(self, part: Text | Refusal | Thinking | ToolCall) -> OpenItem:
        if isinstance(part, Text):
            return OpenText(part)
        if isinstance(part, Refusal):
            return OpenRefusal(part)
        if isinstance(part, Thinking):
            return OpenReasoning(part, self._carrier)
        return OpenCall(part, self._calls)

    def _begin(self, item: OpenItem) -> bytes:
        """Give an item its place, and say that it is there."""
        index = self._next_index
        self._next_index = index + 1
        item.place(index, item_id(item.kind, self._response_object().stem, index))
        return self._event("response.output_item.added", {"output_index": index, "item": item.item("in_progress")})

    def _grown(self, event: Grown) -> bytes:
        """Write a delta: the hot path. All of it but the number and the text is ready."""
        item = self._open.get(event.key)
        if item is None or self._is_over:
            return b""
        written = b"" if item.is_begun else self._begin(item) + self._events(item.beginning())
        item.pieces.append(event.text)
        if not item.head:
            return written
        number = self._sequence
        self._sequence = number + 1
        logprobs = item.with_logprobs(event.logprobs) if item.takes_logprobs else b""
        return b"%b%b%d%b%b%b}\n\n" % (written, item.head, number, item.middle, dumps(event.text), logprobs)

    def _signed(self, event: Signed) -> bytes:
        item = self._open.get(event.key)
        if item is not None:
            item.state = event.state
        return b""

    def _cited(self, event: Cited) -> bytes:
        item = self._open.get(event.key)
        if isinstance(item, OpenText):
            item.citations.append(event.citation)
        return b""

    def _closed(self, event: Closed) -> bytes:
        """A part is whole. If it is the last one, its item's end waits for what comes next."""
        item = self._open.pop(event.key, None)
        if item is None:
            return b""
        written = b""
        if not item.is_begun:
            if item.state is None:
                return b""
            if not isinstance(item, OpenReasoning):
                return self._carry(states.of_text(item.state))
            written = self._begin(item)
        written += self._events(item.end_of_block())
        if item is not self._last:
            return written + self._finish(item, False)
        written += self._finish_waiting()
        self._waiting = item
        return written

    def _finish_waiting(self) -> bytes:
        item, self._waiting = self._waiting, None
        return b"" if item is None else self._finish(item, False)

    def _finish(self, item: OpenItem, is_cut: bool) -> bytes:
        """Write the end of an item, and behind it the state of a text or call that has become known by now."""
        whole = item.item("incomplete" if is_cut else "completed")
        self._output[item.index] = whole
        written = self._events(item.ending())
        written += self._event("response.output_item.done", {"output_index": item.index, "item": whole})
        carried = item.carried_behind()
        return written if carried is None else written + self._carry(carried)

    def _carry(self, state: State) -> bytes:
        """Write a state that belongs to no reasoning, as a reasoning item that shows nothing."""
        index = self._next_index
        self._next_index = index + 1
        id = item_id("reasoning", self._response_object().stem, index)
        whole = reasoning_item(id, "", self._carrier.seal(state))
        self._output[index] = whole
        place: dict[str, Any] = {"output_index": index}
        return self._events(
            [
                ("response.output_item.added", {**place, "item": reasoning_item(id, "", None)}),
                ("response.output_item.done", {**place, "item": whole}),
            ]
        )


_WRITERS: Mapping[type[Event], Callable[[ResponsesWriter, Any], bytes]] = {
    Started: ResponsesWriter._started,
    Opened: ResponsesWriter._opened,
    Signed: ResponsesWriter._signed,
    Cited: ResponsesWriter._cited,
    Closed: ResponsesWriter._closed,
    Finished: ResponsesWriter._finished,
    Failed: ResponsesWriter._failed,
}
"""What writes an event, by its class; `Grown` has a way of its own."""
