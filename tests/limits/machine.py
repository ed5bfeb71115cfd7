"""Stores against a naive model, in any order of events: calls, their ends, time, and deaths of processes."""

from __future__ import annotations

import asyncio

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from ai_gateway.ids import new_id
from ai_gateway.limits import LimitStore
from tests.limits.backends import Backend, SharedBackend
from tests.limits.charging import TTL, Charge, end, quota, rate, slot, states, take
from tests.limits.model import Model

CHARGES: list[Charge] = [
    *(rate(amount, 60, name="rate a") for amount in (1, 20, 60)),
    *(rate(amount, 6, name="rate b") for amount in (1, 3, 10)),
    *(quota(amount, 100, name="quota a") for amount in (0, 10, 60)),
    *(quota(amount, 50, name="quota b") for amount in (1, 50)),
    slot(2, name="slots"),
]

charges = st.lists(st.sampled_from(CHARGES), min_size=1, max_size=4, unique_by=lambda charge: charge.counter.name)


class StoreMachine(RuleBasedStateMachine):
    """What subclasses are compared by; they say where the counters are kept."""

    calls: Bundle[str] = Bundle("calls")

    def new_backend(self) -> Backend:
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.backend = self.new_backend()
        self.stores: list[LimitStore] = [self.backend.open()]
        self.model = Model()

    @property
    def store(self) -> LimitStore:
        return self.stores[-1]

    @rule(target=calls, wanted=charges)
    def admit(self, wanted: list[Charge]) -> str:
        """A call arrives."""
        call = new_id()
        self.model.expire()
        refused = self.model.refused(wanted)
        verdict = self.loop.run_until_complete(take(self.store, *wanted, call=call))
        assert verdict.is_admitted == (refused is None)
        if refused is None:
            self.model.take(call, wanted, len(self.stores) - 1, TTL)
        else:
            assert verdict.retry_after is None or verdict.retry_after > 0
        assert [state.used for state in verdict.states] == [self.model.used(charge) for charge in wanted]
        return call

    @rule(call=calls, actual=st.sampled_from([0, 1, 10, 70]), share=st.integers(1, 4))
    def settle(self, call: str, actual: int, share: int) -> None:
        """A call ends, or a part of it, or does so for the second time. Its process may have been slow, and go on."""
        takings = [taking for taking in self.model.takings if taking.call == call][:share]
        if not takings:
            return
        self.model.expire()
        store = self.stores[takings[0].store]
        end(store, call, *((taking.charge, actual) for taking in takings))
        self.loop.run_until_complete(store.flush())
        for taking in takings:
            if taking.actual is None:
                self.model.settle(taking, actual)

    @rule(call=consumes(calls))
    def cancel(self, call: str) -> None:
        """A call ends without having used anything."""
        self.settle(call, 0, 4)

    @rule(seconds=st.sampled_from([1, 7, 60, 200]))
    def wait(self, seconds: int) -> None:
        """Time passes. Living processes renew what they hold, and sweep what the dead held."""
        self.backend.clock.advance(seconds)
        self.model.advance(seconds)
        if isinstance(self.backend, SharedBackend):
            self.loop.run_until_complete(self.backend.renew(self.store))
        for taking in self.model.takings:
            if taking.is_open and taking.store == len(self.stores) - 1:
                taking.expires_at = self.model.now + TTL
        self.model.expire()

    @rule()
    def crash(self) -> None:
        """The process dies, or hangs, and another one takes its place."""
        if isinstance(self.backend, SharedBackend):
            self.loop.run_until_complete(self.backend.kill(self.store))
            self.stores.append(self.backend.open())

    @invariant()
    def counters_agree(self) -> None:
        self.model.expire()
        counters = list({charge.counter.name: charge for charge in CHARGES}.values())
        found = self.loop.run_until_complete(states(self.store, *counters))
        for charge, state in zip(counters, found, strict=True):
            assert state.used == self.model.used(charge), charge
            assert 0 <= state.remaining <= charge.counter.ceiling
            assert state.resets_in >= 0

    def teardown(self) -> None:
        self.loop.run_until_complete(self.backend.close())
        self.loop.close()
