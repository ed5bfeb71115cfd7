"""What a provider's answer says was used, read out of the bytes that pass, which are neither delayed nor changed.

A whole answer is read once, when it is there. Of a stream only the events that tell of usage are kept, and they are
parsed at its end. A stream that ends early, or a provider that does not say, is counted by what passed: such a count is
marked as estimated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from ai_gateway.protocols.conversation import TokenUsage, total

NOTHING = TokenUsage()


class Consumption(msgspec.Struct, frozen=True, kw_only=True):
    """What one answer used.

    `units` is what is not counted in tokens, by name: `images`, `audio_seconds`, `characters`, `searches`,
    `file_searches`, `pages`. `model` and `upstream_id` are what the provider calls the model that served, and the
    answer. The tier is in OpenAI's words: "default", "flex", "priority", "batch".
    """

    tokens: TokenUsage = NOTHING
    units: Mapping[str, float] = {}
    model: str = ""
    upstream_id: str = ""
    service_tier: str = ""


UNUSED = Consumption()
"""What a call used that costs nothing wherever it goes."""


def together(parts: Sequence[Consumption]) -> Consumption:
    """Add up what several answers used that are one to their caller. The names are those of the last."""
    units: Counter[str] = Counter()
    for part in parts:
        units.update(part.units)
    last = parts[-1] if parts else UNUSED
    return msgspec.structs.replace(last, tokens=total(part.tokens for part in parts), units=units)


class Listener(ABC):
    """Hears an answer that passes, and tells at its end, or whenever it ends, what it used."""

    __slots__ = ()

    has_content: bool
    """Whether something has passed that a caller would call an answer: text, reasoning or a call, and not the mere
    beginning of a message."""

    @abstractmethod
    def hear(self, data: bytes) -> bytes:
        """Take the next bytes of the answer (of a stream: whole events); give those that the caller is to get."""

    def tokens_so_far(self) -> int:
        """Tell about how many tokens of an answer have passed that still comes; 0 if nobody knows. Disturbs nothing."""
        return 0

    @abstractmethod
    def consumption(self) -> Consumption | None:
        """Tell what the answer used so far, estimated if it did not say. None if nobody knows."""
