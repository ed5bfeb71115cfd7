r"""How JSON within a text reads, and the same JSON with some of its letters changed.

The arguments of a tool are JSON that stands in a text. `\u00fc` is a letter of them like any other: whoever calls the
tool reads it so, and Python writes every letter so that is not ASCII. So what is looked for is looked for in what they
say, and what is changed is written as JSON wants it. The braces and quotes of the JSON stay where they are.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache

from ai_gateway.edits import Edit

_ESCAPE = re.compile(
    r"(?P<cut>(?:\\u[dD][89abAB][0-9a-fA-F]{2})?\\(?:u[0-9a-fA-F]{0,3})?)\Z"
    r'|\\(?:["\\/bfnrt]|u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u[0-9a-fA-F]{4})'
)
"""What stands for one letter; for one beyond the first plane two escapes do. At the end of what is still coming it may
be cut, and stands for one that is not known yet."""


_letter = lru_cache(maxsize=1024)(lambda escape: json.loads(f'"{escape}"'))
"""Tells which letter an escape stands for. Code within JSON has one in every line, and always the same few."""


class Reading:
    """How a text reads when its escapes are undone: `value`; and where each letter of that is written."""

    __slots__ = ("_ends", "_places", "_starts", "value")

    def __init__(self, written: str) -> None:
        self._places: list[int] = []
        self._starts: list[int] = []
        self._ends: list[int] = []
        parts, place, count = [], 0, 0
        for escape in _ESCAPE.finditer(written):
            before = written[place : escape.start()]
            count += len(before)
            parts += [before, _letter(escape[0]) if escape["cut"] is None else "\\"]
            self._places.append(count)
            self._starts.append(escape.start())
            self._ends.append(escape.end())
            count, place = count + 1, escape.end()
        parts.append(written[place:])
        self.value = "".join(parts)

    def place(self, read: int) -> int:
        """Tell where a place of what reads is written: a letter's start, which is the end of the one before it."""
        number = bisect_left(self._places, read)
        if number < len(self._places) and self._places[number] == read:
            return self._starts[number]
        return read - self._places[number - 1] - 1 + self._ends[number - 1] if number else read

    def written(self, edits: Iterable[Edit]) -> list[Edit]:
        """Make edits of what reads to edits of what is written. They cannot end a string of the JSON."""
        return [
            Edit(self.place(start), self.place(end), json.dumps(text, ensure_ascii=False)[1:-1])
            for start, end, text in edits
        ]
