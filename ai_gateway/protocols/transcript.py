"""A whole answer made of a stream's events, and the events of a whole answer.

Needed where the two sides differ: an upstream that answers JSON though a stream was asked for, or the other way round;
and for tests, which hold a stream against the plain answer that says the same.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ai_gateway.errors import UpstreamClosed
from ai_gateway.protocols.conversation import Answer, Part, Refusal, Text, Thinking, ToolCall
from ai_gateway.protocols.events import Cited, Closed, Event, Failed, Finished, Grown, Opened, Signed, Started


class Collector:
    """Makes one answer of the events of one stream. Text is kept in pieces until the end, so that time is linear."""

    def __init__(self) -> None:
        self._started: Started | None = None
        self._finished: Finished | None = None
        self._parts: dict[int, Part] = {}
        self._pieces: dict[int, list[str]] = {}
        self._logprobs: dict[int, list[dict[str, object]]] = {}

    def add(self, events: Iterable[Event]) -> None:
        """Take events. Raises the error of a stream that failed."""
        for event in events:
            if isinstance(event, Failed):
                raise event.error
            if isinstance(event, Started):
                self._started = event
            elif isinstance(event, Opened):
                self._parts[event.key] = event.part
            elif isinstance(event, Grown):
                self._pieces.setdefault(event.key, []).append(event.text)
                self._logprobs.setdefault(event.key, []).extend(event.logprobs or ())
            elif isinstance(event, Signed):
                self._parts[event.key] = msgspec.structs.replace(self._parts[event.key], state=event.state)
            elif isinstance(event, Cited):
                self._cite(event)
            elif isinstance(event, Finished):
                self._finished = event

    def _cite(self, event: Cited) -> None:
        part = self._parts[event.key]
        if isinstance(part, Text):
            self._parts[event.key] = msgspec.structs.replace(part, citations=[*part.citations, event.citation])

    def parts(self) -> list[Part]:
        """Give the parts that have come so far."""
        return [self._whole(key, part) for key, part in self._parts.items()]

    def answer(self) -> Answer:
        """Give the answer. Raises UpstreamClosed if it is not whole."""
        if self._started is None or self._finished is None:
            raise UpstreamClosed("The provider's stream ended before the answer was complete.")
        return Answer(
            id=self._started.id,
            model=self._started.model,
            created=self._started.created,
            parts=self.parts(),
            stop=self._finished.stop,
            stop_sequence=self._finished.stop_sequence,
            explanation=self._finished.explanation,
            usage=self._finished.usage,
            units=self._finished.units,
            service_tier=self._finished.service_tier or self._started.service_tier,
        )

    def _whole(self, key: int, part: Part) -> Part:
        grown = "".join(self._pieces.get(key, ()))
        if isinstance(part, ToolCall):
            return msgspec.structs.replace(part, arguments=part.arguments + grown)
        if isinstance(part, Text):
            logprobs = [*(part.logprobs or ()), *self._logprobs.get(key, ())] or None
            return msgspec.structs.replace(part, text=part.text + grown, logprobs=logprobs)
        if isinstance(part, Thinking | Refusal):
            return msgspec.structs.replace(part, text=part.text + grown)
        return part


def replay(answer: Answer) -> list[Event]:
    """Give the events of a stream that says what an answer says."""
    events: list[Event] = [
        Started(id=answer.id, model=answer.model, created=answer.created, service_tier=answer.service_tier)
    ]
    shown = (part for part in answer.parts if isinstance(part, Text | Refusal | Thinking | ToolCall))
    for key, part in enumerate(shown):
        events += (Opened(key=key, part=part), Closed(key=key))
    events.append(
        Finished(
            stop=answer.stop,
            stop_sequence=answer.stop_sequence,
            explanation=answer.explanation,
            usage=answer.usage,
            units=answer.units,
            service_tier=answer.service_tier,
        )
    )
    return events
