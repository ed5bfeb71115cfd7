"""Virtual keys, looked up on demand: a bounded cache in front of whatever holds them.

A key that was used within the last seconds is answered from memory, with no thread and no query. While it stays in use
it is read again beside the calls, not before them. A key that is not known here waits for one read, however many calls
bring it. A thread of its own reads, one query at a time with all keys that wait, and pauses after a query that found
some of them unknown: whoever tries keys costs the database a few queries a second, and no more by trying faster.

Nothing here is older than TTL, and nothing that was read before the last `invalidate` is used, except while the source
fails: then what was known last stays in use, for MAX_STALE at most.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from ai_gateway.calls import Caller
from ai_gateway.daemons import Daemon
from ai_gateway.errors import KeysUnavailable, Overloaded

logger = logging.getLogger("ai_gateway")

FRESH = 2.0
"""Seconds after which a key in use is read again, beside the calls."""

TTL = 5.0
"""Seconds after which a call waits for what it knows to be read again."""

MAX_STALE = 3600.0
"""Seconds for which a key that was good keeps working while the source cannot be read."""

PATIENCE = 5.0
"""Seconds for which a call waits for its key to be read."""

LAST_READ = 2.0
"""Seconds for which a stopping process waits for the thread."""

BATCH = 500
"""Keys that are read with one query."""

PAUSE = 0.02
"""Seconds between two queries, if the first was partly in vain."""

IDLE = 1.0
"""Seconds without a question after which the thread gives its connection back."""

MAX_FOUND = 50_000
MAX_UNKNOWN = 10_000
MAX_WAITING = 10_000
"""Keys that are remembered, that are remembered not to exist, and that are waited for."""


class KeyRecord(NamedTuple):
    """What there is to know about a key before a call brings it."""

    caller: Caller
    hash_key: bytes
    digest: bytes
    """The HMAC-SHA256 of the whole key, under `hash_key`."""

    problem: str | None = None
    """Why it is not valid, in words for its holder."""

    is_verifiable: bool = True
    """Whether `hash_key` could be read. If not, nobody knows whether a key is the right one."""

    expires_at: float | None = None
    """In seconds of Unix time."""

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Where it may be used from; empty for everywhere."""

    def __repr__(self) -> str:
        return f"KeyRecord({self.caller!r})"


class Entry(NamedTuple):
    """A record, and when the read began that gave it."""

    record: KeyRecord
    read_at: float


class Finding(NamedTuple):
    """What a read gave, None if there is no such key, and when it began."""

    record: KeyRecord | None
    read_at: float


Read = Callable[[Sequence[str]], Mapping[str, KeyRecord]]
Waiting = Future[Finding]


class KeyCache:
    """See the module's docstring. `read` gives the records of public ids, and may take its time; `release` is called in
    the same thread when nothing was asked for a while."""

    def __init__(self, read: Read, release: Callable[[], None]) -> None:
        self._read = read
        self._release = release
        self._found: dict[str, Entry] = {}
        self._unknown: dict[str, float] = {}
        self._valid_since = 0.0
        self._is_failing = False
        self._used: set[object] = set()
        os.register_at_fork(after_in_child=self._begin)
        self._begin()

    def _begin(self) -> None:
        """Begin to read; in a forked process as well, which has no threads, and nobody who waits."""
        self._waiting: dict[str, Waiting] = {}
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._daemon = Daemon("ai-gateway-keys", self._go_on, self._wake.set, self._release)

    # On the event loop.

    def peek(self, public_id: str) -> KeyRecord | None:
        """Give what is known about a key, if it may be used as it is."""
        entry = self._found.get(public_id)
        if entry is None:
            return None
        age = time.monotonic() - entry.read_at
        if age < FRESH and entry.read_at >= self._valid_since:
            return entry.record
        if self._is_failing and age < MAX_STALE:
            self._ask(public_id)
            return entry.record
        if age < TTL and entry.read_at >= self._valid_since:
            self._ask(public_id)
            return entry.record
        return None

    async def find(self, public_id: str) -> KeyRecord | None:
        """Give a key's record, read if need be, or None if there is no such key. Raises KeysUnavailable, and
        Overloaded if too many are looked for."""
        record = self.peek(public_id)
        if record is not None or self._is_unknown(public_id):
            return record
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._read_since(self._valid_since, public_id)
        except (TimeoutError, KeysUnavailable) as error:
            entry = self._found.get(public_id)
            if entry is not None and time.monotonic() - entry.read_at < MAX_STALE:
                return entry.record
            raise KeysUnavailable("Gateway keys cannot be looked up at the moment.", retry_after=1) from error

    async def _read_since(self, moment: float, public_id: str) -> KeyRecord | None:
        """Wait for a read that began after a moment: the one under way may have begun before."""
        while True:
            waiting = self._ask(public_id)
            if waiting is None:
                raise Overloaded("Too many unknown keys are tried at the moment.", retry_after=1)
            # Others may wait for the same: one that hangs up does not cancel it.
            found = await asyncio.shield(asyncio.wrap_future(waiting))
            if found.read_at >= moment:
                return found.record

    def note_used(self, key_id: object) -> None:
        """Remember that a key was used, for whoever writes it down."""
        self._used.add(key_id)

    def _is_unknown(self, public_id: str) -> bool:
        read_at = self._unknown.get(public_id)
        return read_at is not None and read_at >= self._valid_since and time.monotonic() - read_at < TTL

    def _ask(self, public_id: str) -> Waiting | None:
        """Have a key read, and give what to wait for; None if too many are being read."""
        waiting = self._waiting.get(public_id)
        if waiting is not None and self._daemon.is_running:
            return waiting
        with self._lock:
            if len(self._waiting) >= MAX_WAITING:
                return None
            waiting = self._waiting.setdefault(public_id, Future())
        if not self._daemon.start():
            self._fail([public_id], RuntimeError("there is no thread for it"))
        self._wake.set()
        return waiting

    # Anywhere.

    def invalidate(self) -> None:
        """Use nothing any more that was read before now."""
        self._valid_since = time.monotonic()

    def take_used(self) -> set[object]:
        """Give the ids of the keys that were used since the last time."""
        used, self._used = self._used, set()
        return used

    def __len__(self) -> int:
        return len(self._found) + len(self._unknown) + len(self._waiting)

    def stop(self) -> None:
        """End the thread, and forget everything."""
        self._daemon.end(LAST_READ)
        self._found.clear()
        self._unknown.clear()
        self._waiting.clear()

    # In the thread.

    def _go_on(self) -> None:
        if not self._waiting and not self._wake.wait(IDLE):
            self._release()
            self._wake.wait()
        self._wake.clear()
        if self._waiting:
            self._serve()

    def _serve(self) -> None:
        """Read a batch, and pause if that was in vain."""
        batch = list(self._waiting)[:BATCH]
        read_at = time.monotonic()
        try:
            records = self._read(batch)
        except Exception as error:
            # Whatever it is, the callers that wait must be told, and the next ones must find the thread alive.
            self._fail(batch, error)
            time.sleep(PAUSE * 10)
            return
        self._is_failing = False
        for public_id in batch:
            self._store(public_id, records.get(public_id), read_at)
        if len(records) < len(batch):
            time.sleep(PAUSE)

    def _store(self, public_id: str, record: KeyRecord | None, read_at: float) -> None:
        known, other = (self._unknown, self._found) if record is None else (self._found, self._unknown)
        other.pop(public_id, None)
        known.pop(public_id, None)  # To stand at the end: what was read longest ago is dropped first.
        if record is None:
            self._unknown[public_id] = read_at
        else:
            self._found[public_id] = Entry(record, read_at)
        for entries, limit in ((self._found, MAX_FOUND), (self._unknown, MAX_UNKNOWN)):
            while len(entries) > limit:
                del entries[next(iter(entries))]
        with self._lock:
            waiting = self._waiting.pop(public_id, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(Finding(record, read_at))

    def _fail(self, batch: Sequence[str], error: Exception) -> None:
        if not self._is_failing:
            logger.error("Virtual keys cannot be read, those in use keep working: %s", error)
        self._is_failing = True
        for public_id in batch:
            with self._lock:
                waiting = self._waiting.pop(public_id, None)
            if waiting is not None and not waiting.done():
                waiting.set_exception(KeysUnavailable("Gateway keys cannot be looked up at the moment."))
