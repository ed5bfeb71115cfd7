"""Items of a response while they are being streamed: what is known of each, and the events that are its own.

Every item has a `head` and a `middle`: the bytes of its deltas before and behind their number, made once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Citation, Refusal, State, Text, Thinking, ToolCall
from ai_gateway.protocols.jsontext import dumps
from ai_gateway.protocols.openai_responses import states
from ai_gateway.protocols.openai_responses.citations import write_citation
from ai_gateway.protocols.openai_responses.item_writer import (
    CallItems,
    Item,
    message_item,
    reasoning_item,
    refusal_part,
    text_part,
)

Events = list[tuple[str, dict[str, Any]]]

CONTENT: dict[str, Any] = {"content_index": 0}
SUMMARY: dict[str, Any] = {"summary_index": 0}


class OpenItem(ABC):
    """Base of the items. `pieces` is the text so far, or the arguments of a call. An item without a `delta_event` grows
    in silence."""

    kind = ""
    delta_event = ""
    position: ClassVar[dict[str, Any]] = {}
    takes_logprobs = False

    def __init__(self, text: str, state: State | None = None) -> None:
        self.index = -1
        self.id = ""
        self.pieces = [text] if text else []
        self.state = state
        self.head = b""
        self.middle = b""
        self._first = text

    @property
    def is_begun(self) -> bool:
        """Whether the caller knows of it."""
        return self.index >= 0

    @property
    def text(self) -> str:
        """All of its text."""
        return "".join(self.pieces)

    def place(self, index: int, id: str) -> None:
        """Give it its place in the output."""
        self.index, self.id = index, id
        name = self.delta_event
        if not name:
            return
        self.head = f'event: {name}\ndata: {{"type":"{name}","sequence_number":'.encode()
        self.middle = b"," + dumps(self.where())[1:-1] + b',"delta":'

    def where(self) -> dict[str, Any]:
        """Say where it is, as all of its events do."""
        return {"item_id": self.id, "output_index": self.index, **self.position}

    def with_logprobs(self, logprobs: list[dict[str, Any]] | None) -> bytes:
        """Write the probabilities that go with a delta."""
        return b""

    def delta(self, text: str) -> Events:
        """Write a delta that is not grown but was there at the beginning."""
        return [(self.delta_event, {**self.where(), "delta": text})] if text and self.delta_event else []

    def beginning(self) -> Events:
        """Write what follows when the item has been added."""
        return self.delta(self._first)

    def end_of_block(self) -> Events:
        """Write what is due when a part of the neutral vocabulary is whole."""
        return []

    @abstractmethod
    def ending(self) -> Events:
        """Write what is due before the item is done."""

    @abstractmethod
    def item(self, status: str) -> Item:
        """Write the item as it is now."""

    def carried_behind(self) -> State | None:
        """Give a state that needs a reasoning item of its own behind this one."""
        return None


class OpenText(OpenItem):
    """A message with one text, which may be several neutral texts in a row."""

    kind = "message"
    delta_event = "response.output_text.delta"
    position: ClassVar[dict[str, Any]] = CONTENT
    takes_logprobs = True

    def __init__(self, part: Text) -> None:
        super().__init__(part.text, part.state)
        self.phase = part.phase
        self.citations: list[Citation] = list(part.citations)
        self.annotations: list[dict[str, Any]] = []
        self.logprobs: list[dict[str, Any]] = list(part.logprobs or ())
        self._block = 0
        self._measured = 0
        self._length = 0

    def _end(self) -> int:
        """Tell how long the text is, counting only the pieces that are new since it was asked for the last time."""
        self._length += sum(map(len, self.pieces[self._measured :]))
        self._measured = len(self.pieces)
        return self._length

    def with_logprobs(self, logprobs: list[dict[str, Any]] | None) -> bytes:
        """Keep the probabilities, and write them; the list is there even if it is empty."""
        if not logprobs:
            return b',"logprobs":[]'
        self.logprobs += logprobs
        return b',"logprobs":' + dumps(logprobs)

    def delta(self, text: str) -> Events:
        """Write a delta with the probabilities that were there at the beginning."""
        return [(self.delta_event, {**self.where(), "delta": text, "logprobs": self.logprobs})] if text else []

    def beginning(self) -> Events:
        """Add the part of the message, and what is known of it."""
        return [("response.content_part.added", {**self.where(), "part": text_part("", [], [])}), *super().beginning()]

    def next_block(self, part: Text) -> Events:
        """Go on with another neutral text, whose citations count from its own beginning."""
        self._block = self._end()
        self.citations = list(part.citations)
        self.state = part.state or self.state
        if not part.text:
            return []
        self.pieces.append(part.text)
        logprobs = part.logprobs or []
        self.logprobs += logprobs
        return [(self.delta_event, {**self.where(), "delta": part.text, "logprobs": logprobs})]

    def end_of_block(self) -> Events:
        """Write the citations of a neutral text: only now it is known which text those cover that do not say so."""
        if not self.citations:
            return []
        end = self._end()
        events: Events = []
        for citation in self.citations:
            annotation = write_citation(citation, self._block, end)
            if annotation is not None:
                place = {**self.where(), "annotation_index": len(self.annotations)}
                events.append(("response.output_text.annotation.added", {**place, "annotation": annotation}))
                self.annotations.append(annotation)
        self.citations = []
        return events

    def _part(self) -> dict[str, Any]:
        return text_part(self.text, self.annotations, self.logprobs)

    def ending(self) -> Events:
        """Repeat the whole text."""
        where = self.where()
        return [
            ("response.output_text.done", {**where, "text": self.text, "logprobs": self.logprobs}),
            ("response.content_part.done", {**where, "part": self._part()}),
        ]

    def item(self, status: str) -> Item:
        """Write the message; while it is in progress, it has no content yet."""
        return message_item(self.id, [] if status == "in_progress" else [self._part()], status, self.phase)

    def carried_behind(self) -> State | None:
        """Give the state of the text."""
        return None if self.state is None else states.of_text(self.state)


class OpenRefusal(OpenItem):
    """A message that is a refusal."""

    kind = "message"
    delta_event = "response.refusal.delta"
    position: ClassVar[dict[str, Any]] = CONTENT

    def __init__(self, part: Refusal) -> None:
        super().__init__(part.text)

    def beginning(self) -> Events:
        """Add the part of the message, and what is known of it."""
        return [("response.content_part.added", {**self.where(), "part": refusal_part("")}), *super().beginning()]

    def ending(self) -> Events:
        """Repeat the whole refusal."""
        where = self.where()
        return [
            ("response.refusal.done", {**where, "refusal": self.text}),
            ("response.content_part.done", {**where, "part": refusal_part(self.text)}),
        ]

    def item(self, status: str) -> Item:
        """Write the message; while it is in progress, it has no content yet."""
        return message_item(self.id, [] if status == "in_progress" else [refusal_part(self.text)], status, None)


class OpenReasoning(OpenItem):
    """Reasoning. It is added when there is something to show of it, or a state to carry."""

    kind = "reasoning"
    delta_event = "response.reasoning_summary_text.delta"
    position: ClassVar[dict[str, Any]] = SUMMARY

    def __init__(self, part: Thinking, carrier: Carrier) -> None:
        super().__init__(part.text, part.state)
        self._carrier = carrier

    def beginning(self) -> Events:
        """Add the part of the summary, and what is known of it."""
        added = {**self.where(), "part": {"type": "summary_text", "text": ""}}
        return [("response.reasoning_summary_part.added", added), *super().beginning()]

    def ending(self) -> Events:
        """Repeat the whole summary, if there is one."""
        if not self.pieces:
            return []
        where, text = self.where(), self.text
        return [
            ("response.reasoning_summary_text.done", {**where, "text": text}),
            ("response.reasoning_summary_part.done", {**where, "part": {"type": "summary_text", "text": text}}),
        ]

    def item(self, status: str) -> Item:
        """Write the item, with its sealed state when it is done."""
        if status == "in_progress":
            return reasoning_item(self.id, "", None)
        return reasoning_item(self.id, self.text, self._carrier.seal(self.state or states.of_words()))


class OpenCall(OpenItem):
    """A call of a tool."""

    EVENTS: ClassVar[dict[str, tuple[str, str]]] = {
        "function_call": ("response.function_call_arguments", "arguments"),
        "custom_tool_call": ("response.custom_tool_call_input", "input"),
    }
    """What the events of its arguments are called, and the arguments in them. A call of another kind has none: it comes
    with its arguments when it is done."""

    def __init__(self, part: ToolCall, calls: CallItems) -> None:
        super().__init__(part.arguments, part.state)
        self.kind = calls.kind(part.name, part.is_custom)
        self._part = part
        self._calls = calls
        self._stem, self._member = self.EVENTS.get(self.kind, ("", ""))
        self.delta_event = f"{self._stem}.delta" if self._stem else ""

    @property
    def arguments(self) -> str:
        """The whole arguments; those of a function are an object even if nothing came."""
        return self.text or ("" if self._part.is_custom else "{}")

    def ending(self) -> Events:
        """Repeat the whole arguments."""
        if not self._stem:
            return []
        return [(f"{self._stem}.done", {**self.where(), self._member: self.arguments})]

    def item(self, status: str) -> Item:
        """Write the item; while it is in progress, it has no arguments yet."""
        arguments = "" if status == "in_progress" else self.arguments
        return self._calls.item(self.kind, self.id, self._part.id, self._part.name, arguments, status)

    def carried_behind(self) -> State | None:
        """Give a state that came after the call had begun; one that was there then stands before it."""
        if self.state is None or self.state is self._part.state:
            return None
        return states.of_call(self.state, self._part.id)
