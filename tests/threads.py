"""Threads that go on as long as a block lasts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def going_on(threads: Sequence[threading.Thread], is_over: threading.Event) -> Iterator[None]:
    """Start threads, and when the block is over tell them so, and wait for them."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()
