"""What can be read of arguments that were cut off."""

from __future__ import annotations

import json
import re
from typing import Any

from ai_gateway.protocols.conversation import Stop
from ai_gateway.protocols.jsontext import INVALID, arguments_object

CUT = frozenset((Stop.MAX_TOKENS, Stop.CONTEXT_FULL))
"""The ends of an answer whose last call may be cut off."""

_DECODER = json.JSONDecoder()
_BLANK = re.compile(r"[ \t\r\n]*")


def arguments_of(raw: str, stop: Stop) -> dict[str, Any]:
    """Read the arguments of a call of an answer with this end, for a client that wants an object: of those that a limit
    cut off, the members that came whole."""
    given = arguments_object(raw)
    return whole_members(raw) if stop in CUT and is_broken(given, raw) else given


def is_broken(given: dict[str, Any], raw: str) -> bool:
    """Whether arguments that were read are no object."""
    return given == {INVALID: raw}


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
