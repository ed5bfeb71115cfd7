"""Stop sequences for models that take none: the text ends before the first that comes, here instead of there.

What the model says behind it is read to its end, for the count of tokens, and goes nowhere. As much text is held back
as could be the beginning of a sequence, and no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from ai_gateway.protocols.conversation import Answer, Part, Stop, Text, ToolCall
from ai_gateway.protocols.events import Closed, Event, Failed, Finished, Grown, Opened, Started


def stopped(answer: Answer, sequences: Sequence[str]) -> Answer:
    """Give the answer up to the first stop sequence in its text."""
    pattern = pattern_of(sequences)
    parts: list[Part] = []
    for part in answer.parts:
        found = pattern.search(part.text) if isinstance(part, Text) else None
        if isinstance(part, Text) and found is not None:
            if part.text[: found.start()]:
                parts.append(msgspec.structs.replace(part, text=part.text[: found.start()]))
            stop = Stop.STOP_SEQUENCE.given(any(isinstance(each, ToolCall) for each in parts))
            sequence = found[0] if stop is Stop.STOP_SEQUENCE else None
            return msgspec.structs.replace(answer, parts=parts, stop=stop, stop_sequence=sequence)
        parts.append(part)
    return answer


def pattern_of(sequences: Sequence[str]) -> re.Pattern[str]:
    """Make what finds the first of the sequences; of two that begin at one place, the shorter is complete first."""
    return re.compile("|".join(map(re.escape, sorted(sequences, key=len))))


class Stopping:
    """Does the same to the events of one stream."""

    def __init__(self, sequences: Sequence[str]) -> None:
        self._sequences = sequences
        self._pattern = pattern_of(sequences)
        self._held: dict[int, str] = {}
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
            held = self._held.pop(event.key, "")
            return (Grown(key=event.key, text=held), event) if held else (event,)
        return (event,)

    def _opened(self, event: Opened) -> Iterable[Event]:
        self._open[event.key] = None
        part = event.part
        if not isinstance(part, Text):
            self._is_calling |= isinstance(part, ToolCall)
            return (event,)
        self._held[event.key] = ""
        empty = msgspec.structs.replace(event, part=msgspec.structs.replace(part, text=""))
        return [empty, *self._grown(Grown(key=event.key, text=part.text))] if part.text else (event,)

    def _grown(self, event: Grown) -> Iterable[Event]:
        text = self._held[event.key] + event.text
        found = self._pattern.search(text)
        if found is not None:
            self._found = found[0]
            ends = [Closed(key=key) for key in self._open]
            shown = text[: found.start()]
            return [msgspec.structs.replace(event, text=shown), *ends] if shown else ends
        held = self._beginning(text)
        self._held[event.key] = text[len(text) - held :]
        shown = text[: len(text) - held]
        return (msgspec.structs.replace(event, text=shown),) if shown else ()

    def _beginning(self, text: str) -> int:
        """Count the characters at the end of a text that may be the beginning of a sequence."""
        longest = max(map(len, self._sequences)) - 1
        return next(
            (
                length
                for length in range(min(longest, len(text)), 0, -1)
                if any(sequence.startswith(text[-length:]) for sequence in self._sequences)
            ),
            0,
        )

    def _end(self, event: Event, sequence: str) -> Iterable[Event]:
        """The caller's answer is over; what is still to come is how many tokens it had."""
        if not isinstance(event, Finished | Failed):
            return (event,) if isinstance(event, Started) else ()
        stop = Stop.STOP_SEQUENCE.given(self._is_calling)
        end = Finished(stop=stop, stop_sequence=sequence if stop is Stop.STOP_SEQUENCE else None)
        if isinstance(event, Finished):
            end = msgspec.structs.replace(end, usage=event.usage, service_tier=event.service_tier)
        return (end,)
