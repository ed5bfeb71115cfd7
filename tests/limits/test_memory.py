"""Counters in memory: the contract, and what a store does that forgets when its process ends."""

from __future__ import annotations

from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import run_state_machine_as_test

from ai_gateway.charges import Counter, State, Verdict
from ai_gateway.limits import gcra
from ai_gateway.limits.memory.store import FEW, LONGEST_CALL, MemoryStore
from ai_gateway.limits.memory.tally import RateTally
from tests.effort import times
from tests.factories import run
from tests.limits.backends import Backend, Clock
from tests.limits.charging import admits, end, quota, rate, settle, slot, state, take
from tests.limits.contract import StoreContract
from tests.limits.machine import StoreMachine


class InMemory(Backend):
    """Stores of this process."""

    def new_store(self) -> MemoryStore:
        return MemoryStore(clock=self.clock.nanoseconds, calendar=self.clock)


class TestContract(StoreContract):
    @pytest.fixture
    def backend(self) -> Backend:
        return InMemory()


class MemoryMachine(StoreMachine):
    def new_backend(self) -> Backend:
        return InMemory()


class TestAgainstTheModel:
    def test_any_order_of_events(self) -> None:
        run_state_machine_as_test(MemoryMachine, settings=settings(max_examples=times(30), stateful_step_count=30))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> MemoryStore:
    return MemoryStore(clock=clock.nanoseconds, calendar=clock)


class TestTime:
    def test_setting_the_clock_moves_no_rate(self) -> None:
        monotonic, calendar = Clock(), Clock()
        store = MemoryStore(clock=monotonic.nanoseconds, calendar=calendar)
        run(take(store, rate(60)))
        for jump in (3600, -7200, 3600):
            calendar.advance(jump)
            assert not run(admits(store, rate()))
            assert run(state(store, rate())) == State(60, 0, 60.0)

    @pytest.mark.parametrize("jump", [3600, -3600])
    def test_a_period_is_not_begun_twice(self, jump: int) -> None:
        """The clock is set over the end of a period, and back."""
        monotonic, calendar = Clock(), Clock()
        ends_at = calendar() + 1800
        store = MemoryStore(clock=monotonic.nanoseconds, calendar=calendar)
        run(take(store, quota(60, ends_at=ends_at)))
        for back_and_forth in (jump, -jump):
            calendar.advance(back_and_forth)
            monotonic.advance(61)  # So that it looks for what can be forgotten.
            refused = run(take(store, quota(1, ends_at=ends_at)))
            assert not refused.is_admitted
            assert refused.retry_after is not None
            assert refused.retry_after >= 0
            assert run(state(store, quota(ends_at=ends_at))).resets_in >= 0


class TestMemory:
    def test_what_is_of_no_use_is_forgotten(self, store: MemoryStore, clock: Clock) -> None:
        for number in range(20_000):
            call, charges = f"call {number}", (rate(name=f"r{number}"), slot(name=f"s{number}"))
            run_now(take(store, *charges, call=call))
            end(store, call, *((charge, 1) for charge in charges))
            if number % 1000 == 0:
                clock.advance(61)
        assert len(store._tallies) < 5_000
        assert not store._held

    def test_a_rate_is_not_forgotten_while_a_call_is_under_way_that_may_owe_it_more(
        self, store: MemoryStore, clock: Clock
    ) -> None:
        run(take(store, rate(10), call="long"))
        for number in range(FEW):
            run(take(store, slot(name=f"s{number}")))
        clock.advance(61)
        run(take(store, slot(name="another")))
        run(settle(store, "long", (rate(10), 600)))
        assert run(state(store, rate())).used == 539

    def test_counters_of_past_periods_are_forgotten(self, store: MemoryStore, clock: Clock) -> None:
        for number in range(20):
            ends_at = clock() + 3600
            for user in range(100):
                run_now(take(store, quota(name=f"u{user}", ends_at=ends_at), call=f"call {number} {user}"))
                end(store, f"call {number} {user}", (quota(name=f"u{user}", ends_at=ends_at), 1))
            clock.advance(3600)
        assert len(store._tallies) <= 1100

    def test_slots_of_a_call_that_is_never_settled_are_free_one_day(self, store: MemoryStore, clock: Clock) -> None:
        run(take(store, slot(1), quota(10), call="lost"))
        clock.advance(LONGEST_CALL - 61)
        assert not run(admits(store, slot(1)))
        clock.advance(122)
        assert run(admits(store, slot(1)))
        assert run(state(store, quota())).used == 10
        run(settle(store, "lost", (slot(1), 1), (quota(10), 4)))
        assert [run(state(store, charge)).used for charge in (slot(1), quota())] == [1, 4]

    def test_a_call_that_is_never_settled_is_forgotten_one_day(self, store: MemoryStore, clock: Clock) -> None:
        run(take(store, quota(10), rate(10), call="lost"))
        clock.advance(2 * LONGEST_CALL + 122)
        run(admits(store, slot()))
        assert "lost" not in store._held
        assert run(state(store, quota())).used == 10


def test_a_hundred_thousand_settlements_of_a_hundred_nano_dollars_are_exact(store: MemoryStore) -> None:
    charge = quota(150, 10**12)
    for number in range(100_000):
        call = str(number)
        run_now(take(store, charge, call=call))
        end(store, call, (charge, 100))
    assert run(state(store, charge)).used == 10_000_000


def test_threads_do_not_take_the_same_thing(store: MemoryStore) -> None:
    with ThreadPoolExecutor(8) as pool:
        admitted = list(pool.map(lambda _: run(admits(store, quota(1, 20))), range(200)))
    assert sum(admitted) == 20


@given(st.integers(0, 200), st.integers(0, 100), st.integers(0, 200_000_000), st.integers(0, 200_000_000))
def test_both_forms_of_the_rule_for_rates_agree(amount: int, ceiling: int, arrival: int, now: int) -> None:
    """The database has one statement with a bound, memory has the moved arrival time."""
    counter = rate(amount, ceiling).counter
    taken = arrival_after(counter, amount, arrival, now)
    assert (taken is not None) == (arrival <= gcra.latest(counter, amount, now))
    if taken is not None:
        assert taken == max(arrival, now) + gcra.cost(counter, amount)
    elif ceiling:
        then = now + round(gcra.retry_after(counter, amount, arrival, now) * gcra.MICROSECONDS)
        assert arrival_after(counter, amount, arrival, then) is not None
        assert arrival_after(counter, amount, arrival, then - 1) is None


def arrival_after(counter: Counter, amount: int, arrival: int, now: int) -> int | None:
    """Take so much of a rate that has this arrival time, and give the one after that."""
    return RateTally(arrival).take(counter, amount, now)


def run_now(admission: Coroutine[Any, Any, Verdict]) -> None:
    """Run an admission that waits for nothing, without an event loop."""
    try:
        admission.send(None)
    except StopIteration:
        return
    raise AssertionError("it waits")
