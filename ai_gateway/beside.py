"""Work over long texts, done beside the event loop.

What is done on the loop keeps everybody's streams waiting. A millisecond or two is nothing, and cheaper than a change
of threads; to look for secrets in megabytes, or to translate a request of thousands of small calls of tools, takes a
tenth of a second and more. So that is given to a few threads. They are no faster, for they share the interpreter with
the loop, but it lets them have it for a few milliseconds at a time.

Nobody waits for a thread: with more to do than they take on, it is done where it is asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from ai_gateway.thread_pools import Full, ThreadPool

P = ParamSpec("P")
T = TypeVar("T")

LONG = 256 * 1024
"""From so many bytes, or letters, on a text is gone over beside the loop."""

THREADS = 2
MOST_WAITING = 16

_threads = ThreadPool("ai-gateway-texts", size=THREADS, most=MOST_WAITING)


async def done(length: int, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """Do work that takes time in proportion to a length. Raises what it raises."""
    if length < LONG:
        return work(*args, **kwargs)
    try:
        given = _threads.submit(work, *args, **kwargs)
    except Full:
        return work(*args, **kwargs)
    return await asyncio.wrap_future(given)
