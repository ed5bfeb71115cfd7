"""Which model answered, in a long answer that names it anywhere: it counts where it is named first.

OpenAI's responses repeat the instructions before the model, and its embeddings have all numbers before it. So it is
searched for while the bytes pass, and what is no member of that name is not taken for it: in a text its quotes would be
escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import copy

from ai_gateway.bodies import MAX_MODEL, MODEL
from ai_gateway.listeners.listings import value_at

LONGEST = 2 * MAX_MODEL
"""Bytes that the key, the spaces behind it and the name have together, at the most."""

MOST = 100
"""How many members of that name are looked at that have no name as their value."""

_NAMED = re.compile(rb'"model"\s*+:\s*+("(?:[^"\\]|\\.){1,%d}+")' % MAX_MODEL)


class Naming:
    """Searches one answer, of which all bytes are given to `take`, but for the last, which `with_end` is told."""

    __slots__ = ("_held", "_left", "_name")

    def __init__(self) -> None:
        self._held = b""
        self._left = MOST
        self._name: object = None

    def take(self, data: bytes | memoryview) -> None:
        """Take the next bytes. What may be the beginning of a name is held back."""
        if self._left:
            window = self._held + data
            self._search(window, len(window) - LONGEST)

    def with_end(self, data: bytes) -> Mapping[str, object]:
        """Give the member that names the model, or nothing, if the answer ends with these bytes. They are not taken by
        that."""
        twin = copy(self)
        if twin._left:
            window = self._held + data
            twin._search(window, len(window))
        return {} if twin._name is None else {"model": twin._name}

    def _search(self, window: bytes, legible: int) -> None:
        """Look at what begins within the first so many bytes, until there is a name, and hold back the rest."""
        place = window.find(MODEL)
        while self._left and 0 <= place < legible:
            found = _NAMED.match(window, place)
            self._name = None if found is None else value_at(found[1], 0)
            self._left = self._left - 1 if found is None else 0
            place = window.find(MODEL, place + len(MODEL))
        self._held = window[place if place >= 0 else -len(MODEL) :]
