"""A few threads for what has to wait for a database, with a connection each, as long as there is something to do.

A thread that has had nothing to do for IDLE seconds gives its connection back and ends: nothing is kept open for calls
that only stream. They are no part of any event loop, so they serve all of them, and an end of one ends no work.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from django.db import connections

from ai_gateway.daemons import outlived
from ai_gateway.limits.base import StoreUnavailable

IDLE = 1.0
"""Seconds without work after which a thread ends."""

Result = TypeVar("Result")


class Workers:
    """At most `most` threads."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        """Begin anew: a forked process has none of its parent's threads."""
        self._ready = threading.Condition()
        self._jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()
        self._threads = 0
        self._idle = 0
        self._alive = 0
        self._ends: list[Future[None]] = []

    def submit(self, job: Callable[[], Result]) -> Future[Result]:
        """Have a job done in a thread. One that is cancelled before it began is not done. Raises StoreUnavailable if no
        thread can be started, and there is none."""
        future: Future[Result] = Future()
        with self._ready:
            if self._idle <= len(self._jobs) and self._threads < self._most:
                self._start_another()
            self._jobs.append((future, job))
            self._ready.notify()
        return future

    def _start_another(self) -> None:
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError as error:
            if not self._threads:
                raise StoreUnavailable(f"there is no thread for {self._name}: {error}") from error
        else:
            self._threads += 1
            self._alive += 1

    def dismiss(self) -> Future[None]:
        """End the threads when they have nothing to do. What is given is done when no connection is open any more."""
        ended: Future[None] = Future()
        ended.set_running_or_notify_cancel()
        with self._ready:
            if self._alive:
                self._ends.append(ended)
                self._ready.notify_all()
            else:
                ended.set_result(None)
        return ended

    def _run(self) -> None:
        while (next_job := self._next()) is not None:
            future, job = next_job
            if not future.set_running_or_notify_cancel():
                continue
            try:
                result = job()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
            del future, job, next_job
        outlived(connections.close_all)
        with self._ready:
            self._alive -= 1
            ends, self._ends = (self._ends, []) if not self._alive else ([], self._ends)
        for ended in ends:
            ended.set_result(None)

    def _next(self) -> tuple[Future[Any], Callable[[], Any]] | None:
        """Wait for a job. None: there is none, and the thread is counted out."""
        with self._ready:
            self._idle += 1
            self._ready.wait_for(lambda: self._jobs or self._ends, IDLE)
            self._idle -= 1
            if self._jobs:
                return self._jobs.popleft()
            self._threads -= 1
            return None
