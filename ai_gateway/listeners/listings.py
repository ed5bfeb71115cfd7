"""What a long answer lists that is charged apart: searches of the web, of which some providers give no count.

Google writes down what was searched for, OpenAI an item for each use of its tool, and both in the midst of the answer,
which is not kept. So it is searched while it passes, for one byte string that is a key or a value of its own: in a text
its quotes would be escaped.

What OpenAI's tool did stands in the same item, before that byte string or behind it. What is not charged is short: to
open a page, or to find something in it. So not much around is looked at, and what cannot be read there is charged.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from ai_gateway.protocols.gemini.usage import QUERIES
from ai_gateway.protocols.openai_responses.usage import SEARCH, is_charged

LONGEST = 16 * 1024
"""Bytes of a value that are read."""

NEAR = 64
"""Bytes before and behind the byte string that are looked at for its key or its value: more spaces nobody writes."""

AROUND = 4 * 1024
"""Bytes before the type of an item, and from there on, that are looked at for what else the item says."""

MOST = 1000
"""How much is listed of each: so often nobody searches."""

_LISTED = re.compile(rb'"(%s)"\s*:\s*(?=\[)|"type"\s*:\s*"%s"' % ("|".join(QUERIES).encode(), SEARCH.encode()))
_LAST_ACTION = re.compile(rb'(?s:.*)(?="action"\s*:)')
_MEMBER = re.compile(r'[\s,]*"(\w+)"\s*:\s*')
_values = json.JSONDecoder()


class Listing:
    """Searches one answer, of which all bytes are given to `take`, but for the last, which `with_end` is told."""

    __slots__ = ("_found", "_held", "_mark")

    def __init__(self, mark: bytes) -> None:
        """`mark` is the byte string (`Passing.listed`); an answer without one lists nothing."""
        self._mark = mark
        self._held = b""
        self._found: dict[str, list[object]] = {}

    def take(self, data: bytes | memoryview) -> None:
        """Take the next bytes. What may go on in those behind them is held back."""
        if self._mark:
            window = self._held + data
            self._search(window, len(window) - LONGEST)

    def with_end(self, data: bytes) -> Mapping[str, Sequence[object]]:
        """Give the members that list something, as they would stand in an answer of these alone, if it ends with these
        bytes. They are not taken by that: it can be asked again."""
        if not self._mark:
            return {}
        twin = Listing(self._mark)
        twin._found = {name: [*values] for name, values in self._found.items()}
        window = self._held + data
        twin._search(window, len(window))
        return twin._found

    def _search(self, window: bytes, legible: int) -> None:
        """Read what begins within the first so many bytes, and hold back the rest."""
        read = 0
        place = window.find(self._mark)
        while 0 <= place < legible:
            self._read(window, max(read, place - AROUND), place)
            read = place + len(self._mark)
            place = window.find(self._mark, read)
        self._held = window[max(read, (place if place >= 0 else len(window)) - AROUND) :]

    def _read(self, window: bytes, start: int, place: int) -> None:
        found = _LISTED.search(window, max(start, place - NEAR), place + len(self._mark) + NEAR)
        if found is None or found.start() > place:
            return
        if found[1] is not None:
            self._add(found[1].decode(), value_at(window, found.end()))
        elif len(self._found.get("output", ())) < MOST and is_charged(_action_of(window, start, found.start())):
            self._add("output", [{"type": SEARCH}])

    def _add(self, name: str, values: object) -> None:
        listed = self._found.setdefault(name, [])
        if isinstance(values, list):
            listed += values[: MOST - len(listed)]


def _action_of(window: bytes, start: int, place: int) -> object:
    """Read the action of the item whose type stands at a place, and which does not begin before `start`."""
    action = _action_from(window, place)
    if action is None:
        before = _LAST_ACTION.match(window, start, place)
        action = None if before is None else _action_from(window, before.end())
    return action


def _action_from(data: bytes, start: int) -> object:
    """Read an item from one of its members on, until its type and its action are known, and give the action; None if
    that is no item of a search, or cannot be read so far."""
    text, place = data[start : start + AROUND].decode("utf-8", "replace"), 0
    members: dict[str, object] = {}
    while members.get("type") != SEARCH or "action" not in members:
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
