"""Waiting for what other threads and processes do, on a machine that may be busy."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE = 20.0
"""Seconds: long enough for whatever works at all."""


def until(is_so: Callable[[], object], within: float = PATIENCE) -> None:
    """Wait until something is so. Fails if it never is."""
    end = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < end, f"It was not so within {within:g} s."
        time.sleep(0.005)
