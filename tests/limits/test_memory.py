"""Counters in memory: the contract, and what a store does that forgets when its process ends."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from ai_gateway.limits.memory import MemoryStore
from tests.limits.contract import Backend, StoreContract
from tests.limits.machine import StoreMachine


class InMemory(Backend):
    """Stores of this process."""

    def new_store(self) -> MemoryStore:
        return MemoryStore(clock=self.clock, calendar=self.clock)


class TestContract(StoreContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return InMemory()


class MemoryMachine(StoreMachine):
    def new_backend(self) -> Backend:
        return InMemory()


class TestAgainstTheModel:
    def test_any_order_of_events(self) -> None:
        run_state_machine_as_test(MemoryMachine, settings=settings(max_examples=60, stateful_step_count=30))  # type: ignore[no-untyped-call]
