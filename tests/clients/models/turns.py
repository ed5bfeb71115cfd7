"""What a scripted model sees and says, whatever its format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]


class BadRequest(Exception):
    """A request that the provider would refuse."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """A call of one of the client's tools. `id` is there in what was seen, and not in what a script says."""

    name: str
    arguments: Any
    id: str = ""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a tool gave back, to the call of this id."""

    id: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Turn:
    """What the model says: reasoning, then text, then calls."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    thinking: str = ""


@dataclass(kw_only=True)
class Seen:
    """A request as the model sees it."""

    body: Json
    model: str
    streams: bool
    instructions: str = ""
    tools: dict[str, Json] = field(default_factory=dict)
    """The schemas of the tools' arguments, by name; {} for tools that take free text."""
    prompts: list[str] = field(default_factory=list)
    """What the user said."""
    calls: list[Call] = field(default_factory=list)
    """What the model called so far, as the client tells it."""
    results: list[Result] = field(default_factory=list)
    reasoning: list[str] = field(default_factory=list)
    """The states of earlier reasoning that came back, in order."""

    @property
    def pairs(self) -> dict[str, tuple[Call, str]]:
        """Each answered call with its result, by its id."""
        texts = {result.id: result.text for result in self.results}
        return {call.id: (call, texts[call.id]) for call in self.calls if call.id in texts}

    def check(self) -> None:
        """Refuse what every provider refuses: calls without a result, and results of calls that nobody made."""
        ids = [call.id for call in self.calls]
        answered = [result.id for result in self.results]
        if len(set(ids)) < len(ids):
            raise BadRequest(f"two calls have the same id: {ids}")
        if sorted(ids) != sorted(answered):
            raise BadRequest(f"calls {ids} have results {answered}")
        unknown = {call.name for call in self.calls} - set(self.tools)
        if self.tools and unknown:
            raise BadRequest(f"calls of tools that are not offered: {unknown}")


Brain = Callable[[Seen], Turn]


def pieces(text: str, size: int = 7) -> list[str]:
    """Cut a text as a model's stream does: anywhere."""
    return [text[start : start + size] for start in range(0, len(text), size)]


def arguments_text(call: Call) -> str:
    """Write a call's arguments as JSON; free text stays as it is."""
    return call.arguments if isinstance(call.arguments, str) else json.dumps(call.arguments)


def refuse_unknown(body: Mapping[str, Any], known: frozenset[str]) -> None:
    """Refuse members that the provider does not know."""
    if unknown := set(body) - known:
        raise BadRequest(f"unknown members: {sorted(unknown)}")


def text_of(content: Any, *types: str) -> str:
    """Join the text of content that is a string or a list of parts."""
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content or () if part.get("type") in types)
