"""A few threads for what has to wait for a database, with a connection each, as long as there is something to do.

A thread that has had nothing to do for IDLE seconds gives its connection back and ends: nothing is kept open for calls
that only stream. They are no part of any event loop, so they serve all of them, and an end of one ends no work.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

from django.db import connections

from ai_gateway.limits.base import StoreUnavailable
from ai_gateway.thread_pools import Full, ThreadPool

IDLE = 1.0
"""Seconds without work after which a thread ends."""

P = ParamSpec("P")
Result = TypeVar("Result")


class Workers(ThreadPool):
    """At most `most` threads."""

    def __init__(self, name: str, most: int) -> None:
        super().__init__(name, most, patience=IDLE, last=lambda: connections.close_all())

    def submit(self, work: Callable[P, Result], /, *args: P.args, **kwargs: P.kwargs) -> Future[Result]:
        """Have something done. Raises StoreUnavailable if no thread can be started, and there is none."""
        try:
            return super().submit(work, *args, **kwargs)
        except Full as error:
            raise StoreUnavailable(str(error)) from error
