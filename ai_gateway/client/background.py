"""The event loop on which the calls of synchronous code run: one for the process, in a thread of its own.

Answers stream because it goes on between their pieces, and connections to providers stay open because it goes on
between calls. It is started by the first call, begins anew in a forked process, and ends with the process.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from contextvars import Context
from typing import Any, TypeVar

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds for which a process that ends waits for what is closed."""


class Background:
    """The loop and its thread."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._parents: list[asyncio.AbstractEventLoop] = []
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        os.register_at_fork(after_in_child=self._forget)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something there, and wait for it. What waits no longer cancels it."""
        try:
            loop = self.loop()
        except BaseException:
            work.close()
            raise
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("A synchronous client would wait for itself here. Use async_client().")
        # In a context of its own: asgiref's, copied, would have the loop wait for the thread that waits for the loop.
        future = Context().run(asyncio.run_coroutine_threadsafe, work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def end(self) -> None:
        """End the loop, and all that runs on it."""
        with self._lock:
            loop, self._loop = self._loop, None
            thread, self._thread = self._thread, None
        if loop is not None and thread is not None:
            loop.call_soon_threadsafe(self._ended.set)
            thread.join(PATIENCE)

    def loop(self) -> asyncio.AbstractEventLoop:
        """Give the loop, started if need be."""
        with self._lock:
            if self._loop is None:
                self._begin()
            assert self._loop is not None
            return self._loop

    def _begin(self) -> None:
        """Start it. Raises OSError where there are no files left for a loop, in the thread of who calls."""
        ended = self._ended = asyncio.Event()
        loop = asyncio.new_event_loop()

        async def go_on() -> None:
            await ended.wait()

        def serve() -> None:
            with asyncio.Runner(loop_factory=lambda: loop) as runner:
                runner.run(go_on())

        thread = threading.Thread(target=serve, name="ai-gateway-client", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # There can be no more threads.
            loop.close()
            raise
        self._loop, self._thread = loop, thread
        atexit.unregister(self.end)
        atexit.register(self.end)

    def _forget(self) -> None:
        """Begin anew in a forked process, which has no such thread. The parent's loop is kept, because to take it apart
        would be to say so on the sockets that both have."""
        if self._loop is not None:
            self._parents.append(self._loop)
        self._loop = self._thread = None
        self._lock = threading.Lock()


background = Background()
"""The one of this process."""
