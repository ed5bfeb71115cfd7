"""Threads that go on beside the calls until they are ended, and end with the process, whatever they do.

That one cannot be started may be a matter of a moment: the container has as many as it may have. Whoever wants it then
tries again. No failure ends it: what would not be done any more is missed long after its cause is forgotten.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

logger = logging.getLogger("ai_gateway")

PAUSE = 1.0
"""Seconds without a turn after one that failed."""


def outlived(do: Callable[[], object]) -> bool:
    """Do something, and outlive whatever happens. Tells whether it went well."""
    try:
        do()
    except Exception:
        logger.exception("The thread %s fails, and goes on", threading.current_thread().name)
        return False
    return True


def nothing() -> None:
    """Do nothing."""


class Daemon:
    """A thread that takes turns. `turn` waits for what there is to do, and does it; `wake` has it wait no longer, and
    may be called in any thread. `last` is done in the thread when it was ended.

    A forked process has no such thread: whoever has one makes another there.
    """

    def __init__(
        self,
        name: str,
        turn: Callable[[], object],
        wake: Callable[[], object] = nothing,
        last: Callable[[], object] = nothing,
    ) -> None:
        self._name = name
        self._turn = turn
        self._wake = wake
        self._last = last
        self._lock = threading.Lock()
        self._is_refused = False
        self.thread: threading.Thread | None = None
        """The thread, if it goes on."""

    @property
    def is_running(self) -> bool:
        """Whether it goes on."""
        return self.thread is not None

    def start(self) -> bool:
        """Start it, unless it runs. Tells whether it does now."""
        if self.thread is None:
            with self._lock:
                if self.thread is None:
                    self._begin()
        return self.is_running

    def _begin(self) -> None:
        thread = self.thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            self.thread = None
            if not self._is_refused:
                logger.error("The thread %s cannot be started, and is tried again: %s", self._name, error)
            self._is_refused = True
        else:
            self._is_refused = False

    def end(self, within: float) -> None:
        """End it after its turn, and wait so many seconds for that. It can be started again."""
        with self._lock:
            thread, self.thread = self.thread, None
        self._wake()
        if thread is not None and thread is not threading.current_thread():
            thread.join(within)

    def leave(self) -> None:
        """Have it end with the turn that it takes; said in that turn. Whoever starts it again starts another thread."""
        self.thread = None

    def _run(self) -> None:
        me = threading.current_thread()
        try:
            while self.thread is me:
                if not outlived(self._turn):
                    time.sleep(PAUSE)
            outlived(self._last)
        finally:
            if self.thread is me:
                self.thread = None  # Something ended it that no thread outlives.
