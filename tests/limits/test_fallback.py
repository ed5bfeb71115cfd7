"""While the store of the limits does not answer: what the three policies do, how long it takes, what is logged."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest

from ai_gateway import limits
from ai_gateway.charges import Charges, Counter, State, States, Verdict
from ai_gateway.ids import new_id
from ai_gateway.limits import BACKENDS, LimitStore, StoreUnavailable
from ai_gateway.limits.base import Uncountable
from ai_gateway.limits.fallback import HANGS, RETRY, Fallback
from ai_gateway.limits.memory import MemoryStore
from tests.factories import run
from tests.limits.backends import Clock
from tests.limits.charging import admits, quota, settle, state, take


class Elsewhere(MemoryStore):
    """A store that may fail, or hang."""

    def __init__(self) -> None:
        super().__init__()
        self.is_away = False
        self.hangs = False
        self.asked = 0

    async def admit(self, charges: Charges, ttl: float) -> Verdict:
        await self._answer()
        return await super().admit(charges, ttl)

    async def states(self, counters: Sequence[Counter]) -> States:
        await self._answer()
        return await super().states(counters)

    async def _answer(self) -> None:
        self.asked += 1
        if self.is_away:
            raise StoreUnavailable("connection refused")
        if self.hangs:
            await asyncio.Event().wait()


@pytest.fixture
def elsewhere() -> Elsewhere:
    return Elsewhere()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def fallback(store: LimitStore, clock: Clock, policy: str) -> Fallback:
    return Fallback(store, policy, timeout=0.01, clock=clock)


def test_a_store_that_answers_is_asked(elsewhere: Elsewhere, clock: Clock) -> None:
    store = fallback(elsewhere, clock, "closed")
    assert [run(admits(store, quota(30))) for _ in range(3)] == [True, True, False]
    assert run(state(elsewhere, quota())) == State(60, 0, 0.0)


def test_closed_admits_nothing(elsewhere: Elsewhere, clock: Clock) -> None:
    store = fallback(elsewhere, clock, "closed")
    elsewhere.is_away = True
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match="connection refused"):
            run(take(store, quota()))


@pytest.mark.parametrize("policy", ["closed", "open", "local"])
def test_what_a_store_cannot_count_is_nobody_elses_concern(
    elsewhere: Elsewhere, clock: Clock, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    """The store is there: others are counted by it, whatever the policy."""
    store = fallback(elsewhere, clock, policy)

    async def fails(charges: Charges, ttl: float) -> Verdict:
        raise Uncountable("too much")

    run(take(store, quota(60)))
    with monkeypatch.context() as patch:
        patch.setattr(elsewhere, "admit", fails)
        if policy == "closed":
            with pytest.raises(Uncountable, match="too much"):
                run(take(store, quota()))
        else:
            run(take(store, quota()))
    assert not run(admits(store, quota()))


def test_open_admits_everything(elsewhere: Elsewhere, clock: Clock) -> None:
    store = fallback(elsewhere, clock, "open")
    elsewhere.is_away = True
    verdicts = [run(take(store, quota(50))) for _ in range(5)]
    assert verdicts == [Verdict(True, [State(0, 60, 0.0)])] * 5


def test_local_counts_in_this_process(elsewhere: Elsewhere, clock: Clock) -> None:
    store = fallback(elsewhere, clock, "local")
    elsewhere.is_away = True
    assert [run(admits(store, quota(30))) for _ in range(3)] == [True, True, False]
    assert run(state(store, quota())) == State(60, 0, 0.0)


def test_what_was_counted_locally_is_settled_locally(elsewhere: Elsewhere, clock: Clock) -> None:
    store, call = fallback(elsewhere, clock, "local"), new_id()
    elsewhere.is_away = True
    run(take(store, quota(60), call=call))
    run(settle(store, call, (quota(60), 10)))
    assert run(state(store, quota())) == State(10, 50, 0.0)


def test_what_was_taken_before_is_settled_where_it_was_taken(elsewhere: Elsewhere, clock: Clock) -> None:
    store, call = fallback(elsewhere, clock, "local"), new_id()
    run(take(store, quota(60), call=call))
    elsewhere.is_away = True
    assert run(admits(store, quota(60)))
    run(settle(store, call, (quota(60), 10)))
    elsewhere.is_away = False
    assert run(state(elsewhere, quota())) == State(10, 50, 0.0)


def test_each_outage_counts_anew(elsewhere: Elsewhere, clock: Clock) -> None:
    store, call = fallback(elsewhere, clock, "local"), new_id()
    elsewhere.is_away = True
    run(take(store, quota(60), call=call))
    run(settle(store, call, (quota(60), 60)))
    elsewhere.is_away = False
    clock.advance(RETRY)
    assert run(admits(store, quota(10)))
    elsewhere.is_away = True
    assert run(admits(store, quota(60)))


@pytest.mark.parametrize("policy", ["closed", "open"])
def test_where_counters_stand_is_not_made_up(elsewhere: Elsewhere, clock: Clock, policy: str) -> None:
    elsewhere.is_away = True
    with pytest.raises(StoreUnavailable):
        run(state(fallback(elsewhere, clock, policy), quota()))


def test_a_store_that_hangs_does_not_hang_a_call(elsewhere: Elsewhere, clock: Clock) -> None:
    store = fallback(elsewhere, clock, "closed")
    elsewhere.hangs = True
    with pytest.raises(StoreUnavailable, match="does not answer within"):
        run(take(store, quota()))


def test_one_slow_answer_is_no_outage(elsewhere: Elsewhere, clock: Clock) -> None:
    store = fallback(elsewhere, clock, "open")
    elsewhere.hangs = True
    run(take(store, quota()))
    elsewhere.hangs = False
    run(take(store, quota()))
    assert elsewhere.asked == 2


@pytest.mark.parametrize("fault", ["is_away", "hangs"])
def test_a_store_that_is_away_is_asked_now_and_then(elsewhere: Elsewhere, clock: Clock, fault: str) -> None:
    store = fallback(elsewhere, clock, "open")
    setattr(elsewhere, fault, True)
    for _ in range(HANGS):
        run(take(store, quota()))
    asked = elsewhere.asked
    for _ in range(10):
        run(take(store, quota()))
    assert elsewhere.asked == asked
    clock.advance(RETRY)
    for _ in range(10):
        run(take(store, quota()))
    assert elsewhere.asked == asked + 1
    setattr(elsewhere, fault, False)
    clock.advance(RETRY)
    for _ in range(10):
        run(take(store, quota()))
    assert elsewhere.asked == asked + 11


def test_an_outage_is_logged_when_it_begins_and_when_it_is_over(
    elsewhere: Elsewhere, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    store = fallback(elsewhere, clock, "open")
    elsewhere.is_away = True
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            run(take(store, quota()))
            clock.advance(RETRY)
        elsewhere.is_away = False
        run(take(store, quota()))
        run(take(store, quota()))
    assert [record.getMessage() for record in caplog.records] == [
        "Limits cannot be checked, ON_FAILURE is 'open': connection refused",
        "The store of the limits answers again.",
    ]


def test_a_cancelled_call_is_no_outage(elsewhere: Elsewhere, clock: Clock) -> None:
    store = Fallback(elsewhere, "closed", timeout=60, clock=clock)
    elsewhere.hangs = True

    async def hang_up() -> None:
        admission = asyncio.create_task(take(store, quota()))
        await asyncio.sleep(0)
        admission.cancel()
        await asyncio.wait([admission])
        assert admission.cancelled()

    for _ in range(HANGS):
        run(hang_up())
    elsewhere.hangs = False
    assert run(admits(store, quota()))


class TestStoreOfTheSettings:
    @pytest.fixture(autouse=True)
    def _forget(self) -> None:
        limits.forget()

    def test_memory_is_the_default_and_needs_no_policy(self) -> None:
        assert type(limits.store()) is MemoryStore
        assert limits.store() is limits.store()

    def test_a_store_that_is_elsewhere_has_a_policy(self, settings: object) -> None:
        name = f"{__name__}.{Elsewhere.__name__}"
        settings.AI_GATEWAY = {"LIMIT_STORE": {"BACKEND": name, "ON_FAILURE": "open"}}  # type: ignore[attr-defined]
        store = limits.store()
        assert isinstance(store, Fallback)
        assert isinstance(store.store, Elsewhere)
        store.store.is_away = True
        assert run(admits(store, quota(1000)))

    def test_another_setting_makes_another_store(self, settings: object) -> None:
        before = limits.store()
        settings.AI_GATEWAY = {}  # type: ignore[attr-defined]
        assert limits.store() is not before

    def test_short_names(self) -> None:
        assert set(BACKENDS) == {"memory", "database", "redis"}
