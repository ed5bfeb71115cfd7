"""A function of the site's own as a guardrail: `async def`, or a plain one, which runs in a thread.

There are as many threads as `THREADS`, for all such functions of a process. One that never returns keeps its thread:
when all are kept, the functions fail, and what follows from that is the settings' to say. Nobody waits for a thread.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import Callable
from typing import Any

from ai_gateway.guardrails.base import Guardrail, Verdict, View
from ai_gateway.thread_pools import Full, ThreadPool

THREADS = 16

Function = Callable[..., Any]

_threads = ThreadPool("ai-gateway-guardrail", size=THREADS, most=THREADS)


around: list[Callable[[], None]] = []
"""What is called in a function's thread, before it and behind it. The app's `ready()` puts here what gives back the
connections to databases that a function has used."""


class Hook(Guardrail):
    """Asks a function, which is given the view, and the options of the settings by name."""

    def __init__(self, function: Function, **options: Any) -> None:
        self._function = function
        self._options = options
        self._is_async = inspect.iscoroutinefunction(function)

    async def review(self, view: View) -> Verdict:
        """See Guardrail.review(). Raises RuntimeError if all threads are kept."""
        if self._is_async:
            verdict: Verdict = await self._function(view, **self._options)
            return verdict
        try:
            work = _threads.submit(contextvars.copy_context().run, self._call, view)
        except Full as error:
            raise RuntimeError(f"all {THREADS} threads for guardrails are busy") from error
        return await asyncio.wrap_future(work)

    def _call(self, view: View) -> Verdict:
        _tidy_up()
        try:
            verdict: Verdict = self._function(view, **self._options)
            return verdict
        finally:
            _tidy_up()

    def check(self) -> None:
        """See Guardrail.check()."""
        try:
            inspect.signature(self._function).bind(None, **self._options)
        except TypeError as error:
            raise ValueError(f"it cannot be called with a view and its options: {error}") from error


def _tidy_up() -> None:
    for each in around:
        each()
