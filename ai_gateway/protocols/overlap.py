"""Where a text goes on that somebody else began: what of its beginning was said already.

A model that is asked to go on may begin with the end of what it was given. If its first words are exactly the last
SHORTEST characters or more, they are taken away, the longest such repeat that there is. Fewer are taken for a
coincidence: "ha" behind "ha" is a laugh. Nothing is guessed: a repeat in other words stays.

Blanks at the end of a beginning are not sent (Anthropic refuses them), so the model says them again; those go as well.
"""

from __future__ import annotations

from itertools import takewhile

SHORTEST = 16
"""Characters that must be the same to be a repeat."""

LONGEST = 4096
"""Characters of the end of a text that a repeat is looked for in."""


class Overlap:
    """Takes away from the beginning of one text, which comes in pieces, what another one ends with."""

    __slots__ = ("_blanks", "_held", "_tail", "is_over")

    def __init__(self, said: str) -> None:
        self._tail = said[-LONGEST:]
        self._blanks = said[len(said.rstrip()) :]
        self._held = ""
        self.is_over = not said

    def feed(self, text: str) -> str:
        """Take a piece; give what is certainly new. What may be the beginning of a repeat is held back."""
        if self.is_over:
            return text
        self._held += text
        at = self._tail.find(self._held)
        if 0 <= at < len(self._tail) - len(self._held):
            return ""
        return self.rest()

    def rest(self) -> str:
        """Nothing more will be compared: give what was held and is new."""
        self.is_over = True
        held, self._held = self._held, ""
        for length in range(min(len(held), len(self._tail)), SHORTEST - 1, -1):
            if self._tail.endswith(held[:length]):
                return held[length:]
        same = takewhile(lambda pair: pair[0] == pair[1], zip(self._blanks, held, strict=False))
        return held[len(list(same)) :]
