"""What can be read of arguments that were cut off."""

from __future__ import annotations

import json
import re
from typing import Any

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n]*")


def whole_members(raw: str) -> dict[str, Any]:
    """Read the members of an object that came whole, of text that ends in the middle.

    Anthropic's own SDK gives as much to a client whose stream was cut. A number at the very end is left out, as more
    digits may have been meant to come.
    """
    members: dict[str, Any] = {}
    position = _after(raw, 0, "{")
    while position is not None:
        try:
            name, position = _DECODER.raw_decode(raw, position)
            position = _after(raw, position, ":")
            if position is None or not isinstance(name, str):
                break
            value, position = _DECODER.raw_decode(raw, position)
        except (ValueError, RecursionError):
            break
        if position == len(raw) and isinstance(value, int | float) and not isinstance(value, bool):
            break
        members[name] = value
        position = _after(raw, position, ",")
    return members


def _after(raw: str, position: int, mark: str) -> int | None:
    """Give where the next thing begins behind a mark and blanks; None if the mark is not there."""
    position = _end_of_blanks(raw, position)
    return _end_of_blanks(raw, position + 1) if raw[position : position + 1] == mark else None


def _end_of_blanks(raw: str, position: int) -> int:
    found = _BLANK.match(raw, position)
    return found.end() if found else position
