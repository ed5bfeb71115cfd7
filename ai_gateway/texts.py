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

TOOL_DATA = frozenset(["input", "args", "response", "arguments"])
"""Members within which everything is what a tool is told, or says."""

PART = "text"
"""The member in which each part of a message says its text."""

CONTENTS = "contents"
"""Google's member for the turns of a conversation."""

TURNS = ("messages", CONTENTS, "input")
"""Members that hold the turns of a conversation."""

ROLE = "role"
"""The member in which each message says whose it is."""

SAYING = frozenset(("content", "parts"))
"""The members in which a message says its text, or has its parts."""

SIDES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "model": "assistant"}
"""On which side a message stands, by its role. What tools say is told apart."""

GOOGLES_USER = frozenset(("", "user", "function"))
"""Roles of the user's turns in Google's format, where it may be left out."""

OTHER_SIDE = {"user": "assistant", "assistant": "user"}
"""Whose words end a run of messages. Instructions do not: some providers want them put before all turns."""

CALL = "_call"
"""How the types end of what stands between messages for a call of the assistant's."""

THOUGHTS = frozenset(("thinking", "reasoning", "reasoning_content"))
"""Members for what a model thought, which other providers are not sent."""

THOUGHT = "thought"
"""Google's mark of a part that is one."""

JSON_TEXTS = frozenset(["arguments", "partial_json", "input_json"])
"""Members whose text is JSON itself, or a piece of it."""

_BEGINS_LIKE_JSON = re.compile(r"[ \t\r\n]*+[{\[]")

_BASE64 = re.compile(r"(?P<address>data:[^,\s]{0,200};base64,)?[A-Za-z0-9+/_-]{64,}={0,2}")

LIST = ord("[")

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


def texts_in(body: bytes) -> list[Text]:
    """List the texts of a JSON document, which must be valid."""
    messages: list[int] = []
    thoughts: list[int] = []
    found = strings_in(body, messages, thoughts)
    numbers = _numbers(found, messages)
    turns = _turns(found, numbers)
    for place in thoughts:
        if (turn := turns.get(bisect_right(messages, place) - 1)) is not None:
            turn.has_thoughts = True
    first = dict(_joined(turns))
    return [
        text._replace(list_at=messages[first[number]]) if number in first and _is_said(text) else text
        for text, number in zip(found, numbers, strict=True)
        if is_text(text)
    ]


def _numbers(found: Iterable[Text], messages: Sequence[int]) -> list[int]:
    """Tell in which message each text stands: -1 for those in none."""
    numbers, number = [], -1
    for text in found:
        while number + 1 < len(messages) and messages[number + 1] <= text.start:
            number += 1
        numbers.append(number if text.path and text.path[0] in TURNS else -1)
    return numbers


class _Turn:
    """What is known of a message, or what stands in its place."""

    __slots__ = ("_is_googles", "_kind", "_role", "_speaks", "has_thoughts")

    def __init__(self, member: str) -> None:
        self.has_thoughts = False
        self._is_googles = member == CONTENTS
        self._role = self._kind = ""
        self._speaks = False

    def note(self, text: Text) -> None:
        """Take notice of a text of it."""
        member = text.path[1] if len(text.path) == 2 else ""
        if member == ROLE:
            self._role = text.value.lower()
        elif member == "type":
            self._kind = text.value
        elif not self._speaks:
            self._speaks = is_text(text) and text.path[-1] not in THOUGHTS and not text.value.isspace()

    @property
    def side(self) -> str:
        """On which side it stands: "" for none."""
        if self._is_googles and self._role in GOOGLES_USER:
            return "user"
        if not self._role:
            return "assistant" if self._is_call else ""
        return SIDES.get(self._role, "")

    @property
    def speaks(self) -> bool:
        """Whether a model reads anything of it. What only has thoughts, or nothing, may be left out on the way."""
        return (self._speaks and not self.has_thoughts) or self._is_call

    @property
    def _is_call(self) -> bool:
        return self._kind.endswith(CALL)


def _turns(found: Iterable[Text], numbers: Iterable[int]) -> dict[int, _Turn]:
    """Give the messages of a document by their numbers, in order."""
    turns: dict[int, _Turn] = {}
    for text, number in zip(found, numbers, strict=True):
        if number >= 0:
            if number not in turns:
                turns[number] = _Turn(text.path[0])
            turns[number].note(text)
    return turns


def _joined(turns: Mapping[int, _Turn]) -> Iterator[tuple[int, int]]:
    """Give the numbers of messages that are read as one, those of one side until the other one speaks, each with the
    number of the first of them."""
    runs: dict[str, int] = {}
    for number, turn in turns.items():
        side = turn.side
        if turn.speaks and side in OTHER_SIDE:
            runs.pop(OTHER_SIDE[side], None)
        if side in runs:
            yield runs[side], runs[side]
            yield number, runs[side]
        elif side:
            runs[side] = number


def _is_said(text: Text) -> bool:
    """Whether a text in a message is what it says."""
    _, *inner = text.path
    return not inner or (inner[0] in SAYING and inner[1:] in ([], [PART]))


def strings_in(body: bytes, messages: list[int] | None = None, thoughts: list[int] | None = None) -> list[Text]:
    """List all strings of a JSON document that are values, in their order. Raises ValueError or IndexError for what
    ends in the middle, or has more ends than beginnings.

    `messages` gets where the values begin that lists of the document have, such as its messages, and `thoughts` where
    something is said to be a thought.
    """
    messages = [] if messages is None else messages
    thoughts = [] if thoughts is None else thoughts
    found: list[Text] = []
    owners: list[int] = []
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
                thoughts.append(token.start())
        elif string is not None:
            list_at = objects[-2] if len(objects) > 1 and path[-1] == PART and body[objects[-2]] == LIST else -1
            place = _member(outer[-1], path[-1]) if path else ()
            found.append(Text(_said(string), place, *token.span(1), False, list_at))
            if len(objects) == 2 and body[objects[1]] == LIST:
                messages.append(token.start())
            owners.append(objects[-1] if objects else -1)
        elif token[0] in b"{[":
            outer.append(_member(outer[-1], path[-1]) if path else ())
            path.append("")
            objects.append(token.start())
            if len(objects) == 3:
                messages.append(objects[2])
        else:
            path.pop()
            objects.pop()
            outer.pop()
    if path:
        raise ValueError("the document ends in the middle")
    _mark_media(found, owners)
    return found


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
