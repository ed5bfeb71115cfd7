"""Writes down what was used, off the path of the calls: each entry once, whatever happens to the database.

A call leaves its entry in a queue and goes on. The writer, a thread, takes what is there every USAGE_INTERVAL seconds,
or as soon as a batch is full, and writes it in one transaction. What the database does not take in time goes to the
journal on disk, and from there into the database when it answers again:

- a batch that failed twice, and from then on everything, until the database answers;
- what is still being written after PATIENCE seconds, and all that waits behind it: behind a batch, a piece of a journal
  that is replayed, or somebody who is told of finished calls. The writer itself hangs then, so the keeper, a second
  thread, sees to that. A batch that comes through after all is known when the journal is replayed;
- what does not fit into the queue (USAGE_QUEUE).

So a process that is killed (`kill -9`) loses at most what ended within USAGE_INTERVAL before that, and the transaction
under way. With USAGE_DURABILITY "committed" it loses nothing that a caller saw the end of: `commit` returns when the
entry is in the database or on the disk, and entries that come while a transaction runs share the next one. A process
that ends in order loses nothing in either mode: `stop` writes everything, to the journal if the database hangs. If the
disk fails as well, entries wait in memory, within bounds, and what is lost is logged in full.

The threads are started with the gateway (`lifespan.py`). Where no server does that the first call starts them, and
`atexit` stops them; a SIGTERM is noticed then, because servers end the process by it without calling `atexit`.
"""

from __future__ import annotations

import _thread
import asyncio
import atexit
import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

from ai_gateway.conf import settings
from ai_gateway.daemons import Daemon
from ai_gateway.journal import Journal
from ai_gateway.ledger_writer import Store, Unavailable, Writer, announce
from ai_gateway.meter import Entry
from ai_gateway.spool import Batch, Spool

logger = logging.getLogger("ai_gateway")

BATCH = 500
"""Entries in one transaction."""

PATIENCE = 1.0
"""Seconds that the database gets for a batch, and a caller waits for its entry, before the journal is used."""

RETRY = 2.0
"""Seconds between two tries while the database fails."""

REPLAY = 10.0
"""Seconds between two looks for journals that dead processes left."""

LAST_WRITE = 5.0
"""Seconds for which a stopping process waits for the database. What is not written then goes to the journal, and if
somebody is writing to that already, it is waited for as long once more."""


class Ledger:
    """The ledger of this process."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        os.register_at_fork(after_in_child=self._begin)
        self._begin()

    def _begin(self) -> None:
        """Begin with nothing; in a forked process as well, which has none of its parent's threads or entries."""
        self._journal.forget()
        self.spool = Spool(self._journal, settings.USAGE_QUEUE)
        self.writer = Writer(self._store, self._journal)
        self._start_lock = threading.Lock()
        self._wake, self._keep_wanted = threading.Event(), threading.Event()
        self._scribe = Daemon("ai-gateway-ledger", self._write_in_time, self._wake.set, self._write_last)
        self._keeper = Daemon("ai-gateway-keeper", self._keep_in_time, self._keep_wanted.set)
        self._is_failing = self._is_ending = self._is_alone = self._watches_signals = False
        self._retry_at = self._replay_at = 0.0
        self._busy_since: float | None = None
        """When the writer last looked into the queue, if it is at something."""

    @property
    def is_running(self) -> bool:
        """Whether the thread that writes lives."""
        return self._scribe.is_running

    # What calls do.

    def put(self, entry: Entry) -> None:
        """Take an entry, to be written soon. Never waits, never fails."""
        if self._scribe.thread is None and not self._start(is_served=False):
            return
        waiting = self.spool.put(entry)
        if waiting >= BATCH and not self._wake.is_set():
            self._wake.set()
        if waiting > self.spool.room or self._is_ending or self._is_alone:
            self._overflow()

    async def commit(self, entry: Entry) -> None:
        """Take an entry, and wait until it is in the database or on the disk. Never fails: if neither takes it in time,
        that is logged and the call goes on."""
        if not self.is_running and not self._start(is_served=False):
            return
        done = self.spool.await_durable(entry, asyncio.get_running_loop())
        self.put(entry)
        self._wake.set()
        if not self._is_failing and not self._hangs:
            await asyncio.wait([done], timeout=PATIENCE)
        if not done.done():
            self._keep_wanted.set()
            await asyncio.wait([done], timeout=PATIENCE)
        if not done.done():
            self.spool.forsake(entry)
            logger.error("%s: neither the database nor the journal has taken this call so far", entry.request_id)

    @property
    def _hangs(self) -> bool:
        """Whether the writer has been at something for longer than anybody waits for it."""
        since = self._busy_since
        return since is not None and time.monotonic() - since > PATIENCE

    def _overflow(self) -> None:
        if self._is_ending or self._is_alone:
            self.spool.keep()  # Now, even if that takes a moment: there may be nobody left to do it later.
            return
        self._keep_wanted.set()
        if self.spool.is_overfull:
            self.spool.lose_last()

    # The beginning and the end.

    def start(self) -> None:
        """Start the threads if they do not run yet. Called by a server that calls `stop`, too."""
        self._start(is_served=True)

    def _start(self, *, is_served: bool) -> bool:
        """Start the threads, if usage is to be written down at all; tell whether entries are taken."""
        with self._start_lock:
            if self.is_running:
                return True
            if not settings.USAGE or not self._store.has_database():
                return False
            self.spool.room = settings.USAGE_QUEUE
            self._is_alone = not self._scribe.start()  # Until the next call tries it again.
        atexit.unregister(self.stop)
        atexit.register(self.stop)
        if not is_served:
            self._watch_signals()
        return True

    def _watch_signals(self) -> None:
        """Notice a SIGTERM, beside the server. From then on entries are on the disk when `put` returns."""
        server = signal.getsignal(signal.SIGTERM)
        is_main = threading.current_thread() is threading.main_thread()  # No other thread may ask for signals.
        if self._watches_signals or not callable(server) or not is_main:
            return
        self._watches_signals = True

        def receive(number: int, frame: FrameType | None) -> None:
            self._is_ending = True
            # Not here: the signal may have come within `set`, which waits for itself then, and for ever.
            with suppress(RuntimeError):
                _thread.start_new_thread(self._keep_wanted.set, ())
            server(number, frame)

        signal.signal(signal.SIGTERM, receive)

    def stop(self) -> None:
        """Write what there is, to the journal what the database does not take in time, and end the threads."""
        self._scribe.end(LAST_WRITE)
        if not self.spool.keep(LAST_WRITE):
            self.spool.lose_rest("the process ends, and neither the database nor the journal takes it")
        self._keeper.end(PATIENCE)
        self._journal.close()

    # The writer.

    def _write_in_time(self) -> None:
        self._keeper.start()
        self._wake.wait(settings.USAGE_INTERVAL)
        self._wake.clear()
        self._work()

    def _write_last(self) -> None:
        if not self._is_failing:
            self._work()
        self._store.release()

    def _work(self) -> None:
        """Write what is in the queue, and what is in journals; to the journal if the database fails."""
        if self._is_failing and time.monotonic() < self._retry_at:
            self.spool.keep()
            return
        try:
            if not self._write_queue():
                self._store.release()  # There is nothing to do: let the connection serve somebody else.
            self._replay()
        except Unavailable as error:
            self._do_without(str(error))
        except Exception:
            # A bug must end neither the thread nor what it has in hand.
            logger.exception("Usage records cannot be written")
            self._do_without("see above")
        else:
            if self._is_failing:
                logger.warning("The database takes usage records again.")
            self._is_failing = False
        finally:
            self._busy_since = None

    def _write_queue(self) -> bool:
        """Write what waits. Tell whether there was anything."""
        count = 0
        while (batch := self._take()) is not None:
            written = self.writer.write(batch.entries)
            self.spool.settle(batch)
            announce(written)
            count += 1
        return count > 0

    def _take(self) -> Batch | None:
        self._busy_since = time.monotonic()
        return self.spool.take(BATCH)

    def _replay(self) -> None:
        if self.is_running and time.monotonic() >= self._replay_at:
            self._replay_at = time.monotonic() + REPLAY
            try:
                self._journal.replay(self._write_again)
            except OSError as error:
                logger.error("The journal of usage records cannot be read: %s", error)

    def _write_again(self, entries: Sequence[Entry]) -> None:
        """Write a piece of a journal, after what came in the meantime: a journal may be long, and calls wait."""
        self._write_queue()
        announce(self.writer.write_again(entries))

    def _do_without(self, reason: str) -> None:
        if not self._is_failing:
            logger.error("The database does not take usage records, they go to the journal: %s", reason)
        self._is_failing = True
        self._retry_at = time.monotonic() + RETRY
        self._replay_at = 0.0  # As soon as the database answers.
        self.spool.give_back()
        self.spool.keep()
        self._store.release()

    # The keeper.

    def _keep_in_time(self) -> None:
        is_wanted = self._keep_wanted.wait(PATIENCE)
        self._keep_wanted.clear()
        if is_wanted or self._hangs:
            self._replay_at = 0.0  # What goes to the journal now is wanted in the database soon.
            self.spool.keep()


ledger: Ledger | None = None
"""The one of this process. The app's `ready()` puts it here."""
