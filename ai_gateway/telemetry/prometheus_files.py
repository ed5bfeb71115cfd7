"""The files in which processes that share their metrics keep them, with room that the disk has given.

`prometheus_client` maps files into memory that have a length and no blocks. Where a disk is full, the first write to
such a page is no error that anybody could handle: the kernel ends the process (SIGBUS), and the one that takes its
place, and the next. Here a file is written before it is mapped, so that a full disk is an OSError.
"""

from __future__ import annotations

import os

from prometheus_client import values
from prometheus_client.mmap_dict import MmapedDict

FIRST_SIZE = 1 << 16
"""Bytes of a new file, as the package has them."""

ENTRY = 32
"""Bytes that an entry takes beside its key, at the most."""


class ReservedFile(MmapedDict):
    """One of these files. A new one, and a new entry in one that is full, raise OSError if the disk has no room; what
    was in it is then as it was."""

    def __init__(self, filename: str, read_mode: bool = False) -> None:
        if not read_mode:
            reserve(filename, FIRST_SIZE)
        super().__init__(filename, read_mode)  # type: ignore[no-untyped-call]

    def _init_value(self, key: str) -> None:
        needed = self._used + len(key.encode()) + ENTRY
        size = self._capacity
        while size < needed:
            size *= 2
        if size > self._capacity:
            reserve(self._fname, size)
        super()._init_value(key)  # type: ignore[no-untyped-call]


def reserve(path: str, size: int) -> None:
    """Have a file of this size at least, of which the disk has every block. Raises OSError; then it is as it was."""
    with open(path, "ab", buffering=0) as file:
        length = os.fstat(file.fileno()).st_size
        try:
            while (missing := size - os.fstat(file.fileno()).st_size) > 0:
                file.write(bytes(missing))
        except OSError:
            file.truncate(length)
            if not length:
                os.unlink(path)  # Whoever adds the files up can make nothing of an empty one.
            raise


def use() -> None:
    """Have all metrics of this process kept in such files from now on, if they are kept in files."""
    values.MmapedDict = ReservedFile  # type: ignore[attr-defined]
