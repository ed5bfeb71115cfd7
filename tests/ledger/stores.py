"""A database and a disk that do what a test wants of them: take entries, refuse some, be away or full, or hang."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from ai_gateway.journal import Journal
from ai_gateway.ledger import Ledger
from ai_gateway.ledger_writer import Refused, Unavailable
from ai_gateway.meter import Entry

PATIENCE = 10.0
"""Seconds that a test waits for what must happen."""


class Table:
    """A store that keeps what it is given, by id."""

    def __init__(self) -> None:
        self.rows: dict[str, Entry] = {}
        self.asked: list[tuple[int, bool]] = []
        """How many entries were to be written each time, and whether they may have been known."""
        self.poison: set[str] = set()
        """Request ids that it refuses."""
        self.pruned: set[str] = set()
        """Request ids that may have been written, and that it knows nothing of any more."""
        self.versions: list[Entry] = []
        """What may be taken in place of an entry."""
        self.is_away = self.loses_answers = False
        self.exists = True
        self.released = 0
        self.is_asked, self.answers = threading.Event(), threading.Event()
        self.answers.set()
        self._changed = threading.Condition()

    def has_database(self) -> bool:
        return self.exists

    def write(self, entries: Sequence[Entry], *, may_be_known: bool = False) -> Sequence[Entry]:
        self.asked.append((len(entries), may_be_known))
        self.is_asked.set()
        assert self.answers.wait(PATIENCE)
        if self.is_away:
            raise Unavailable("connection refused")
        if any(entry.request_id in self.poison for entry in entries):
            raise Refused("value too long")
        with self._changed:
            fresh = [entry for entry in entries if entry.id not in self.rows]
            self.rows |= {entry.id: entry for entry in fresh}
            self._changed.notify_all()
        if self.loses_answers:
            self.loses_answers = False
            raise Unavailable("server closed the connection unexpectedly")
        return fresh

    def uncertain(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        return [entry for entry in entries if entry.request_id in self.pruned]

    def salvage(self, entry: Entry) -> Sequence[Entry]:
        return [version for version in self.versions if version.id == entry.id]

    def release(self) -> None:
        self.released += 1

    def wait(self, entries: Sequence[Entry]) -> None:
        """Wait until all of these are written."""
        self.wait_for(lambda: all(entry.id in self.rows for entry in entries))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds of what is written."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE), f"{len(self.rows)} are written"


class Disk(Journal):
    """A journal on a disk that may be full, or hang."""

    def __init__(self, folder: Path) -> None:
        super().__init__(lambda: folder)
        self.taken: list[Entry] = []
        self.is_full = False
        self.is_asked, self.answers = threading.Event(), threading.Event()
        self.answers.set()
        self._changed = threading.Condition()

    def append(self, entries: Iterable[Entry]) -> None:
        self.is_asked.set()
        assert self.answers.wait(PATIENCE)
        if self.is_full:
            raise OSError("no space left")
        entries = list(entries)
        super().append(entries)
        with self._changed:
            self.taken += entries
            self._changed.notify_all()

    def wait(self, entries: Sequence[Entry]) -> None:
        """Wait until all of these are, or were, in the journal."""
        ids = {entry.id for entry in entries}
        with self._changed:
            assert self._changed.wait_for(lambda: ids <= {entry.id for entry in self.taken}, PATIENCE), self.taken

    def content(self) -> list[Entry]:
        """Give what is in the journal, which is empty then."""
        found: list[Entry] = []
        self.replay(found.extend)
        return found


@contextmanager
def running(table: Table, disk: Disk) -> Iterator[Ledger]:
    """A ledger that is stopped in the end, when the database and the disk answer again. No process that is forked later
    knows of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "register_at_fork", lambda **_: None)
        ledger = Ledger(table, disk)
    yield ledger
    table.answers.set()
    disk.answers.set()
    ledger.stop()
    atexit.unregister(ledger.stop)
