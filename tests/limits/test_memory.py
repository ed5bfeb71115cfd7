"""Counters in memory: the contract, and what a store does that forgets when its process ends."""

from __future__ import annotations

import pytest

from ai_gateway.limits.memory import MemoryStore
from tests.limits.contract import Backend, StoreContract


class InMemory(Backend):
    """Stores of this process."""

    def new_store(self) -> MemoryStore:
        return MemoryStore(clock=self.clock, calendar=self.clock)


class TestContract(StoreContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return InMemory()
