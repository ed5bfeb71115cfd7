"""Threads for work that blocks, started when there is some, in whichever process wants it done."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

P = ParamSpec("P")
T = TypeVar("T")


class Full(Exception):
    """The pool has as much to do as it takes on."""


_pools: WeakSet[ThreadPool] = WeakSet()


class ThreadPool:
    """A few threads, and a bound for what is given to them: `most` pieces of work, those being done among them, or any
    number if that is None. A thread cannot be stopped, so that work which never returns counts for ever.

    Python's own pool, but for the bound, and for forks: of its threads a forked process has none, and does not know.
    """

    def __init__(self, name: str, size: int, most: int | None = None) -> None:
        self._name = name
        self._size = size
        self._most = most
        self.begin()
        _pools.add(self)

    def begin(self) -> None:
        """Begin with nothing; in a forked process as well, which has none of its parent's threads or work."""
        self._lock = threading.Lock()
        self._executor: ThreadPoolExecutor | None = None
        self._pending = 0

    @property
    def pending(self) -> int:
        """Pieces of work that are not over."""
        return self._pending

    def submit(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have something done. Raises Full, at once."""
        with self._lock:
            if self._most is not None and self._pending >= self._most:
                raise Full(f"{self._name} has {self._pending} pieces of work")
            if self._executor is None:
                self._executor = ThreadPoolExecutor(self._size, thread_name_prefix=self._name)
            self._pending += 1
        try:
            future = self._executor.submit(work, *args, **kwargs)
        except BaseException:
            self._end(None)
            raise
        future.add_done_callback(self._end)
        return future

    def _end(self, _: Future[Any] | None) -> None:
        with self._lock:
            self._pending -= 1


def _begin_anew() -> None:
    for pool in list(_pools):
        pool.begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_begin_anew)
