"""What does a call ask for? The facts that routes look at: its media, its tools, the form of its answer, its length,
and what its caller may still spend.

Most calls are never looked at. One that is has its body decoded once, and walked over in the caller's own format: no
list is looked at but those of turns, their parts, and what the results of tools consist of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ai_gateway import balances
from ai_gateway.calls import Call, Caller
from ai_gateway.estimates import likely_input_tokens
from ai_gateway.protocols.jsontext import loads
from ai_gateway.texts import TURNS


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a body has in it, or wants."""

    images: bool = False
    files: bool = False
    audio: bool = False
    tools: bool = False
    json_schema: bool = False


NOTHING = Asked()

MEDIA = {
    "image_url": "images",
    "input_image": "images",
    "image": "images",
    "file": "files",
    "input_file": "files",
    "document": "files",
    "input_audio": "audio",
    "audio": "audio",
}
"""The types of parts, and Converse's members of parts, with the fact that each stands for."""

INLINE = ("inlineData", "inline_data", "fileData", "file_data")
"""Where Google's parts have their media."""

OWN = ("image", "document", "audio")
"""Members of Converse's parts that are media."""

_MEDIA_MEMBERS = frozenset((*INLINE, *OWN))

NESTED = ("content", "parts", "output", "toolResult", "functionResponse")
"""Where more parts stand in a turn or a part: what the result of a tool consists of."""


CONTAINERS = frozenset((list, dict))
"""What parts may stand in, as JSON is decoded."""


class Facts:
    """What routes may ask of one call. The body is decoded when it is first asked about, if ever."""

    __slots__ = ("_asked", "_input_tokens", "call", "caller")

    def __init__(self, call: Call, caller: Caller) -> None:
        self.call = call
        self.caller = caller
        self._asked: Asked | None = None
        self._input_tokens: int | None = None

    @property
    def asked(self) -> Asked:
        """What its body asks for."""
        if self._asked is None:
            self._asked = read_asked(self.call.body)
        return self._asked

    @property
    def budget_left(self) -> float:
        """How many percent are left of its caller's budgets, as far as this process has heard."""
        return balances.left(self.caller)

    @property
    def input_tokens(self) -> int:
        """About how long its input is."""
        if self._input_tokens is None:
            self._input_tokens = likely_input_tokens(self.call.body)
        return self._input_tokens


def read_asked(body: object) -> Asked:
    """Read what a body asks for, in whatever format. An upload, and what is no JSON object, asks for nothing."""
    try:
        value = loads(body) if isinstance(body, bytes) and body else None
    except (ValueError, RecursionError):
        return NOTHING  # Whoever reads it in earnest says what is wrong with it.
    if not isinstance(value, dict):
        return NOTHING
    media = {_medium(part) for part in _parts(value)}
    return Asked(
        images="images" in media,
        files="files" in media,
        audio="audio" in media,
        tools=_wants_tools(value),
        json_schema=_wants_schema(value),
    )


def _parts(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Give every turn and every part of the turns, those in the results of tools included."""
    waiting = [body.get(name) for name in TURNS]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, dict):
            yield value
            for name in NESTED:
                inner = value.get(name)
                if type(inner) in CONTAINERS:
                    waiting.append(inner)


def _medium(part: Mapping[str, Any]) -> str | None:
    """Tell which medium a part is of; None for text, calls and turns."""
    kind = part.get("type")
    if isinstance(kind, str) and kind in MEDIA:
        return MEDIA[kind]
    if _MEDIA_MEMBERS.isdisjoint(part):
        return None  # As most are: text, and calls.
    inline = next((part[name] for name in INLINE if isinstance(part.get(name), dict)), None)
    if inline is not None:
        written = str(inline.get("mimeType") or inline.get("mime_type") or "").partition("/")[0]
        return {"image": "images", "audio": "audio"}.get(written, "files")
    if kind is None:
        return next((MEDIA[name] for name in OWN if isinstance(part.get(name), dict)), None)
    return None


def _wants_tools(body: Mapping[str, Any]) -> bool:
    return bool(body.get("tools") or body.get("functions") or _member(body, "toolConfig", "tools"))


def _wants_schema(body: Mapping[str, Any]) -> bool:
    """Whether the answer is to keep to a JSON Schema, by the member that each format has for it."""
    forms = (
        _member(body, "response_format", "type"),
        _member(body, "text", "format", "type"),
        _member(body, "output_config", "format", "type"),
        _member(body, "output_format", "type"),
        _member(body, "outputConfig", "textFormat", "type"),
    )
    config = body.get("generationConfig") or body.get("generation_config")
    names = ("responseSchema", "responseJsonSchema", "response_schema", "response_json_schema")
    return "json_schema" in forms or any(_member({"": config}, "", name) for name in names)


def _member(value: Any, *path: str) -> Any:
    """Give a member of a member; None where there is none."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value
