"""Threads that go on as long as a block lasts, and blocks in which there are none to be had."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest


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


@contextmanager
def none_can_start() -> Iterator[None]:
    """Let no thread be started, as in a container that has as many as it may have."""

    def fail(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(threading.Thread, "start", fail)
        yield
