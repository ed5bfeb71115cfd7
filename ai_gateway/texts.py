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
from collections.abc import Collection, Iterator, Mapping, Sequence
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

TURNS = ("messages", "contents", "input")
"""Members that hold the turns of a conversation."""

ROLE = "role"
"""The member in which each message says whose it is."""

SAYING = frozenset(("content", "parts"))
"""The members in which a message says its text, or has its parts."""

JOINED_ROLES = frozenset(("system", "developer", "user", "assistant", "model"))
"""Roles of which messages that follow each other are read as one. What tools say is told apart."""

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
    found = strings_in(body, messages)
    first = dict(_joined(found, messages))
    return [_in_its_run(text, messages, first) if first else text for text in found if is_text(text)]


def _joined(found: Sequence[Text], messages: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Give the numbers of messages that follow another one of the same role, and of this one, each with the number of
    the first of them."""
    roles: dict[int, str] = {}
    for text in found:
        if len(text.path) == 2 and text.path[1] == ROLE and text.path[0] in TURNS:
            roles[bisect_right(messages, text.start) - 1] = text.value
    first = 0
    for number, role in roles.items():
        if roles.get(number - 1) != role or role not in JOINED_ROLES:
            first = number
        else:
            yield first, first
            yield number, first


def _in_its_run(text: Text, messages: Sequence[int], first: Mapping[int, int]) -> Text:
    """Give a text as one of a run of messages, if it is what one of them says."""
    is_said = len(text.path) == 2 or (len(text.path) == 3 and text.list_at >= 0)
    if not is_said or text.path[1] not in SAYING or text.path[0] not in TURNS:
        return text
    begin = first.get(bisect_right(messages, text.start) - 1)
    return text if begin is None else text._replace(list_at=messages[begin])


def strings_in(body: bytes, messages: list[int] | None = None) -> list[Text]:
    """List all strings of a JSON document that are values, in their order. Raises ValueError or IndexError for what
    ends in the middle, or has more ends than beginnings.

    `messages` gets where the objects and lists begin that lists of the document have, such as its messages.
    """
    if messages is None:
        messages = []
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
        elif string is not None:
            list_at = objects[-2] if len(objects) > 1 and path[-1] == PART and body[objects[-2]] == LIST else -1
            place = _member(outer[-1], path[-1]) if path else ()
            found.append(Text(_said(string), place, *token.span(1), False, list_at))
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
