"""What a long answer lists that is charged apart: searches, of which some providers give no count.

Google writes down what was searched for, OpenAI an item for each use of its tools, and both in the midst of the answer,
which is not kept. So it is searched while it passes, for one byte string that is a key or a value of its own: in a text
its quotes would be escaped.

What OpenAI's tool did stands in the same item, before that byte string or behind it. What is not charged is short: to
open a page, or to find something in it. So not much around is looked at, and what cannot be read there is charged.

An answer that is made of these byte strings must not keep the loop busy. So nothing is read twice on behalf of two of
them, and behind so many that nobody has them nothing is read at all.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from copy import copy

from ai_gateway.protocols.gemini.usage import QUERIES
from ai_gateway.protocols.openai_responses.usage import TOOLS, is_charged

LONGEST = 16 * 1024
"""Bytes of a value that are read."""

NEAR = 64
"""Bytes before and behind the byte string that are looked at for its key or its value: more spaces nobody writes."""

AROUND = 4 * 1024
"""Bytes before the type of an item, and from there on, that are looked at for what else the item says."""

MOST = 1000
"""How much is listed of each: so often nobody searches."""

PLACES = 4 * MOST
"""How often the byte string is looked at in one answer."""

_LISTED = re.compile(
    rb'"(%s)"\s*:\s*(?=\[)|"type"\s*:\s*"(%s)"' % ("|".join(QUERIES).encode(), "|".join(TOOLS).encode())
)
_TEXTS = re.compile(rb'\[(?:[\s,]|"(?:[^"\\]|\\.)*+")*+\]')
"""A list of texts. Of what is none no more is looked at than up to the next byte string that is searched for."""

_LAST_ACTION = re.compile(rb'(?s:.*)(?="action"\s*:)')
_MEMBER = re.compile(r'[\s,]*"(\w+)"\s*:\s*')
_values = json.JSONDecoder()


class Listing:
    """Searches one answer, of which all bytes are given to `take`, but for the last, which `with_end` is told."""

    __slots__ = ("_found", "_held", "_left", "_mark")

    def __init__(self, mark: bytes) -> None:
        """`mark` is the byte string (`Passing.listed`); an answer without one lists nothing."""
        self._mark = mark
        self._held = b""
        self._left = PLACES if mark else 0
        self._found: dict[str, list[object]] = {}

    def take(self, data: bytes | memoryview) -> None:
        """Take the next bytes. What may go on in those behind them is held back."""
        if self._left:
            window = self._held + data
            self._search(window, len(window) - LONGEST)

    def with_end(self, data: bytes) -> Mapping[str, Sequence[object]]:
        """Give the members that list something, as they would stand in an answer of these alone, if it ends with these
        bytes. They are not taken by that: it can be asked again."""
        twin = copy(self)
        twin._found = {name: [*values] for name, values in self._found.items()}
        if twin._left:
            window = self._held + data
            twin._search(window, len(window))
        return twin._found

    def _search(self, window: bytes, legible: int) -> None:
        """Read what begins within the first so many bytes, and hold back the rest."""
        read = 0
        place = window.find(self._mark)
        while self._left and 0 <= place < legible:
            self._left -= 1
            end = place + len(self._mark)
            following = window.find(self._mark, end)
            self._read(window, max(read, place - AROUND), place, following if following >= 0 else len(window))
            read, place = end, following
        self._held = window[max(read, (place if place >= 0 else len(window)) - AROUND) :]

    def _read(self, window: bytes, start: int, place: int, end: int) -> None:
        """Read what the byte string at a place belongs to, which does not begin before `start`. An item goes on at the
        most until `end`, where the next one names its type."""
        found = _LISTED.search(window, max(start, place - NEAR), place + len(self._mark) + NEAR)
        if found is None or found.start() > place:
            return
        if found[1] is not None:
            self._add(found[1].decode(), _texts_at(window, found.end()))
        elif len(self._found.get("output", ())) < MOST:
            item = {"type": found[2].decode()}
            if is_charged(item["type"], _action_of(window, start, found.start(), end)):
                self._add("output", [item])

    def _add(self, name: str, values: object) -> None:
        listed = self._found.setdefault(name, [])
        if isinstance(values, list):
            listed += values[: MOST - len(listed)]


def _texts_at(window: bytes, start: int) -> object:
    """Read the list of texts that begins at a place; None if it is too long, or no such list."""
    found = _TEXTS.match(window, start, start + LONGEST)
    return value_at(found[0], 0) if found is not None else None


def _action_of(window: bytes, start: int, place: int, end: int) -> object:
    """Read the action of the item whose type stands at a place, and which is between `start` and `end`."""
    action = _action_from(window, place, end)
    if action is None:
        before = _LAST_ACTION.match(window, start, place)
        action = None if before is None else _action_from(window, before.end(), end)
    return action


def _action_from(data: bytes, start: int, end: int) -> object:
    """Read an item from one of its members on, until its type and its action are known, and give the action; None if
    that is no item of a search, or cannot be read so far."""
    text, place = data[start : min(end, start + AROUND)].decode("utf-8", "replace"), 0
    members: dict[str, object] = {}
    while members.get("type") not in TOOLS or "action" not in members:
        found = _MEMBER.match(text, place)
        if found is None:
            return None
        try:
            members[found[1]], place = _values.raw_decode(text, found.end())
        except (ValueError, RecursionError):
            return None
    return members["action"]


def value_at(data: bytes, start: int) -> object:
    """Read the JSON value that begins at a place; None if it is too long, or no JSON."""
    try:
        return _values.raw_decode(data[start : start + LONGEST].decode("utf-8", "replace"))[0]
    except (ValueError, RecursionError):
        return None
