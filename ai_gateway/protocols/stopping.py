"""Stop sequences for models that take none: the text ends before the first that comes, here instead of there.

What the model says behind it is read to its end, for the count of tokens, and goes nowhere. As much text is held back
as could be the beginning of a sequence, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from ai_gateway.protocols.conversation import Answer, Citation, Part, Stop, Text, ToolCall
from ai_gateway.protocols.events import Closed, Event, Failed, Finished, Grown, Opened, Started


def stopped(answer: Answer, sequences: Sequence[str]) -> Answer:
    """Give the answer up to the first stop sequence in its text."""
    pattern = pattern_of(sequences)
    parts: list[Part] = []
    for part in answer.parts:
        found = pattern.search(part.text) if isinstance(part, Text) else None
        if isinstance(part, Text) and found is not None:
            parts += [_begun(part, found.start())] if found.start() else []
            stop = Stop.STOP_SEQUENCE.given(any(isinstance(each, ToolCall) for each in parts))
            sequence = found[0] if stop is Stop.STOP_SEQUENCE else None
            return msgspec.structs.replace(answer, parts=parts, stop=stop, stop_sequence=sequence)
        parts.append(part)
    return answer


def _begun(part: Text, length: int) -> Text:
    """Give the beginning of a text, with what is told of no more than that."""
    told, _ = _of_beginning(part.logprobs or [], length)
    return msgspec.structs.replace(
        part,
        text=part.text[:length],
        logprobs=told or None,
        citations=[_shortened(each, length) for each in part.citations if (each.start or 0) < length],
    )


def _shortened(citation: Citation, length: int) -> Citation:
    is_inside = citation.end is None or citation.end <= length
    return citation if is_inside else msgspec.structs.replace(citation, end=length)


def _of_beginning(logprobs: list[dict[str, Any]], length: int) -> tuple[list[dict[str, Any]], int]:
    """Give the tokens that lie within the first characters of their text, and how many characters those are."""
    end = 0
    for place, entry in enumerate(logprobs):
        token = entry.get("token")
        behind = end + (len(token) if isinstance(token, str) else 0)
        if behind > length:
            return logprobs[:place], end
        end = behind
    return logprobs, end


def pattern_of(sequences: Sequence[str]) -> re.Pattern[str]:
    """Make what finds the first of the sequences; of two that begin at one place, the shorter is complete first."""
    return re.compile("|".join(map(re.escape, sorted(sequences, key=len))))


class _Held:
    """What of a text is held back, and of the probabilities of its tokens. A token is told when all of it is shown;
    `ahead` is how many characters of the first one have been shown already."""

    __slots__ = ("ahead", "logprobs", "text")

    def __init__(self) -> None:
        self.text = ""
        self.logprobs: list[dict[str, Any]] = []
        self.ahead = 0

    def add(self, event: Grown) -> None:
        """Hold back more."""
        self.text += event.text
        if event.logprobs:
            self.logprobs = [*self.logprobs, *event.logprobs]

    def taken(self, key: int, length: int) -> Grown:
        """Take out the first characters, of which there is at least one."""
        shown, self.text = self.text[:length], self.text[length:]
        if not self.logprobs:
            return Grown(key=key, text=shown)
        told, end = _of_beginning(self.logprobs, length + self.ahead)
        self.logprobs = self.logprobs[len(told) :]
        self.ahead = length + self.ahead - end if self.logprobs else 0
        return Grown(key=key, text=shown, logprobs=told or None)


class Stopping:
    """Does the same to the events of one stream."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self._pattern = pattern_of(sequences)
        self._beginnings = {sequence[:length] for sequence in sequences for length in range(1, len(sequence))}
        self._longest = max(map(len, sequences)) - 1
        self._held: dict[int, _Held] = {}
        self._open: dict[int, None] = {}
        self._found: str | None = None
        self._is_calling = False

    def feed(self, event: Event) -> Iterable[Event]:
        """Take an event; give what the caller gets of it."""
        if self._found is not None:
            return self._end(event, self._found)
        if isinstance(event, Opened):
            return self._opened(event)
        if isinstance(event, Grown) and event.key in self._held:
            return self._grown(event)
        if isinstance(event, Closed):
            self._open.pop(event.key, None)
            held = self._held.pop(event.key, None)
            if held is None or not held.text:
                return (event,)
            return (Grown(key=event.key, text=held.text, logprobs=held.logprobs or None), event)
        return (event,)

    def _opened(self, event: Opened) -> Iterable[Event]:
        self._open[event.key] = None
        part = event.part
        if not isinstance(part, Text):
            self._is_calling |= isinstance(part, ToolCall)
            return (event,)
        self._held[event.key] = _Held()
        if not part.text:
            return (event,)
        empty = msgspec.structs.replace(event, part=msgspec.structs.replace(part, text="", logprobs=None))
        return [empty, *self._grown(Grown(key=event.key, text=part.text, logprobs=part.logprobs))]

    def _grown(self, event: Grown) -> Iterable[Event]:
        held = self._held[event.key]
        held.add(event)
        text = held.text
        found = self._pattern.search(text)
        length = len(text) - self._beginning(text) if found is None else found.start()
        shown = (held.taken(event.key, length),) if length else ()
        if found is None:
            return shown
        self._found = found[0]
        return [*shown, *(Closed(key=key) for key in self._open)]

    def _beginning(self, text: str) -> int:
        """Count the characters at the end of a text that may be the beginning of a sequence."""
        lengths = range(min(self._longest, len(text)), 0, -1)
        return next((length for length in lengths if text[-length:] in self._beginnings), 0)

    def _end(self, event: Event, sequence: str) -> Iterable[Event]:
        """The caller's answer is over; what is still to come is how many tokens it had."""
        if not isinstance(event, Finished | Failed):
            return (event,) if isinstance(event, Started) else ()
        stop = Stop.STOP_SEQUENCE.given(self._is_calling)
        end = event if isinstance(event, Finished) else Finished(stop=stop)
        told = sequence if stop is Stop.STOP_SEQUENCE else None
        return (msgspec.structs.replace(end, stop=stop, stop_sequence=told, explanation=None),)
