"""Where stores under test keep their counters, and the clock that they go by."""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from typing import Any

from ai_gateway.limits import LimitStore


class Clock:
    """A time in seconds since 1970, exact to a microsecond, that stands still."""

    def __init__(self) -> None:
        self._microseconds = 1_800_000_000_000_000

    def __call__(self) -> float:
        return self._microseconds / 1e6

    def nanoseconds(self) -> int:
        return self._microseconds * 1000

    def advance(self, seconds: float) -> None:
        self._microseconds += round(seconds * 1e6)


class Backend(ABC):
    """Where stores under test keep their counters."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.stores: list[LimitStore] = []

    def open(self) -> LimitStore:
        """Give one more store on the same counters, as of another process. It is closed after the test."""
        store = self.new_store()
        self.stores.append(store)
        return store

    @abstractmethod
    def new_store(self) -> LimitStore:
        """Make a store that goes by the clock."""

    async def close(self) -> None:
        """Close all stores."""
        for store in self.stores:
            await store.aclose()


class SharedBackend(Backend):
    """One whose counters belong to all processes, and outlive them."""

    @abstractmethod
    async def renew(self, store: LimitStore) -> None:
        """Have a store do now what it does by itself long before the reservations of its living calls expire."""

    @abstractmethod
    async def kill(self, store: LimitStore) -> None:
        """End a store as the death of its process does: it renews nothing any more."""


Scenario = Callable[..., Coroutine[Any, Any, None]]


def scenario(steps: Scenario) -> Callable[..., None]:
    """Run a test that awaits, in an event loop of its own."""

    async def play(self: Any, backend: Backend, **parameters: Any) -> None:
        try:
            await steps(self, backend, **parameters)
        finally:
            await backend.close()

    @functools.wraps(steps)
    def test(self: Any, backend: Any, **parameters: Any) -> None:
        asyncio.run(play(self, backend, **parameters))

    return test
