"""What can be learnt of an answer that passes unchanged: what it used, and how much text it brought.

A `Passing` reads one answer, from whole bodies or from some of a stream's events, each of which says what it says at
most once. It decodes only the members that matter, by type: what else an event holds is checked for its syntax and
skipped. Nothing here fails: what cannot be read was not said.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

import msgspec

from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.jsontext import loads

T = TypeVar("T")

UNBELIEVABLE = 10**9
"""So many tokens, or seconds of sound, no answer uses: a provider that counts them is broken."""


class Passing(ABC):
    """What one answer has told so far.

    `usage` is what the provider reported last; `is_final` says that it is its last word, and not what a stream had used
    when it was cut. `prompt` is what was told of the prompt before the answer began. `units` is what is not counted in
    tokens, as in `Consumption`. `text` and `reasoning` are the bytes of text that came, in UTF-8, and `pieces` the
    number of deltas that they came in. `is_under_way` says that what passed is no answer: whoever asks later gets it.
    """

    __slots__ = (
        *("id", "model", "tier", "usage", "prompt", "is_final", "is_under_way"),
        *("units", "text", "reasoning", "pieces"),
    )

    marker: ClassVar[bytes]
    """A byte string that is in every event which reports usage, and hardly in any other."""

    apart: ClassVar[bytes] = b""
    """A byte string that is in every event which tells what is charged apart, where that is not told with the usage."""

    listed: ClassVar[bytes] = b""
    """A byte string that a whole answer has wherever it lists what is charged apart, if it does (`listings.py`)."""

    can_be_estimated: ClassVar[bool] = True
    """Whether prompt and text tell what was used where the answer does not."""

    def __init__(self) -> None:
        self.id = ""
        self.model = ""
        self.tier = ""
        self.usage: TokenUsage | None = None
        self.prompt: TokenUsage | None = None
        self.is_final = False
        self.is_under_way = False
        self.units: dict[str, float] = {}
        self.text = 0
        self.reasoning = 0
        self.pieces = 0

    @abstractmethod
    def event(self, data: bytes) -> None:
        """Read the data of one event of a stream."""

    @abstractmethod
    def answer(self, body: bytes) -> None:
        """Read a whole answer. Its text is counted only if it does not report usage."""

    def name(self, id: Any, model: Any, tier: Any = None) -> None:
        """Note what the provider calls the answer, the model and the tier, where it says so."""
        if id and not self.id and isinstance(id, str):
            self.id = id
        if model and not self.model and isinstance(model, str):
            self.model = model
        if tier and isinstance(tier, str):
            self.tier = tier

    def add_text(self, text: str) -> None:
        """Count a piece of the text that the caller sees, or of the arguments of a call."""
        self.text += size(text)
        self.pieces += 1

    def add_reasoning(self, text: str) -> None:
        """Count a piece of reasoning."""
        self.reasoning += size(text)
        self.pieces += 1


def size(text: str) -> int:
    """Count the bytes of a text in UTF-8. Half of a surrogate pair, which does occur, counts like the other half."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def decoded(decoder: msgspec.json.Decoder[T], data: bytes) -> T | None:
    """Decode what is wanted of an object; None if it is no JSON, or its members are not of the types that they have."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        pass
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        if not _may_have_half_a_pair(data):
            return None
    try:
        read: T = msgspec.convert(loads(data), decoder.type)
    except (msgspec.ValidationError, ValueError, RecursionError):
        return None
    return read


def _may_have_half_a_pair(data: bytes) -> bool:
    """Whether it can be half of a surrogate pair for which JSON was refused. `loads` takes nothing else besides, and
    takes several times as long."""
    return not data.isascii() or b"\\u" in data


def count(members: object, name: str) -> int:
    """Take a number out of an object; 0 if there is none, and UNBELIEVABLE at most."""
    value = members.get(name) if isinstance(members, Mapping) else None
    if isinstance(value, int | float) and not isinstance(value, bool) and value > 0:
        return int(min(value, UNBELIEVABLE))
    return 0


def believed(usage: TokenUsage | None) -> TokenUsage | None:
    """Give what a provider reported, or None if that cannot be: it has said nothing then."""
    return None if usage is not None and usage.total >= UNBELIEVABLE else usage


def sound_of(seconds: Any) -> dict[str, float]:
    """Write so many seconds of sound as what is not counted in tokens; nothing for what is no number, or cannot be."""
    try:
        found = float(seconds)
    except (TypeError, ValueError, OverflowError):
        return {}
    return {"audio_seconds": found} if 0 <= found < UNBELIEVABLE else {}
