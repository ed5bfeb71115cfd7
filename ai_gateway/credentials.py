"""Secrets that do not show themselves, and references to where they are kept."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path


class Secret:
    """A string whose `str()` and `repr()` are masked; `reveal()` is the only way to the value, so it can be searched
    for."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """Give the value."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


def resolve(reference: str) -> Secret | None:
    """Turn a setting into a secret: `env:NAME`, `file:/path`, or the literal itself. None if the variable is not set.

    Raises OSError for a file that cannot be read, and ValueError for a value that could not go into a header.
    """
    if reference.startswith("env:"):
        value = os.environ.get(reference[4:], "")
    elif reference.startswith("file:"):
        value = Path(reference[5:]).read_text(encoding="utf-8", errors="replace")
    else:
        value = reference
    value = value.strip()
    if not value:
        return None
    if not (value.isascii() and value.isprintable()):
        where = reference if reference.startswith(("env:", "file:")) else "a literal"
        del value, reference  # Error pages and error trackers show the variables of the frame that raises.
        raise ValueError(f"The secret from {where} has characters that cannot stand in a header.")
    return Secret(value)


def is_permitted(reference: str, patterns: Iterable[str]) -> bool:
    """Whether a reference is one of those that the patterns permit. A path is taken for where it leads: `..` does not
    get out of a folder."""
    if reference.startswith("file:"):
        reference = f"file:{posixpath.normpath(reference[5:])}"
    return any(fnmatchcase(reference, pattern) for pattern in patterns)
