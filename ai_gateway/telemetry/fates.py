"""What becomes of what is sent to a collector of OpenTelemetry's: how much of it arrives, and how much does not.

A collector that is away, or too slow, costs what it would have been told. That is counted here, for the metrics; and
the log says it, once in a while.
"""

from __future__ import annotations

import logging
import math
import threading
import time

logger = logging.getLogger("ai_gateway")

INTERVAL = 60.0
"""Seconds between two lines of the log about what did not arrive."""


class Fates:
    """What became of one kind of things. Noted in any thread."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._told_at = -math.inf
        self._told = (0, 0)
        self.sent = 0
        """What the collector took."""
        self.dropped = 0
        """For what there was no room while it waited to be sent."""
        self.failed = 0
        """What the collector did not take, or could not be told."""

    def note_sent(self, count: int) -> None:
        """Note that the collector took so many."""
        with self._lock:
            self.sent += count

    def note_dropped(self, count: int = 1) -> None:
        """Note that there was no room for so many."""
        with self._lock:
            self.dropped += count
        self._tell_in_time()

    def note_failed(self, count: int) -> None:
        """Note that the collector did not take so many."""
        with self._lock:
            self.failed += count
        self._tell_in_time()

    def _tell_in_time(self) -> None:
        if time.monotonic() - self._told_at >= INTERVAL:
            self.tell()

    def tell(self) -> None:
        """Write into the log what did not arrive since the last time, if anything did not."""
        with self._lock:
            now = self.dropped, self.failed
            dropped, failed = (number - told for number, told in zip(now, self._told, strict=True))
            self._told, self._told_at = now, time.monotonic()
        if dropped or failed:
            logger.warning(
                "OpenTelemetry: %s did not reach the collector: %d were dropped because the queue was full, %d could "
                "not be sent",
                self._what,
                dropped,
                failed,
            )


spans = Fates("spans")
metrics = Fates("exports of metrics")
"""Of metrics each export tells all that there is, unless the site wants differences: one that fails is made up for."""
