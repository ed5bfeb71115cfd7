"""Gets entries into the database, whatever is wrong with single ones, and tells who wants to know of finished calls."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

from ai_gateway.journal import Journal
from ai_gateway.meter import Entry
from ai_gateway.signals import call_finished, calls_finished

logger = logging.getLogger("ai_gateway")

REFUSED = "the database refuses the record of this call ({})"
PRUNED = "the records of that day are deleted, and nobody can tell whether this call was among them"
"""What is wrong with an entry that cannot be written."""

_FIELDS = Entry.__struct_fields__


class Unavailable(Exception):
    """The database does not answer, or has no tables yet. Nothing was written."""


class Refused(Exception):
    """The database does not take one of the entries. Nothing was written."""


class Store(Protocol):
    """What writes entries: the module `ledger_store`."""

    def has_database(self) -> bool:
        """Whether this site has a database at all. Asks nobody."""

    def write(self, entries: Sequence[Entry], *, may_be_known: bool = False) -> Sequence[Entry]:
        """Write entries in one transaction, and give those that were not known. Raises Unavailable and Refused."""

    def uncertain(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        """Give those of which nobody can tell whether they were written. Raises Unavailable."""

    def salvage(self, entry: Entry) -> Iterable[Entry]:
        """Give what may be taken in place of an entry that is refused, the most that is left of it first."""

    def release(self) -> None:
        """Give the database connections of this thread back."""


class Writer:
    """Writes entries, in one thread."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self.written = self.rejected = 0
        """How many entries went into the database, and were refused by it."""

    def write(self, entries: Sequence[Entry], *, may_be_known: bool = False) -> list[Entry]:
        """Write entries that are not known yet, and give those. One that the database refuses is found by halving and
        logged, and written without what is wrong with it, or put aside. Raises Unavailable; then some of them may be
        written."""
        try:
            written = self._try(entries, may_be_known=may_be_known)
        except Refused as error:
            if len(entries) == 1:
                return self._salvage(entries[0], str(error), may_be_known=may_be_known)
            middle = len(entries) // 2
            first = self.write(entries[:middle], may_be_known=may_be_known)
            try:
                return first + self.write(entries[middle:], may_be_known=may_be_known)
            except Unavailable:
                announce(first)  # Nobody would hear of them: they are known when the batch comes again.
                raise
        self.written += len(written)
        return list(written)

    def write_again(self, entries: Sequence[Entry]) -> list[Entry]:
        """Write entries that may be known, and give those that were not. Those of which nobody can tell any more are
        put aside: they would be counted twice. Raises Unavailable; then some of them may be written."""
        uncertain = self._store.uncertain(entries)
        if not uncertain:
            return self.write(entries, may_be_known=True)
        ids = {entry.id for entry in uncertain}
        written = self.write([entry for entry in entries if entry.id not in ids], may_be_known=True)
        for entry in uncertain:
            self._put_aside(entry, PRUNED)
        return written

    def _try(self, entries: Sequence[Entry], *, may_be_known: bool) -> Sequence[Entry]:
        try:
            return self._store.write(entries, may_be_known=may_be_known)
        except Unavailable:
            # A connection that lay idle may be dead, a deadlock may be resolved. But the first try may also have been
            # committed, with only the answer lost.
            self._store.release()
            return self._store.write(entries, may_be_known=True)

    def _salvage(self, entry: Entry, reason: str, *, may_be_known: bool) -> list[Entry]:
        """Write what the database takes of an entry that it refuses; put it aside if that is nothing. Raises
        Unavailable."""
        for version in self._store.salvage(entry):
            try:
                written = self._try([version], may_be_known=may_be_known)
            except Refused:
                continue
            changed = ", ".join(name for name in _FIELDS if getattr(version, name) != getattr(entry, name))
            what = REFUSED.format(reason)
            logger.error("%s: %s, and it is written with other values of: %s", entry.request_id, what, changed)
            self.written += len(written)
            return list(written)
        self._put_aside(entry, REFUSED.format(reason), reason)
        return []

    def _put_aside(self, entry: Entry, what: str, reason: str = "") -> None:
        self.rejected += 1
        where = "it is put aside"
        try:
            self._journal.reject(entry, reason or what)
        except OSError as error:
            where = f"and it is lost, because it cannot be put aside ({error}): {entry}"
        logger.error("%s: %s, %s", entry.request_id, what, where)


def announce(entries: Sequence[Entry]) -> None:
    """Send the signals of finished calls, if there is anybody who receives them."""
    if not entries:
        return
    if calls_finished.has_listeners(Entry):
        calls_finished.send_robust(Entry, entries=entries)
    if call_finished.has_listeners(Entry):
        for entry in entries:
            call_finished.send_robust(Entry, entry=entry)
