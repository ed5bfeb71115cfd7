"""Names with `*` for anything, as people write them in keys, conditions and settings. Upper and lower case differ."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def fits(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name is what one of the patterns means."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
