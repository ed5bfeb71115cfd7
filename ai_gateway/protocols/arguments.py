"""The arguments of a call as they stream, for clients that parse what has come by now.

Servers of open models let the model begin with a blank, or write nothing but blanks or `null` where there are no
arguments. Anthropic's SDK parses after every piece and takes a blank for a broken call, though the whole would be JSON.
"""

from __future__ import annotations

BLANKS = " \t\r\n"
NULL = "null"


class Arguments:
    """The pieces of one call's arguments. What means no arguments is held back until something else comes;
    if nothing does, there are none."""

    __slots__ = ("_held", "has_begun")

    def __init__(self) -> None:
        self._held = ""
        self.has_begun = False
        """Whether anything was given out."""

    def add(self, piece: str) -> str:
        """Take a piece; give what may be written now, which may be nothing."""
        if self.has_begun:
            return piece
        text = (self._held + piece).lstrip(BLANKS)
        if NULL.startswith(text.rstrip(BLANKS)):
            self._held = text
            return ""
        self._held = ""
        self.has_begun = True
        return text
