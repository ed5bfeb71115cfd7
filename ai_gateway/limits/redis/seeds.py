"""What was spent of a quota that Redis does not have: asked for beside the event loop, once by all who want to know."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from typing import NamedTuple

from ai_gateway.charges import Counter
from ai_gateway.limits.base import StoreUnavailable
from ai_gateway.limits.sowing import PATIENCE, THREADS, Seed
from ai_gateway.limits.workers import Workers

logger = logging.getLogger("ai_gateway")

KEPT = 10.0
"""Seconds for which an answer is good that came too late for those who asked."""


class Past(NamedTuple):
    """What was spent of a counter, and when the reading of it began and ended, in seconds of `time.monotonic()`."""

    spent: int
    read_at: float
    told_at: float


class Seeds:
    """Asks for seeds on behalf of all event loops."""

    def __init__(self, seed: Seed) -> None:
        self._seed = seed
        self._workers = Workers("ai-gateway-seeds", THREADS)
        self._lock = threading.Lock()
        self._asked: dict[str, Future[Past]] = {}
        self._is_failing = False

    async def of(self, counters: Sequence[Counter]) -> list[Past]:
        """Tell what was spent of these counters; 0 where nobody can tell, which is logged until somebody can again.

        Raises StoreUnavailable if that takes too long. The answer is then there for the next who asks.
        """
        asked = [asyncio.wrap_future(self._ask(counter)) for counter in counters]
        try:
            _, late = await asyncio.wait(asked, timeout=PATIENCE)
        finally:
            for each in asked:
                each.cancel()  # Those that are not done: nobody waits for them here.
        if late:
            raise StoreUnavailable("What was spent before is not known yet")
        for counter in counters:
            self._asked.pop(counter.name, None)
        return [each.result() for each in asked]

    def _ask(self, counter: Counter) -> Future[Past]:
        """Ask for a counter's seed, unless somebody has. Nobody can cancel what is given, for others wait for it."""
        with self._lock:
            asked = self._asked.get(counter.name)
            if asked is None or (asked.done() and time.monotonic() - asked.result().told_at > KEPT):
                found = asked = Future()
                asked.set_running_or_notify_cancel()
                self._workers.submit(lambda: found.set_result(self._past_of(counter)))
                self._asked[counter.name] = asked
            return asked

    def _past_of(self, counter: Counter) -> Past:
        read_at = time.monotonic()
        return Past(self._read(counter), read_at, time.monotonic())

    def _read(self, counter: Counter) -> int:
        try:
            spent = self._seed(counter)
        except Exception as error:
            if self._note(is_failing=True):
                logger.error("What was spent before cannot be read, limits begin at 0: %s", error)
            return 0
        self._note(is_failing=False)
        return spent

    def _note(self, *, is_failing: bool) -> bool:
        """Note whether it fails, and tell whether that is news."""
        with self._lock:
            was_failing, self._is_failing = self._is_failing, is_failing
        return was_failing is not is_failing
