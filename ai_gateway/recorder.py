"""Takes recordings off the path of the calls, and has them redacted, encrypted and stored by a thread of its own.

Recordings are for reading, not for accounting: they never make a call wait, and never go to a disk unencrypted. So they
wait in memory, within bounds, for a database that does not answer; what does not fit in is dropped, and the log says
how many. A process that is killed loses those of the last second.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from ai_gateway.calls import Headers
from ai_gateway.daemons import Daemon

logger = logging.getLogger("ai_gateway")

INTERVAL = 0.5
"""Seconds between two looks at what waits."""

BATCH = 50
"""Recordings in one transaction: they are much larger than what else is written."""

ROOM = 64 * 1024 * 1024
"""Bytes of bodies that wait at the most."""

RETRY = 5.0
"""Seconds between two tries while the database fails."""

LAST_WRITE = 5.0
"""Seconds for which a process that ends waits for the last ones."""


class Unavailable(Exception):
    """The database does not take recordings at the moment. They are kept for later."""


class Body(NamedTuple):
    """What is kept of a body, and how many bytes it had."""

    kept: bytes
    length: int


class Recording(msgspec.Struct, frozen=True, kw_only=True):
    """One call, as it passed. Holds credentials still: never shown, never stored as it is."""

    id: str
    at: float
    dialect: str
    path: str
    is_stream: bool
    key_id: Any
    user_id: Any
    request_headers: Headers
    request: Body | None
    """None for an upload, which is never held."""
    status: int
    response_headers: Headers
    response: Body | None
    keeps_headers: bool

    def __repr__(self) -> str:
        return f"Recording(id={self.id!r})"

    @property
    def size(self) -> int:
        """The bytes that it holds in memory, those of the bodies."""
        return sum(len(body.kept) for body in (self.request, self.response) if body is not None)


now = time.time

Store = Callable[[Sequence[Recording]], None]
"""Redacts, encrypts and stores recordings. Raises Unavailable."""


class Recorder:
    """The one of this process. Its thread is started by the first recording: most sites have none."""

    def __init__(self, store: Store, release: Callable[[], None], room: int = ROOM) -> None:
        self._store = store
        self._release = release
        self._room = room
        os.register_at_fork(after_in_child=self._begin)
        self._begin()

    def _begin(self) -> None:
        """Begin with nothing; in a forked process as well."""
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._waiting: deque[Recording] = deque()
        self._size = self.dropped = 0
        self._daemon = Daemon("ai-gateway-recorder", self._go_on, self._wake.set, self._finish)
        self._is_failing = False

    def put(self, recording: Recording) -> None:
        """Take a recording, to be stored soon. Never waits, never fails."""
        with self._lock:
            if self._size + recording.size > self._room:
                self.dropped += 1
                is_first = self.dropped == 1
            else:
                is_first = False
                self._size += recording.size
                self._waiting.append(recording)
        if is_first:
            logger.error("Recordings are dropped: too many wait for the database")
        if not self._daemon.is_running and self._daemon.start():
            atexit.unregister(self.stop)
            atexit.register(self.stop)

    def stop(self) -> None:
        """Store what waits, and end the thread."""
        self._daemon.end(LAST_WRITE)
        if self._waiting:
            logger.error("%d recordings are lost: the process ends", len(self._waiting))

    def _go_on(self) -> None:
        self._wake.wait(RETRY if self._is_failing else INTERVAL)
        self._wake.clear()
        self._work()

    def _finish(self) -> None:
        if not self._is_failing:
            self._work()
        self._release()

    def _work(self) -> None:
        try:
            while self._waiting:
                self._store_some()
            self._is_failing = False
        except Unavailable as error:
            if not self._is_failing:
                logger.error("Recordings wait in memory, the database does not take them: %s", error)
            self._is_failing = True
        self._release()

    def _store_some(self) -> None:
        """Store a batch."""
        batch = [self._waiting[number] for number in range(min(BATCH, len(self._waiting)))]
        try:
            self._store(batch)
        except Unavailable:
            raise
        except Exception:
            self._store_each(batch)
        with self._lock:
            for recording in batch:
                self._waiting.popleft()
                self._size -= recording.size
            if self.dropped:
                logger.error("%d recordings were dropped", self.dropped)
                self.dropped = 0

    def _store_each(self, batch: Sequence[Recording]) -> None:
        """Store what a batch is made of. What a bug stands in the way of is dropped: it would stand there for ever, and
        the others have nothing to do with it."""
        error: Exception | None = None
        count = 0
        for recording in batch:
            try:
                self._store([recording])
            except Unavailable:
                raise
            except Exception as problem:
                error, count = problem, count + 1
        if error is not None:
            logger.error("%d recordings cannot be stored, and are dropped", count, exc_info=error)


recorder: Recorder | None = None
"""The one of this process. The app's `ready()` puts it here."""
