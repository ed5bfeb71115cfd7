"""Regular expressions that cannot hang the gateway.

Python's `re` tries one way after the other to make an expression fit, cannot be interrupted, and lets nothing else run
meanwhile: `(a+)+b` takes years for forty letters. So two things are bounded before an expression is used at all: the
letters that it is tried on at a time (`PIECE`), and the number of ways in which it can be tried from one place
(`ways`), worked out from its syntax. One with too many ways is refused when the settings are checked. Possessive
quantifiers and atomic groups (`a++`, `(?>a+)`) count as one way, and so there is a way to write most things.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

PIECE = 2000
"""Letters that an expression is tried on at a time."""

OVERLAP = 500
"""How many of them are tried again with the next piece: a match that is longer may be missed."""

MOST_WAYS = 10_000
"""Ways to try an expression from one place. With PIECE places that is some tenths of a second at the very worst."""

_parser: Any = importlib.import_module("re._parser")
"""The parser of `re` itself: another one could understand an expression otherwise."""


def compiled(expression: str, *, ignore_case: bool = False) -> re.Pattern[str]:
    """Compile an expression. Raises ValueError if it is none, or could take too long."""
    flags = re.IGNORECASE if ignore_case else 0
    try:
        pattern = re.compile(expression, flags)
        count = ways(_parser.parse(expression, flags))
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"{expression!r} is not a regular expression: {error}") from error
    if count > MOST_WAYS:
        raise ValueError(
            f"{expression!r} could take too long: it can be tried in too many ways. Use possessive quantifiers (a++) "
            "or bounds (a{1,20}), and no repetition within another"
        )
    return pattern


def ways(parsed: Iterable[tuple[Any, Any]]) -> int:
    """Count in how many ways a parsed expression can be tried from one place, at most; above MOST_WAYS anything."""
    total = 1
    for operation, argument in parsed:
        total *= _ways_of(str(operation), argument)
        if total > MOST_WAYS:
            break
    return total


def _ways_of(operation: str, argument: Any) -> int:
    if operation in ("MAX_REPEAT", "MIN_REPEAT"):
        return _ways_to_repeat(*argument)
    if operation == "BRANCH":
        return sum(ways(branch) for branch in argument[1])
    if operation == "SUBPATTERN":
        return ways(argument[-1])
    if operation == "GROUPREF_EXISTS":
        return sum(ways(branch) for branch in argument[1:] if branch)
    if operation in ("ASSERT", "ASSERT_NOT"):
        return ways(argument[1])
    if operation == "ATOMIC_GROUP":
        return _ways_within(argument)
    if operation == "POSSESSIVE_REPEAT":
        return _ways_within(argument[2])
    return 1


def _ways_to_repeat(least: int, most: int, body: Any) -> int:
    most = min(int(most), PIECE)
    inner = ways(body)
    if inner == 1:
        return most - min(int(least), most) + 1
    return MOST_WAYS + 1 if most > 20 or inner**most > MOST_WAYS else prod([inner] * most) * 2


def _ways_within(body: Any) -> int:
    """What is tried within an atomic group is tried there only: one way, unless it takes too long by itself."""
    return 1 if ways(body) <= PIECE + 1 else MOST_WAYS + 1


def found(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    """Find where a pattern fits, piece by piece. Matches do not overlap; empty ones are left out."""
    place = start = 0
    while True:
        end = min(start + PIECE, len(text))
        is_last = end == len(text)
        for match in pattern.finditer(text, max(start, place), end):
            if match.end() == match.start() or match.start() < place:
                continue
            if not is_last and match.start() >= end - OVERLAP:
                break  # The next piece has all of it.
            place = match.end()
            yield match.span()
        if is_last:
            return
        start = end - OVERLAP
