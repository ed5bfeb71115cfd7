"""What was spent before this process began to count: asked for once for each counter, beside the event loop.

A call waits for the answer, for PATIENCE at most: then its counter begins at 0, and what comes late is added when it
comes, without what the counter has counted itself by then. Where nobody can tell, counters begin at 0, which is logged
once until somebody can again.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Protocol

from ai_gateway.charges import Counter
from ai_gateway.limits.workers import Workers

logger = logging.getLogger("ai_gateway")

Seed = Callable[[Counter], int]
"""Tells what was spent of a counter, in its unit. It runs in a thread, and may raise anything."""


class SeedSince(Protocol):
    """One that can leave out the calls that were admitted `since` a time, in seconds since 1970."""

    def __call__(self, counter: Counter, since: float | None = None, /) -> int:
        """Tell what was spent of a counter before."""


PATIENCE = 2.0
"""Seconds for which a call waits to learn what was spent before it."""

THREADS = 2


class Sower:
    """Asks for seeds, and has them sown. `is_unsown` tells whether a counter wants one, `sow` adds it, in a thread;
    `begun_at` tells when a counter began that did not wait for it, in seconds since 1970."""

    def __init__(
        self,
        seed: SeedSince,
        is_unsown: Callable[[Counter], bool],
        sow: Callable[[Counter, int], None],
        begun_at: Callable[[Counter], float | None],
    ) -> None:
        self._seed = seed
        self._is_unsown = is_unsown
        self._sow = sow
        self._begun_at = begun_at
        self._lock = threading.Lock()
        self._asked: dict[str, Future[None]] = {}
        self._is_failing = False
        self._workers = Workers("ai-gateway-seeds", THREADS)

    async def sow(self, counters: Sequence[Counter]) -> None:
        """Wait until these counters are sown, or should begin without."""
        waiting = [asyncio.wrap_future(self._begin(counter)) for counter in counters]
        _, late = await asyncio.wait(waiting, timeout=PATIENCE)
        for each in late:
            each.cancel()
        if late:
            logger.warning("What was spent before is not known yet: %d counters begin at 0", len(late))

    def _begin(self, counter: Counter) -> Future[None]:
        """Ask for a counter's seed, unless somebody has. Nobody can cancel what is given, for others wait for it."""
        with self._lock:
            asked = self._asked.get(counter.name)
            if asked is None:
                asked = Future()
                asked.set_running_or_notify_cancel()
                if not self._is_unsown(counter):
                    asked.set_result(None)
                    return asked
                self._workers.submit(lambda: self._ask(counter, asked))
                self._asked[counter.name] = asked
            return asked

    def _ask(self, counter: Counter, asked: Future[None]) -> None:
        try:
            spent = self._read(counter)
            self._is_failing = False
        except Exception as error:
            spent = 0
            self._note_failure(error)
        with self._lock:
            self._sow(counter, spent)
            self._asked.pop(counter.name, None)
        asked.set_result(None)

    def _read(self, counter: Counter) -> int:
        """Read a counter's seed. What one that began before has counted itself may be written down by now."""
        if self._begun_at(counter) is None:
            spent = self._seed(counter)
            if self._begun_at(counter) is None:
                return spent
        return self._seed(counter, self._begun_at(counter))

    def _note_failure(self, error: Exception) -> None:
        """Log a failure, the first of several: all threads may find out at once."""
        with self._lock:
            is_first, self._is_failing = not self._is_failing, True
        if is_first:
            logger.error("What was spent before cannot be read, limits begin at 0: %s", error)
