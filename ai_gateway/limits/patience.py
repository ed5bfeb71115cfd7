"""One time limit for many who wait: what `asyncio.timeout` does, with one timer for all of them and none for each.

All have as long, so whoever began first is the first to be late: they stand in a queue, and the timer is for its head.
What was done in time leaves the queue when its turn comes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable
from typing import Any, TypeVar

import msgspec

Result = TypeVar("Result")


class Wait(msgspec.Struct, eq=False):
    """Somebody who waits; no task any more when that is over. `cancelled` is how often the task was before."""

    task: asyncio.Task[Any] | None
    until: float
    cancelled: int
    is_late: bool = False


class Patience:
    """So many seconds, for the tasks of one event loop."""

    def __init__(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        self._seconds = seconds
        self._loop = loop
        self._queue: deque[Wait] = deque()
        self._timer: asyncio.TimerHandle | None = None

    async def wait(self, asked: Awaitable[Result]) -> Result:
        """Wait for something as long as that. Raises TimeoutError."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        wait = Wait(task, self._loop.time() + self._seconds, task.cancelling())
        self._queue.append(wait)
        if self._timer is None:
            self._timer = self._loop.call_at(wait.until, self._look)
        try:
            return await asked
        except asyncio.CancelledError as error:
            if wait.is_late and task.cancelling() <= wait.cancelled + 1:  # By nobody else.
                raise TimeoutError from error
            raise
        finally:
            wait.task = None
            if wait.is_late:
                task.uncancel()

    def _look(self) -> None:
        """End the waiting of those who are late."""
        queue, now = self._queue, self._loop.time()
        while queue and (queue[0].task is None or queue[0].until <= now):
            wait = queue.popleft()
            if wait.task is not None:
                wait.is_late = True
                wait.task.cancel()
        self._timer = self._loop.call_at(queue[0].until, self._look) if queue else None
