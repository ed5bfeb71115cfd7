"""Threads for work that blocks, started when there is some, in whichever process wants it done.

Python's own pools let no process end before all of their work is done, however long that takes, or what waits for it.
These wait for a moment, and give up the rest.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from ai_gateway.daemons import nothing, outlived

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("ai_gateway")

LAST = 1.0
"""Seconds for which a process that ends waits for what is given to all pools together."""


class Full(Exception):
    """The pool has as much to do as it takes on, or no thread can be started for it."""


class Ended(Exception):
    """The work was not begun, for the process ends."""


_pools: WeakSet[ThreadPool] = WeakSet()


class ThreadPool:
    """A few threads, and a bound for what is given to them: `most` pieces of work, those being done among them, or any
    number if that is None. A thread cannot be stopped, so that work which never returns counts for ever.

    A thread that has had nothing to do for `patience` seconds ends, and does `last` before: it gives back what it has
    kept from one piece of work to the next. None: it waits for ever.
    """

    def __init__(
        self,
        name: str,
        size: int,
        most: int | None = None,
        *,
        patience: float | None = None,
        last: Callable[[], object] = nothing,
    ) -> None:
        self._name = name
        self._size = size
        self._most = most
        self._patience = patience
        self._last = last
        self.begin()
        _pools.add(self)

    def begin(self) -> None:
        """Begin with nothing; in a forked process as well, which has none of its parent's threads or work."""
        self._lock = threading.Lock()
        self._given, self._done = threading.Condition(self._lock), threading.Condition(self._lock)
        self._waiting: dict[Future[Any], Callable[[], Any]] = {}
        self._threads = 0
        self._idle = 0
        self._busy = 0
        self._leaving = 0
        self._dismissals: list[Future[None]] = []

    @property
    def pending(self) -> int:
        """Pieces of work that are not over."""
        return len(self._waiting) + self._busy

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have something done. Raises Full, at once."""
        future: Future[T] = Future()
        with self._lock:
            if self._most is not None and self.pending >= self._most:
                raise Full(f"{self._name} has {self.pending} pieces of work")
            if self._idle <= len(self._waiting) and self._threads < self._size:
                self._start_another()
            self._waiting[future] = partial(work, *args, **kwargs)
            self._given.notify()
        future.add_done_callback(self._leave)
        return future

    def dismiss(self) -> Future[None]:
        """End the threads when they have nothing to do. What is given is done when the last one has ended. What is
        given to the pool from then on is done by others."""
        ended: Future[None] = Future()
        ended.set_running_or_notify_cancel()
        with self._lock:
            if self._threads or self._leaving:
                self._dismissals.append(ended)
                self._given.notify_all()
            else:
                ended.set_result(None)
        return ended

    def finish(self, until: float) -> None:
        """Wait, until a moment of `time.monotonic`, for all that was given; then tell those that wait that they do so
        in vain. What is being done goes on as long as the process does."""
        with self._lock:
            self._done.wait_for(lambda: not self.pending, max(0.0, until - time.monotonic()))
            given_up, self._waiting = self._waiting, {}
        if given_up:
            logger.error("%s: %d pieces of work are given up, for the process ends", self._name, len(given_up))
        for future in given_up:
            if future.set_running_or_notify_cancel():
                future.set_exception(Ended(f"{self._name} did not come to it before the process ended"))

    def _start_another(self) -> None:
        """Start a thread. If that fails those that there are must do. Raises Full if there are none."""
        try:
            threading.Thread(target=self._run, name=f"{self._name}_{self._threads}", daemon=True).start()
        except RuntimeError as error:
            if not self._threads:
                raise Full(f"{self._name} has no thread: {error}") from error
        else:
            self._threads += 1

    def _leave(self, future: Future[Any]) -> None:
        """Let go of work that is over, or that nobody wants any more."""
        if future.cancelled():
            with self._lock:
                self._waiting.pop(future, None)

    # In the threads.

    def _run(self) -> None:
        while (given := self._next()) is not None:
            future, work = given
            try:
                result = work()
            except BaseException as error:
                self._count_out()
                future.set_exception(error)
            else:
                self._count_out()
                future.set_result(result)
                del result
            del given, future, work
        outlived(self._last)
        self._end()

    def _count_out(self) -> None:
        """Make room, before whoever waits for the result has it, and may come again."""
        with self._lock:
            self._busy -= 1
            self._done.notify_all()

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """Wait for work. None: there is none, and the thread is counted out."""
        with self._lock:
            while True:
                self._idle += 1
                self._given.wait_for(lambda: self._waiting or self._dismissals, self._patience)
                self._idle -= 1
                if not self._waiting:
                    self._threads -= 1
                    self._leaving += 1
                    return None
                future = next(iter(self._waiting))
                work = self._waiting.pop(future)
                if future.set_running_or_notify_cancel():
                    self._busy += 1
                    return future, work

    def _end(self) -> None:
        """Tell those who wait for the last thread to end, if this is it."""
        with self._lock:
            self._leaving -= 1
            is_last = not self._threads and not self._leaving
            ended, self._dismissals = (self._dismissals, []) if is_last else ([], self._dismissals)
        for each in ended:
            each.set_result(None)


def finish() -> None:
    """Let what was given to all pools be done, for a moment, because the process ends."""
    until = time.monotonic() + LAST
    for pool in list(_pools):
        pool.finish(until)


def _begin_anew() -> None:
    for pool in list(_pools):
        pool.begin()


atexit.register(finish)
os.register_at_fork(after_in_child=_begin_anew)
