"""Reading a stream of Responses events.

OpenAI sends an item as added, its text in deltas, and everything once more when it is done. Others leave out deltas,
names of events, or whole events. So what was not seen coming is taken from the first event that has it whole: of a
text, of an item, of the response. Source: "Streaming events" in OpenAI's API reference for Responses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ai_gateway.errors import GatewayError, UpstreamClosed, UpstreamProtocolError
from ai_gateway.protocols.conversation import Refusal, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.openai_responses.citations import read_citation
from ai_gateway.protocols.openai_responses.errors import stream_error
from ai_gateway.protocols.openai_responses.item_reader import (
    call_id,
    created_of,
    output_of,
    read_logprobs,
    read_state,
    read_stop,
    text_of,
)
from ai_gateway.protocols.openai_responses.usage import charged, is_charged, read_units, read_usage, units_of
from ai_gateway.protocols.protocol import StreamReader

Wire = dict[str, Any]


class _Item:
    """What is known of one item of the output.

    `keys` are those of its parts, by where they stand in it: the index of a content part, or 0. `seen` are the places
    whose text has come, at least in part.
    """

    __slots__ = ("cited", "is_closed", "keys", "kind", "phase", "seen", "source")

    def __init__(self, wire: Wire) -> None:
        self.kind = text_of(wire, "type")
        self.phase = text_of(wire, "phase") or None
        self.keys: dict[int, int] = {}
        self.seen: set[object] = set()
        self.cited: dict[int, int] = {}
        self.source = ""
        self.is_closed = False


ARGUMENTS = {"function_call": "arguments", "custom_tool_call": "input"}
"""What the arguments of a call are called in its item."""


class ResponsesReader(StreamReader):
    """Reads one stream."""

    def __init__(self) -> None:
        self._items: list[_Item] = []
        self._placed: dict[int, _Item] = {}
        self._named: dict[tuple[str, str], _Item] = {}
        self._next_key = 0
        self._has_begun = False
        self._is_over = False
        self._has_calls = False
        self._uses: list[str] = []
        """The types of the items that are done and charged apart."""

    @property
    def units(self) -> dict[str, float]:
        """See StreamReader.units."""
        return units_of(self._uses)

    def read(self, name: str | None, data: bytes) -> list[Event]:
        """Take one event. What is unknown is skipped, and so is everything after the end."""
        if self._is_over:
            return []
        try:
            wire = loads(data)
            handler = _HANDLERS.get(wire.get("type")) or _HANDLERS.get(name)
            if handler is not None:
                return handler(self, wire)
            return self._fail(stream_error(wire)) if wire.get("error") and "type" not in wire else []
        except (ValueError, TypeError, AttributeError, KeyError, RecursionError) as error:
            if data.startswith(b"[DONE]"):
                return []
            message = "The provider's stream has an event that cannot be read."
            return self._fail(UpstreamProtocolError(message, detail=repr(error)))

    def end(self) -> list[Event]:
        """The body is over: only an event that ends the response has proved that it is whole."""
        if self._is_over:
            return []
        return self._fail(UpstreamClosed("The provider's stream ended before the answer was complete."))

    def _fail(self, error: GatewayError) -> list[Event]:
        self._is_over = True
        return [Failed(error=error)]

    # The response.

    def _begin(self, wire: Wire) -> list[Event]:
        response = wire.get("response")
        return self._started(response if isinstance(response, dict) else {})

    def _started(self, response: Wire) -> list[Event]:
        if self._has_begun:
            return []
        self._has_begun = True
        tier = text_of(response, "service_tier") or None
        begun = Started(
            id=text_of(response, "id"),
            model=text_of(response, "model"),
            created=created_of(response),
            service_tier=tier,
        )
        return [begun]

    def _finish(self, wire: Wire) -> list[Event]:
        """The response is over: bring what was never seen of it, and close what is open."""
        response = wire["response"]
        if response.get("error") or response.get("status") in ("failed", "cancelled"):
            return self._fail(stream_error(response))
        events = self._started(response)
        for index, item in enumerate(output_of(response)):
            events += self._rest(index, item)
        for known in self._items:
            events += self._close(known)
        self._is_over = True
        events.append(
            Finished(
                stop=read_stop(_with_status(wire, response), self._has_calls),
                usage=read_usage(response.get("usage")),
                units=read_units(response.get("usage"), charged(output_of(response)), told=self.units),
                service_tier=text_of(response, "service_tier") or None,
            )
        )
        return events

    def _rest(self, index: int, item: Wire) -> list[Event]:
        """Read an item of the finished response that was not done before."""
        known = self._named.get(_identity(item)) or self._placed.get(index)
        is_same = known is None or known.kind == text_of(item, "type")
        return self._whole(known or self._add(index, item), item) if is_same else []

    def _error(self, wire: Wire) -> list[Event]:
        return self._fail(stream_error(wire))

    def _failed(self, wire: Wire) -> list[Event]:
        response = wire.get("response")
        return self._fail(stream_error(response if isinstance(response, dict) else wire))

    # Items.

    def _added(self, wire: Wire) -> list[Event]:
        item = wire.get("item")
        if not isinstance(item, dict) or _identity(item) in self._named:
            return []
        known = self._add(wire.get("output_index", len(self._items)), item)
        return self._open_call(known, item) if known.kind in ARGUMENTS and text_of(item, "name") else []

    def _add(self, index: int, item: Wire) -> _Item:
        """Note an item. One that is at its place already is another one: some servers give all the same place."""
        known = self._placed[index] = _Item(item)
        self._items.append(known)
        if _identity(item)[1]:
            self._named[_identity(item)] = known
        return known

    def _done(self, wire: Wire) -> list[Event]:
        item = wire.get("item")
        if not isinstance(item, dict):
            return []
        index = wire.get("output_index", len(self._items))
        return self._whole(self._known(index, item) or self._add(index, item), item)

    def _known(self, index: int, item: Wire) -> _Item | None:
        """Find an item that is done, by its id, or else by its place: some servers give it another id in every event.
        If the item at that place is done already, this is another one."""
        named, placed = self._named.get(_identity(item)), self._placed.get(index)
        if named is not None or placed is None:
            return named
        return None if placed.is_closed and _identity(item)[1] else placed

    def _whole(self, known: _Item, item: Wire) -> list[Event]:
        """Read an item that is done: what did not come before, and that it is."""
        if known.is_closed:
            return []
        known.phase = known.phase or text_of(item, "phase") or None
        if is_charged(known.kind, item.get("action")):
            self._uses.append(known.kind)
        complete = _COMPLETERS.get(known.kind)
        events = complete(self, known, item) if complete else []
        return [*events, *self._close(known)]

    def _close(self, known: _Item) -> list[Event]:
        if known.is_closed:
            return []
        known.is_closed = True
        return [Closed(key=key) for key in known.keys.values()]

    def _open(self, known: _Item, place: int, part: Text | Refusal | Thinking | ToolCall) -> list[Event]:
        known.keys[place] = key = self._next_key
        self._next_key = key + 1
        return [*self._started({}), Opened(key=key, part=part)]

    # Messages.

    def _text_delta(self, wire: Wire) -> list[Event]:
        place, delta = wire.get("content_index", 0), _delta(wire)
        known = self._item_of(wire, "message")
        if not delta or known.is_closed:
            return []
        events = [] if place in known.seen else self._begin_text(known, place)
        events.append(Grown(key=known.keys[place], text=delta, logprobs=read_logprobs(wire)))
        return events

    def _text_done(self, wire: Wire) -> list[Event]:
        return self._text_part(self._item_of(wire, "message"), wire.get("content_index", 0), wire)

    def _text_part(self, known: _Item, place: int, part: Wire) -> list[Event]:
        """Take a whole text, unless it came in pieces."""
        text = text_of(part, "text")
        if not text or place in known.seen or known.is_closed:
            return []
        begun = self._begin_text(known, place)
        return [*begun, Grown(key=known.keys[place], text=text, logprobs=read_logprobs(part))]

    def _begin_text(self, known: _Item, place: int) -> list[Event]:
        """Note that a text comes now. It may be open already, for a citation that came before it."""
        known.seen.add(place)
        return [] if place in known.keys else self._open(known, place, Text(phase=known.phase))

    def _refusal_delta(self, wire: Wire) -> list[Event]:
        place, delta = wire.get("content_index", 0), _delta(wire)
        known = self._item_of(wire, "message")
        if not delta or known.is_closed:
            return []
        events = [] if place in known.keys else self._open(known, place, Refusal())
        return [*events, Grown(key=known.keys[place], text=delta)]

    def _refusal_done(self, wire: Wire) -> list[Event]:
        return self._refusal_part(self._item_of(wire, "message"), wire.get("content_index", 0), wire)

    def _refusal_part(self, known: _Item, place: int, part: Wire) -> list[Event]:
        text = text_of(part, "refusal")
        if not text or place in known.keys or known.is_closed:
            return []
        return self._open(known, place, Refusal(text=text))

    def _annotation(self, wire: Wire) -> list[Event]:
        known = self._item_of(wire, "message")
        place, annotation = wire.get("content_index", 0), wire.get("annotation")
        if known.is_closed or not isinstance(annotation, dict):
            return []
        events = [] if place in known.keys else self._open(known, place, Text(phase=known.phase))
        return [*events, *self._cite(known, place, annotation)]

    def _cite(self, known: _Item, place: int, annotation: Wire) -> list[Event]:
        known.cited[place] = known.cited.get(place, 0) + 1
        return [Cited(key=known.keys[place], citation=read_citation(annotation))]

    def _part_done(self, wire: Wire) -> list[Event]:
        known, part = self._item_of(wire, ""), wire["part"]
        if known.kind == "message":
            return self._message_part(known, wire.get("content_index", 0), part)
        return self._thought_whole(known, "content", wire.get("content_index", 0), text_of(part, "text"))

    def _message_part(self, known: _Item, place: int, part: Wire) -> list[Event]:
        """Read a content part that is done, with the annotations that did not come one by one."""
        if part.get("type") == "refusal":
            return self._refusal_part(known, place, part)
        events = self._text_part(known, place, part)
        annotations = part.get("annotations")
        if place in known.keys and isinstance(annotations, list):
            for annotation in annotations[known.cited.get(place, 0) :]:
                events += self._cite(known, place, annotation) if isinstance(annotation, dict) else ()
        return events

    def _complete_message(self, known: _Item, item: Wire) -> list[Event]:
        events: list[Event] = []
        content = item.get("content")
        for place, part in enumerate(content if isinstance(content, list) else ()):
            events += self._message_part(known, place, part)
        return events

    # Reasoning.

    def _summary_delta(self, wire: Wire) -> list[Event]:
        known = self._item_of(wire, "reasoning")
        return self._think(known, "summary", wire.get("summary_index", 0), _delta(wire))

    def _reasoning_delta(self, wire: Wire) -> list[Event]:
        known = self._item_of(wire, "reasoning")
        return self._think(known, "content", wire.get("content_index", 0), _delta(wire))

    def _think(self, known: _Item, source: str, index: int, text: str) -> list[Event]:
        """Take a piece of reasoning. The first source of it is kept to: a summary, or the reasoning itself. Its parts
        are paragraphs."""
        if not text or known.is_closed or known.source not in ("", source):
            return []
        if not known.source:
            known.source = source
            known.seen.add(index)
            events = [] if 0 in known.keys else self._open(known, 0, Thinking())
            return [*events, Grown(key=known.keys[0], text=text)]
        if index not in known.seen:
            known.seen.add(index)
            text = "\n\n" + text
        return [Grown(key=known.keys[0], text=text)]

    def _summary_done(self, wire: Wire) -> list[Event]:
        known = self._item_of(wire, "reasoning")
        return self._thought_whole(known, "summary", wire.get("summary_index", 0), text_of(wire, "text"))

    def _reasoning_done(self, wire: Wire) -> list[Event]:
        known = self._item_of(wire, "reasoning")
        return self._thought_whole(known, "content", wire.get("content_index", 0), text_of(wire, "text"))

    def _summary_part_done(self, wire: Wire) -> list[Event]:
        known = self._item_of(wire, "reasoning")
        return self._thought_whole(known, "summary", wire.get("summary_index", 0), text_of(wire["part"], "text"))

    def _thought_whole(self, known: _Item, source: str, index: int, text: str) -> list[Event]:
        """Take a whole paragraph of reasoning, unless it came in pieces."""
        return [] if index in known.seen else self._think(known, source, index, text)

    def _complete_reasoning(self, known: _Item, item: Wire) -> list[Event]:
        events: list[Event] = []
        for source in ("summary", "content"):
            parts = item.get(source)
            for index, part in enumerate(parts if isinstance(parts, list) else ()):
                events += self._thought_whole(known, source, index, text_of(part, "text"))
        state = read_state(item)
        if state is None:
            return events
        if 0 not in known.keys:
            return [*events, *self._open(known, 0, Thinking(state=state))]
        return [*events, Signed(key=known.keys[0], state=state)]

    # Calls.

    def _open_call(self, known: _Item, item: Wire) -> list[Event]:
        """Open a call. Arguments that come with it at once come again when they are done."""
        self._has_calls = True
        is_custom = known.kind == "custom_tool_call"
        return self._open(known, 0, ToolCall(id=call_id(item), name=text_of(item, "name"), is_custom=is_custom))

    def _arguments_delta(self, wire: Wire) -> list[Event]:
        known = self._placed.get(wire.get("output_index", 0))
        delta = _delta(wire)
        if known is None or 0 not in known.keys or known.is_closed or not delta:
            return []
        known.seen.add(0)
        return [Grown(key=known.keys[0], text=delta)]

    def _arguments_done(self, wire: Wire) -> list[Event]:
        known = self._placed.get(wire.get("output_index", 0))
        return [] if known is None else self._arguments_whole(known, wire)

    def _arguments_whole(self, known: _Item, wire: Wire) -> list[Event]:
        """Take whole arguments, unless they came in pieces."""
        arguments = text_of(wire, ARGUMENTS.get(known.kind, ""))
        if not arguments or known.seen or 0 not in known.keys or known.is_closed:
            return []
        known.seen.add(0)
        return [Grown(key=known.keys[0], text=arguments)]

    def _complete_call(self, known: _Item, item: Wire) -> list[Event]:
        events = [] if 0 in known.keys else self._open_call(known, item)
        return [*events, *self._arguments_whole(known, item)]

    def _item_of(self, wire: Wire, kind: str) -> _Item:
        """Give the item that an event belongs to; an upstream may have left out that it was added."""
        known = self._placed.get(wire.get("output_index", 0))
        return known or self._add(wire.get("output_index", 0), {"type": kind, "id": wire.get("item_id")})


def _identity(item: Wire) -> tuple[str, str]:
    """Tell what an item is known by, as OpenAI's SDK does: a call by the id that its result refers to."""
    kind, id = text_of(item, "type"), text_of(item, "id")
    return kind, text_of(item, "call_id") or id if kind in ARGUMENTS else id


def _delta(wire: Wire) -> str:
    """Give the piece of text of an event. Raises TypeError for what is none."""
    delta = wire["delta"]
    if isinstance(delta, str):
        return delta
    raise TypeError("a delta that is no text")


def _with_status(wire: Wire, response: Wire) -> Wire:
    """The event's name says what the status of a response is, should the response not say it."""
    return {**response, "status": "incomplete"} if wire.get("type") == "response.incomplete" else response


_Handler = Callable[[ResponsesReader, Wire], list[Event]]

_HANDLERS: dict[str | None, _Handler] = {
    "response.created": ResponsesReader._begin,
    "response.in_progress": ResponsesReader._begin,
    "response.completed": ResponsesReader._finish,
    "response.incomplete": ResponsesReader._finish,
    "response.failed": ResponsesReader._failed,
    "response.cancelled": ResponsesReader._failed,
    "error": ResponsesReader._error,
    "response.output_item.added": ResponsesReader._added,
    "response.output_item.done": ResponsesReader._done,
    "response.content_part.done": ResponsesReader._part_done,
    "response.output_text.delta": ResponsesReader._text_delta,
    "response.output_text.done": ResponsesReader._text_done,
    "response.output_text.annotation.added": ResponsesReader._annotation,
    "response.refusal.delta": ResponsesReader._refusal_delta,
    "response.refusal.done": ResponsesReader._refusal_done,
    "response.reasoning_summary_text.delta": ResponsesReader._summary_delta,
    "response.reasoning_summary_text.done": ResponsesReader._summary_done,
    "response.reasoning_summary_part.done": ResponsesReader._summary_part_done,
    "response.reasoning_text.delta": ResponsesReader._reasoning_delta,
    "response.reasoning_text.done": ResponsesReader._reasoning_done,
    "response.function_call_arguments.delta": ResponsesReader._arguments_delta,
    "response.function_call_arguments.done": ResponsesReader._arguments_done,
    "response.custom_tool_call_input.delta": ResponsesReader._arguments_delta,
    "response.custom_tool_call_input.done": ResponsesReader._arguments_done,
}
"""What reads an event, by its type."""

_COMPLETERS: dict[str, Callable[[ResponsesReader, _Item, Wire], list[Event]]] = {
    "message": ResponsesReader._complete_message,
    "reasoning": ResponsesReader._complete_reasoning,
    "function_call": ResponsesReader._complete_call,
    "custom_tool_call": ResponsesReader._complete_call,
}
"""What reads an item that is done, by its type."""
