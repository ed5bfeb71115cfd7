"""Finished calls that are not in the database yet: the queue, the batch under way, and their way to the disk.

Whatever takes an entry out of here has it safe, or has lost it and says so. `put` never waits; the other methods may
wait for the disk, and are called in threads.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import defaultdict, deque
from collections.abc import Iterable
from typing import NamedTuple

from ai_gateway.journal import Journal, as_json
from ai_gateway.meter import Entry

logger = logging.getLogger("ai_gateway")

OVERFULL = 2
"""How many times the room of the queue is used at the most, while neither the database nor the disk takes any."""

DISK_PATIENCE = 1.0
"""Seconds to wait for somebody else who is writing to the disk."""


class Waiter(NamedTuple):
    """A call that waits until its entry is durable."""

    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class Batch:
    """Entries on their way into the database."""

    __slots__ = ("entries", "is_kept")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.is_kept = False
        """Whether they are in the journal, too."""


class Spool:
    """What waits in this process. `room` is how many entries wait in memory before some must go to the disk."""

    def __init__(self, journal: Journal, room: int) -> None:
        self.room = room
        self.kept = self.lost = 0
        """How many entries went to the journal, and nowhere."""
        self.batch: Batch | None = None
        self._journal = journal
        self._queue: deque[Entry] = deque()
        self._waiters: dict[str, Waiter] = {}
        self._lock = threading.Lock()
        """Of what moves between the queue, the batch and the disk. Nobody waits for anything who holds it."""
        self._disk_lock = threading.Lock()
        self._disk_problem = ""
        self._in_hand: list[Entry] = []
        """What is being written to the disk."""

    def put(self, entry: Entry) -> int:
        """Take an entry; give the number of those that wait."""
        self._queue.append(entry)
        return len(self._queue)

    def await_durable(self, entry: Entry, loop: asyncio.AbstractEventLoop) -> asyncio.Future[None]:
        """Give what is done when an entry is in the database or on the disk. Called before it is put here."""
        done: asyncio.Future[None] = loop.create_future()
        self._waiters[entry.id] = Waiter(loop, done)
        return done

    def forsake(self, entry: Entry) -> None:
        """Wait for an entry no longer."""
        self._waiters.pop(entry.id, None)

    def take(self, count: int) -> Batch | None:
        """Take so many entries at the most, for the database. What is taken is settled or given back."""
        with self._lock:
            entries = self._pop(count)
            self.batch = Batch(entries) if entries else None
            return self.batch

    def settle(self, batch: Batch) -> None:
        """Note that a batch is in the database."""
        with self._lock:
            if self.batch is batch:
                self.batch = None
        self.tell(batch.entries)

    def give_back(self) -> None:
        """Note that the batch under way is not in the database. What the journal does not have waits again."""
        with self._lock:
            batch, self.batch = self.batch, None
            if batch is not None and not batch.is_kept:
                self._queue.extendleft(reversed(batch.entries))

    def tell(self, entries: Iterable[Entry]) -> None:
        """Tell the calls that wait for entries that these are durable: each event loop once for all of its calls."""
        if not self._waiters:
            return
        done: defaultdict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = defaultdict(list)
        for entry in entries:
            waiter = self._waiters.pop(entry.id, None)
            if waiter is not None:
                done[waiter.loop].append(waiter.done)
        for loop, futures in done.items():
            try:
                loop.call_soon_threadsafe(_finish, futures)
            except RuntimeError:
                continue  # The loop is closed, and its calls with it.

    def keep(self, patience: float | None = None) -> bool:
        """Bring to the disk what waits, and what is being written. Tell whether nothing is left that is not safe.
        `patience` is for how many seconds to wait for somebody else who is at it; DISK_PATIENCE if it is not given."""
        if not self._disk_lock.acquire(timeout=DISK_PATIENCE if patience is None else patience):
            return False
        try:
            with self._lock:
                batch = self.batch if self.batch is not None and not self.batch.is_kept else None
                waiting = self._pop(len(self._queue))
                self._in_hand = [*batch.entries, *waiting] if batch is not None else waiting
            return not self._in_hand or self._write(self._in_hand, waiting, batch)
        finally:
            self._in_hand = []
            self._disk_lock.release()

    def _write(self, entries: list[Entry], waiting: list[Entry], batch: Batch | None) -> bool:
        try:
            self._journal.append(entries)
        except Exception as error:
            # The disk, as a rule. Whatever it is, what was taken out of the queue must not be lost by it.
            if self._disk_problem != str(error):
                self._disk_problem = str(error)
                logger.error("Usage records wait in memory, the journal does not take them: %s", error)
            with self._lock:
                self._queue.extendleft(reversed(waiting))
            return False
        self._disk_problem = ""
        self.kept += len(entries)
        if batch is not None:
            batch.is_kept = True
        self.tell(entries)
        return True

    @property
    def waiting(self) -> int:
        """How many entries are not in the database yet, nor in the journal."""
        batch = self.batch
        return len(self._queue) + (len(batch.entries) if batch is not None and not batch.is_kept else 0)

    @property
    def is_overfull(self) -> bool:
        """Whether there are more entries than may be held in memory, even if nothing takes them."""
        return len(self._queue) > OVERFULL * self.room

    def lose_last(self) -> None:
        """Give up the entry that came last, if there still are too many."""
        with self._lock:
            last = [self._queue.pop()] if self.is_overfull else []
        self.lose(last, "neither the database nor the journal takes it, and the memory is bounded")

    def lose_rest(self, reason: str) -> None:
        """Give up everything that waits. What somebody is still writing to the disk is told of, and may get there."""
        with self._lock:
            batch, self.batch = self.batch, None
            in_hand = {entry.id: entry for entry in self._in_hand}
            entries = [
                *(batch.entries if batch is not None and not batch.is_kept else ()),
                *self._pop(len(self._queue)),
            ]
        self.lose([entry for entry in entries if entry.id not in in_hand], reason)
        for entry in in_hand.values():
            logger.error("Usage record may be lost, it is on its way to the journal: %s", as_json(entry).decode())

    def lose(self, entries: Iterable[Entry], reason: str) -> None:
        """Note that entries are lost. The log is the last place that they can be found in; they hold no secrets."""
        for entry in entries:
            self.lost += 1
            text = as_json(entry).decode()
            logger.error("Usage record number %d is lost, because %s: %s", self.lost, reason, text)

    def _pop(self, count: int) -> list[Entry]:
        queue = self._queue
        return [queue.popleft() for _ in range(min(count, len(queue)))]


def _finish(futures: Iterable[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
