"""Time that passes only where a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop that waits for nothing: with nothing to do, its clock jumps to the next timer. What runs in it must
    not wait for another thread, or for anybody behind a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        selector = self._selector  # type: ignore[attr-defined]
        select = selector.select

        def jump(timeout: float | None) -> Any:
            found = select(None if timeout is None else 0)
            if not found:
                self.now += timeout or 0.0
            return found

        selector.select = jump

    def time(self) -> float:
        """Give the time, in seconds since the loop was made."""
        return self.now


def run_by_jumps(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in such a loop of its own."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(coroutine)


def now() -> float:
    """Tell the time of the running event loop."""
    return asyncio.get_running_loop().time()
