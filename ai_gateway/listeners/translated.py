"""Hearing an answer that is translated: what it used is told by its meaning, whatever format it came in."""

from __future__ import annotations

from collections.abc import Iterable

from ai_gateway import estimates
from ai_gateway.calls import Call
from ai_gateway.consumption import Consumption, Listener
from ai_gateway.listeners.reckoning import estimated
from ai_gateway.protocols.conversation import Answer, Refusal, Text, Thinking, TokenUsage, ToolCall
from ai_gateway.protocols.events import Event, Finished, Grown, Opened, Started
from ai_gateway.protocols.passing import believed, size
from ai_gateway.protocols.protocol import StreamReader
from ai_gateway.protocols.transcript import replay


class MeaningListener(Listener):
    """Hears one answer, by the events of its meaning. `Finished` has the provider's last word on what it used.

    `reader` is what reads a stream: of one that is cut it knows what is charged apart, which no event tells before.
    """

    __slots__ = (
        "_call",
        "_pieces",
        "_prompt",
        "_reasoning",
        "_text",
        "_thoughts",
        "_units",
        "_usage",
        "has_content",
        "id",
        "model",
        "reader",
        "tier",
    )

    def __init__(self, call: Call, model: str) -> None:
        """`model` is what the provider was asked for, in case that it does not say."""
        self._call = call
        self._prompt: TokenUsage | None = None
        self._usage: TokenUsage | None = None
        self._units: dict[str, float] | None = None
        self._text = self._reasoning = self._pieces = 0
        self._thoughts: set[int] = set()
        self.reader: StreamReader | None = None
        self.has_content = False
        self.id = ""
        self.model = model
        self.tier = ""

    def hear(self, data: bytes) -> bytes:
        """See Listener.hear(). The bytes are those of the caller's format, and say nothing new."""
        return data

    def take(self, events: Iterable[Event]) -> None:
        """Take events of the answer."""
        for event in events:
            if isinstance(event, Grown):
                self._grow(event.key, event.text)
            elif isinstance(event, Opened):
                self._open(event)
            elif isinstance(event, Started):
                self.id, self.model = event.id, event.model or self.model
                self.tier, self._prompt = event.service_tier or "", event.usage
            elif isinstance(event, Finished):
                self.tier, self._usage = event.service_tier or self.tier, event.usage
                self._units = event.units

    def take_answer(self, answer: Answer) -> None:
        """Take a whole answer."""
        self.take(replay(answer))

    def tokens_so_far(self) -> int:
        """See Listener.tokens_so_far()."""
        return estimates.text_tokens(self._text + self._reasoning, self._pieces)

    def consumption(self) -> Consumption:
        """See Listener.consumption()."""
        tokens = believed(self._usage) or estimated(
            believed(self._prompt), self._call, self._text, self._reasoning, self._pieces
        )
        return Consumption(
            tokens=tokens, units=self._charged_apart(), model=self.model, upstream_id=self.id, service_tier=self.tier
        )

    def _charged_apart(self) -> dict[str, float]:
        if self._units is None and self.reader is not None:
            return self.reader.units
        return self._units or {}

    def _open(self, event: Opened) -> None:
        part = event.part
        if isinstance(part, Thinking):
            self._thoughts.add(event.key)
        if isinstance(part, ToolCall):
            self._grow(event.key, part.name + part.arguments)
        elif isinstance(part, Text | Refusal | Thinking) and part.text:
            self._grow(event.key, part.text)

    def _grow(self, key: int, text: str) -> None:
        self.has_content = True
        self._pieces += 1
        if key in self._thoughts:
            self._reasoning += size(text)
        else:
            self._text += size(text)
