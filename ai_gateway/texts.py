"""The texts in a JSON document, whatever API it belongs to, and the same document with some of them changed.

Nobody could keep a list of all members in which five APIs carry text, and what such a list forgets would be seen by no
guardrail. So it is the other way round: every string is text, but for those whose member only gives the document its
form (`type`, `role`, ids), and for media and sealed data. Of what a tool is called with, and what it says, every string
is text, whatever its member is called. Keys of objects are not.

Only the letters of a changed text are written anew. Every other byte stays as it is.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from ai_gateway.escapes import Reading

FORMAL = frozenset(
    (
        "type",
        "role",
        "id",
        "object",
        "model",
        "name",
        "status",
        "index",
        "finish_reason",
        "finishReason",
        "stop_reason",
        "call_id",
        "tool_call_id",
        "tool_use_id",
        "toolUseId",
        "item_id",
        "response_id",
        "previous_response_id",
        "file_id",
        "fileUri",
        "file_uri",
        "container_id",
        "vector_store_ids",
        "media_type",
        "mime_type",
        "mimeType",
        "format",
        "encoding_format",
        "system_fingerprint",
        "service_tier",
        "responseId",
        "modelVersion",
        "signature",
        "thoughtSignature",
        "thought_signature",
        "encrypted_content",
        "prompt_cache_key",
        "obfuscation",
    )
)
"""Members that give a document its form."""

ADDRESSES = frozenset(("url", "image_url", "file_url"))
"""Members that hold media in an address (`data:`), or where media are."""

MEDIA = frozenset(("file_data", "b64_json", "bytes"))
"""Members that hold media in base64, and nothing else."""

DATA = "data"
"""The member that holds media in base64 if what stands beside it, or the member that it is within, says so: in a
document of Anthropic's it is the text itself."""

MEDIA_PARTS = frozenset(("audio", "input_audio", "inlineData", "inline_data"))
"""Members whose `data` are media."""

MEDIA_TYPES = frozenset(("base64", "image", "audio", "redacted_thinking", "reasoning.encrypted"))
"""What the `type` beside `data` is if they are media, or sealed."""

_KINDS = frozenset(("media_type", "mime_type", "mimeType"))

TOOL_DATA = frozenset(["input", "args", "response", "arguments", "json", "input_examples"])
"""Members within which everything is what a tool is told, or says."""

PART = "text"
"""The member in which each part of a message says its text."""

CONTENTS = "contents"
"""Google's member for the turns of a conversation."""

TURNS = ("messages", CONTENTS, "input")
"""Members that hold the turns of a conversation."""

INSTRUCTIONS = frozenset(("instructions", "system", "systemInstruction", "system_instruction"))
"""Members for instructions that stand apart from the turns. Where a request is translated they come first of them."""

ROLE = "role"
"""The member in which each message says whose it is."""

KIND = "type"
"""The member in which each message, and each part of one, says what it is."""

SAYING = frozenset(("content", "parts"))
"""The members in which a message says its text, or has its parts."""

SAID = frozenset(((), *((member,) for member in SAYING), *((member, PART) for member in SAYING)))
"""Where in a message that stands what is said in it: it may be no more than its text."""

TALK = frozenset(("", "message"))
"""What a message's type is, if it has one, where its text is what somebody says."""

WORDS = frozenset(("", "text", "input_text", "output_text"))
"""What a part's type is, if it has one, where its text is what somebody says. Many others are left out on the way."""

SIDES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "model": "assistant"}
"""On which side a message stands, by its role. What tools say is told apart."""

GOOGLES_USER = frozenset(("", "user", "function"))
"""Roles of the user's turns in Google's format, where it may be left out."""

OTHER_SIDE = {"user": "assistant", "assistant": "user"}
"""Whose words end a run of messages. Instructions do not: some providers want them put before all turns."""

CALLS = frozenset(("function_call", "custom_tool_call", "tool_search_call"))
"""Types of what stands between messages for a call of the assistant's, and stays. Calls of a provider's own tools are
left out on the way."""

CALLED = frozenset(
    (
        ("tool_calls", "function", "name"),
        ("tool_calls", "custom", "name"),
        ("function_call", "name"),
        ("parts", "functionCall", "name"),
        ("parts", "function_call", "name"),
        ("content", "toolUse", "name"),
    )
)
"""Where a message says that it calls a tool."""

TOOL_USE = "tool_use"
"""The type of a part that is a call of a tool, in Anthropic's format."""

THOUGHT = "thought"
"""Google's mark of a part that is one."""

JSON_TEXTS = frozenset(["arguments", "partial_json", "input_json"])
"""Members whose text is JSON itself, or a piece of it."""

_BEGINS_LIKE_JSON = re.compile(r"[ \t\r\n]*+[{\[]")

_BASE64 = re.compile(r"(?P<address>data:[^,\s]{0,200};base64,)?[A-Za-z0-9+/_-]{64,}={0,2}")

LIST = ord("[")

_ROLE, _KIND, _PART = (ROLE,), (KIND,), (PART,)

_TOKEN = re.compile(rb'("(?:[^"\\]++|\\.)*+")([ \t\r\n]*+:)?|[\[\]{}]', re.DOTALL)


class Text(NamedTuple):
    """A text of a document: how it reads, the members that lead to it, where its bytes are, whether these are of an
    image or the like, and where the list or the message begins with which it is read as one, if it is such a part."""

    value: str
    path: tuple[str, ...] = ()
    start: int = 0
    end: int = 0
    is_media: bool = False
    list_at: int = -1

    @property
    def is_json(self) -> bool:
        """Whether the text is JSON itself, as the arguments of a tool are in OpenAI's formats, and often what it
        says."""
        if self.path and self.path[-1] in JSON_TEXTS:
            return True
        return _BEGINS_LIKE_JSON.match(self.value) is not None and _parses(self.value)

    def reading(self) -> Reading | None:
        """Tell how a text that is JSON reads; None if it reads as it is written."""
        return Reading(self.value) if "\\" in self.value and self.is_json else None


def _parses(value: str) -> bool:
    try:
        json.loads(value, parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        return False
    return True


class Outline:
    """What is noted of the form of a document while its strings are listed."""

    __slots__ = ("messages", "owners", "thoughts")

    def __init__(self) -> None:
        self.messages: list[int] = []
        """Where the values begin that lists of the document have, such as its messages."""
        self.thoughts: list[int] = []
        """Where something is said to be a thought."""
        self.owners: list[int] = []
        """Where the object or the list begins that each of the strings stands in."""


def texts_in(body: bytes) -> list[Text]:
    """List the texts of a JSON document, which must be valid."""
    outline = Outline()
    found = strings_in(body, outline)
    begins = _begins(found, outline.messages)
    turns = _turns(found, begins, outline.owners)
    for place in outline.thoughts:
        number = bisect_right(outline.messages, place) - 1
        if number >= 0 and (turn := turns.get(outline.messages[number])) is not None:
            turn.has_thoughts = True
    first = dict(_joined(turns))
    return [
        text._replace(list_at=first[begin]) if begin in first and _is_said(text.path) else text
        for text, begin in zip(found, begins, strict=True)
        if is_text(text)
    ]


def _begins(found: Iterable[Text], messages: Sequence[int]) -> list[int]:
    """Tell where the message begins that each text stands in: -1 for those in none."""
    begins, number = [], -1
    apart: dict[str, int] = {}
    for text in found:
        while number + 1 < len(messages) and messages[number + 1] <= text.start:
            number += 1
        member = text.path[0] if text.path else ""
        if member in INSTRUCTIONS:
            begins.append(apart.setdefault(member, text.start))
        else:
            begins.append(messages[number] if number >= 0 and member in TURNS else -1)
    return begins


class _Turn:
    """What is known of a message, or what stands in its place."""

    __slots__ = ("_calls", "_is_googles", "_kind", "_role", "_says", "has_thoughts")

    def __init__(self, member: str) -> None:
        self.has_thoughts = False
        self._is_googles = member == CONTENTS
        self._role = "system" if member in INSTRUCTIONS else ""
        self._kind = ""
        self._says = self._calls = False

    def note(self, text: Text, kind: str) -> None:
        """Take notice of a string of it. `kind` is the type of the object that this stands in."""
        place = text.path[1:]
        if place == _ROLE:
            self._role = text.value.lower()
        elif place == _KIND:
            self._kind = text.value
        elif place in CALLED or (text.value == TOOL_USE and place[1:] == _KIND):
            self._calls = True
        elif not self._says and place in SAID and (kind in WORDS or place[1:] != _PART):
            self._says = bool(text.value) and not text.value.isspace()

    @property
    def side(self) -> str:
        """On which side it stands: "" for none."""
        if self._is_googles and self._role in GOOGLES_USER:
            return "user"
        if not self._role:
            return "assistant" if self._kind in CALLS else ""
        return SIDES.get(self._role, "")

    @property
    def speaks(self) -> bool:
        """Whether a model reads anything of it for certain. What only has thoughts, or nothing, may be left out on the
        way, and so may all that only some formats have."""
        if self._kind in CALLS:
            return True
        return (self._says or self._calls) and self._kind in TALK and not self.has_thoughts


def _turns(found: Sequence[Text], begins: Sequence[int], owners: Sequence[int]) -> dict[int, _Turn]:
    """Give the messages of a document by where they begin, in order."""
    kinds = {owner: text.value for text, owner in zip(found, owners, strict=True) if text.path[-1:] == _KIND}
    turns: dict[int, _Turn] = {}
    for text, begin, owner in zip(found, begins, owners, strict=True):
        if begin >= 0:
            if begin not in turns:
                turns[begin] = _Turn(text.path[0])
            turns[begin].note(text, kinds.get(owner, ""))
    return turns


def _joined(turns: Mapping[int, _Turn]) -> Iterator[tuple[int, int]]:
    """Give where messages begin that are read as one, those of one side until the other one speaks, each with where the
    first of them does."""
    runs: dict[str, int] = {}
    for begin, turn in turns.items():
        side = turn.side
        if turn.speaks and side in OTHER_SIDE:
            runs.pop(OTHER_SIDE[side], None)
        if side in runs:
            yield runs[side], runs[side]
            yield begin, runs[side]
        elif side:
            runs[side] = begin


def _is_said(path: tuple[str, ...]) -> bool:
    """Whether a text in a message, or of instructions that stand apart, is what is said there."""
    return path[1:] in SAID or (path[1:] == _PART and path[0] in INSTRUCTIONS)


def strings_in(body: bytes, outline: Outline | None = None) -> list[Text]:
    """List all strings of a JSON document that are values, in their order. Raises ValueError or IndexError for what
    ends in the middle, or has more ends than beginnings. The outline gets what there is to note besides."""
    outline = Outline() if outline is None else outline
    found: list[Text] = []
    path: list[str] = []
    objects: list[int] = []
    outer: list[tuple[str, ...]] = []
    """The members that lead to each object and list that is open."""
    names: dict[bytes, str] = {}
    for token in _TOKEN.finditer(body):
        string, colon = token.groups()
        if colon is not None:
            name = names.get(string)
            path[-1] = name if name is not None else names.setdefault(string, _said(string))
            if path[-1] == THOUGHT:
                outline.thoughts.append(token.start())
        elif string is not None:
            place = _member(outer[-1], path[-1]) if path else ()
            may_be_a_part = len(objects) > 1 and (path[-1] == PART or not path[-1])
            list_at = _list_at(body, objects, place) if may_be_a_part else -1
            found.append(Text(_said(string), place, *token.span(1), False, list_at))
            if len(objects) == 2 and body[objects[1]] == LIST:
                outline.messages.append(token.start())
            outline.owners.append(objects[-1] if objects else -1)
        elif token[0] in b"{[":
            outer.append(_member(outer[-1], path[-1]) if path else ())
            path.append("")
            objects.append(token.start())
            if len(objects) == 3:
                outline.messages.append(objects[2])
        else:
            path.pop()
            objects.pop()
            outer.pop()
    if path:
        raise ValueError("the document ends in the middle")
    _mark_media(found, outline.owners)
    return found


def _list_at(body: bytes, objects: Sequence[int], place: tuple[str, ...]) -> int:
    """Tell where the list begins with which a string is read as one, in a member for texts or in a list: -1 if it is no
    part of a message. A part may be no more than its text."""
    if body[objects[-1]] == LIST:
        return objects[-1] if len(place) == 2 and place[0] in TURNS and place[1] in SAYING else -1
    return objects[-2] if body[objects[-2]] == LIST else -1


def _member(outer: tuple[str, ...], name: str) -> tuple[str, ...]:
    """Write the path of a member; the elements of a list have that of the list."""
    return (*outer, name) if name else outer


def _said(string: bytes) -> str:
    """Tell what a string of a document says. Half of a surrogate pair, which `json` reads, is rare."""
    try:
        return _string.decode(string)
    except (msgspec.DecodeError, UnicodeError):
        return json.loads(string)  # type: ignore[no-any-return]


_string = msgspec.json.Decoder(str)


def _mark_media(found: list[Text], owners: Sequence[int]) -> None:
    """Mark strings that are media. `owners` tells which object each of them stands in."""
    unsure = []
    for number, text in enumerate(found):
        member = text.path[-1] if text.path else ""
        if member == DATA or member in MEDIA or member in ADDRESSES:
            match = _BASE64.fullmatch(text.value)
            if match is None:
                continue
            if match["address"] or member in MEDIA:
                found[number] = text._replace(is_media=True)
            elif member == DATA:
                unsure.append(number)
    said = _said_beside(found, owners, {owners[number] for number in unsure})
    for number in unsure:
        text = found[number]
        types, kinds = said[owners[number]]
        is_part = len(text.path) > 1 and text.path[-2] in MEDIA_PARTS
        if "text" not in types and (is_part or kinds or not MEDIA_TYPES.isdisjoint(types)):
            found[number] = text._replace(is_media=True)


def _said_beside(
    found: Sequence[Text], owners: Sequence[int], wanted: Collection[int]
) -> dict[int, tuple[set[str], set[str]]]:
    """Tell of some objects their types, and the kinds of media that they say they hold."""
    said: dict[int, tuple[set[str], set[str]]] = {owner: (set(), set()) for owner in wanted}
    for text, owner in zip(found, owners, strict=True) if wanted else ():
        if owner in said and text.path:
            types, kinds = said[owner]
            if text.path[-1] == "type":
                types.add(text.value)
            elif text.path[-1] in _KINDS and not text.value.startswith("text/"):
                kinds.add(text.value)
    return said


def is_text(found: Text) -> bool:
    """Whether a string of a document is text: something that people, models or tools say."""
    if not found.value or not found.path:
        return bool(found.value)
    *outer, member = found.path
    if not TOOL_DATA.isdisjoint(outer[1:]):
        return True
    return member not in FORMAL and not found.is_media


def rewritten(body: bytes, changes: Mapping[Text, str]) -> bytes:
    """Copy a document with other texts; every other byte stays as it is."""
    parts, place = [], 0
    for text in sorted(changes, key=lambda each: each.start):
        written = json.dumps(changes[text], ensure_ascii=not _is_sound(changes[text]))
        parts += [body[place : text.start], written.encode()]
        place = text.end
    parts.append(body[place:])
    return b"".join(parts)


def _is_sound(text: str) -> bool:
    """Whether a text can be written in UTF-8: half a surrogate pair cannot, and stays an escape."""
    return text.isascii() or not re.search("[\ud800-\udfff]", text)
