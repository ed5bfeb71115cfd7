"""Ids of tool calls in the alphabet that a format demands.

An id is passed on as it is wherever that is possible: a caller may look for it. Where it is not (a colon in Kimi's,
none at all in Gemini's, nine characters at Mistral), it is replaced by one made of the original and its place. The same
conversation always gives the same ids, so that a provider's prompt cache stays warm.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable

import msgspec

from ai_gateway.protocols.conversation import Message, Part, ToolCall, ToolResult

USUAL = re.compile(r"[a-zA-Z0-9_-]{1,64}")
"""What OpenAI and Anthropic both take."""


def made_id(prefix: str, *sources: object, length: int = 20) -> str:
    """Make an id of letters and digits out of what identifies it."""
    digest = hashlib.sha256("\x1f".join(map(str, sources)).encode("utf-8", "surrogatepass")).digest()
    return prefix + base64.b32encode(digest).decode().lower()[:length]


def with_ids(messages: Iterable[Message], allowed: re.Pattern[str] = USUAL, exact_length: int = 0) -> list[Message]:
    """Copy messages with ids that are allowed and unique; a call and its result keep fitting together.

    A result belongs to the last turn before it that has a call of its id, and among several calls of equal id in that
    turn to the first that has no result yet. `exact_length`, if not 0, is how long every id must be, in letters and
    digits.
    """
    changed: list[Message] = []
    used: set[str] = set()
    waiting: dict[str, tuple[int, list[str]]] = {}
    answered: dict[str, str] = {}
    for turn, message in enumerate(messages):
        parts: list[Part] = []
        for place, part in enumerate(message.parts):
            if isinstance(part, ToolCall):
                new = _allowed(part.id, (turn, place), used, allowed, exact_length)
                if waiting.get(part.id, (turn,))[0] != turn:
                    del waiting[part.id]  # An id that is used again: results are for the newer call.
                waiting.setdefault(part.id, (turn, []))[1].append(new)
                parts.append(part if new == part.id else msgspec.structs.replace(part, id=new))
            elif isinstance(part, ToolResult):
                _, open_calls = waiting.get(part.call_id, (turn, []))
                new = open_calls.pop(0) if open_calls else answered.get(part.call_id, part.call_id)
                answered[part.call_id] = new
                parts.append(part if new == part.call_id else msgspec.structs.replace(part, call_id=new))
            else:
                parts.append(part)
        changed.append(msgspec.structs.replace(message, parts=parts))
    return changed


def _allowed(given: str, place: tuple[int, int], used: set[str], allowed: re.Pattern[str], exact_length: int) -> str:
    is_fine = allowed.fullmatch(given) is not None and given not in used
    if exact_length:
        is_fine = is_fine and len(given) == exact_length and given.isalnum()
    if not is_fine:
        given = made_id("", *place, given, length=exact_length) if exact_length else made_id("toolu_gw_", *place, given)
    used.add(given)
    return given
