"""Secrets that do not show themselves, and references to where they are kept.

The files that secrets were read from are remembered, so that who keeps the secrets can tell when to read them again.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Iterable
from typing import NamedTuple

from ai_gateway.patterns import fits


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
        value = read_file(reference[5:])
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


class FileState(NamedTuple):
    """What tells whether a file is still what it was: another file has taken its place, or it was written to."""

    device: int
    inode: int
    size: int
    changed_at: int
    """In nanoseconds. The time at which permissions were changed counts, too."""


_files: dict[str, FileState | None] = {}
"""The files that were read, as they were then; None for one that could not be read. Not those that give their content
only once, like a pipe."""


def read_file(path: str) -> str:
    """Read a file that holds a secret, and remember what it was like. Raises OSError."""
    _files[path] = None
    with open(path, encoding="utf-8", errors="replace") as file:
        found = os.fstat(file.fileno())
        if stat.S_ISREG(found.st_mode):
            _files[path] = _state(found)
        else:
            del _files[path]
        return file.read()


def changed_files() -> list[str]:
    """Name the files that are not what they were when they were read. Each change is told once."""
    changed = []
    for path, before in list(_files.items()):
        try:
            now = _state(os.stat(path))
        except OSError:
            now = None
        if now != before:
            _files[path] = now
            changed.append(path)
    return changed


def _state(found: os.stat_result) -> FileState:
    return FileState(found.st_dev, found.st_ino, found.st_size, found.st_ctime_ns)


def is_permitted(reference: str, patterns: Iterable[str]) -> bool:
    """Whether a reference is one of those that the patterns permit. A path is taken for where it leads: `..` does not
    get out of a folder."""
    if reference.startswith("file:"):
        reference = f"file:{posixpath.normpath(reference[5:])}"
    return fits(reference, patterns)
