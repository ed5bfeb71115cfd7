"""What holds for every store of limits, wherever it keeps its counters.

A backend's tests subclass `StoreContract`, and `SharedStoreContract` where what it keeps outlives a process, and have a
fixture `backend` that gives a `Backend` or a `SharedBackend`: empty, with a clock that only moves when a test says so.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest

from ai_gateway.charges import State, Verdict
from ai_gateway.ids import new_id
from ai_gateway.limits.base import Uncountable
from tests.limits.backends import Backend, SharedBackend, scenario
from tests.limits.charging import (
    TTL,
    Charge,
    about,
    admits,
    end,
    of_call,
    quota,
    rate,
    settle,
    slot,
    state,
    states,
    take,
)

BEYOND = [2**53 + 1, 10**17, 2**63 - 1, 2**64, 10**30, 10**320]
"""More than a store can count, in one or the other way."""


class StoreContract:
    """What every store does."""

    # Rates.

    @scenario
    async def test_a_rate_admits_its_ceiling_at_once_and_then_one_by_one(self, backend: Backend) -> None:
        store = backend.open()
        assert [await admits(store, rate()) for _ in range(61)] == [True] * 60 + [False]
        backend.clock.advance(1)
        assert [await admits(store, rate()) for _ in range(2)] == [True, False]

    @scenario
    async def test_retry_after_is_exact(self, backend: Backend) -> None:
        store = backend.open()
        await take(store, rate(57))
        refused = await take(store, rate(10))
        assert (refused.is_admitted, refused.refused, refused.retry_after) == (False, 0, about(7))
        backend.clock.advance(6.99)
        assert not await admits(store, rate(10))
        backend.clock.advance(0.01)
        assert await admits(store, rate(10))

    @scenario
    async def test_a_ceiling_that_does_not_divide_the_window_is_reached(self, backend: Backend) -> None:
        store = backend.open()
        assert [await admits(store, rate(1, 7)) for _ in range(8)] == [True] * 7 + [False]

    @scenario
    async def test_no_span_of_a_window_has_more_than_the_ceiling_and_what_flows_back_in_it(
        self, backend: Backend
    ) -> None:
        store = backend.open()
        admitted: list[float] = []
        for _ in range(40):
            while await admits(store, rate(1, 6)):
                admitted.append(backend.clock())
            backend.clock.advance(7)
        for begin in admitted:
            for length in (0, 1, 10, 59, 60, 120):
                assert sum(begin <= at <= begin + length for at in admitted) <= 6 + length * 6 / 60

    @scenario
    async def test_more_than_the_ceiling_is_admitted_if_nothing_else_was_taken(self, backend: Backend) -> None:
        store = backend.open()
        await take(store, rate(6))
        refused = await take(store, rate(90))
        assert (refused.is_admitted, refused.retry_after) == (False, about(6))
        backend.clock.advance(6)
        assert await admits(store, rate(90))
        assert await state(store, rate()) == State(90, 0, about(90))
        backend.clock.advance(30)
        assert not await admits(store, rate())
        backend.clock.advance(1)
        assert await admits(store, rate())

    @scenario
    async def test_what_a_call_used_beyond_its_charge_is_a_debt(self, backend: Backend) -> None:
        store, call = backend.open(), new_id()
        await take(store, rate(10), call=call)
        await settle(store, call, (rate(10), 100))
        assert await state(store, rate()) == State(100, 0, about(100))
        assert (await take(store, rate())).retry_after == about(41)

    @scenario
    async def test_what_a_call_did_not_use_comes_back(self, backend: Backend) -> None:
        store, call = backend.open(), new_id()
        await take(store, rate(60), call=call)
        await settle(store, call, (rate(60), 20))
        assert (await state(store, rate())).remaining == 40

    @scenario
    async def test_what_came_back_with_time_does_not_come_back_again(self, backend: Backend) -> None:
        store, call = backend.open(), new_id()
        await take(store, rate(60), call=call)
        backend.clock.advance(45)
        await take(store, rate(45))
        await settle(store, call, (rate(60), 0))
        # 15 of the 60 had not come back yet. More would let 105 through in a moment.
        assert (await state(store, rate())).remaining == 15

    @scenario
    async def test_a_call_that_another_limit_refused_makes_no_debt_larger(self, backend: Backend) -> None:
        """What a long call used beyond its charge has flowed back since it began."""
        store, call = backend.open(), new_id()
        await take(store, rate(1, 1), call=call)
        backend.clock.advance(120)
        assert not await admits(store, rate(1, 1), slot(0))
        await settle(store, call, (rate(1, 1), 4))
        assert (await state(store, rate(1, 1))).used == 2

    @scenario
    async def test_a_rate_of_nothing_admits_nothing(self, backend: Backend) -> None:
        store = backend.open()
        assert not await admits(store, rate(1, 0))
        assert (await state(store, rate(1, 0))).remaining == 0

    @scenario
    async def test_tokens_of_a_large_site_are_counted_exactly(self, backend: Backend) -> None:
        store = backend.open()
        ceiling = 20_000_000
        admitted = [await admits(store, rate(1_000_000, ceiling)) for _ in range(21)]
        assert admitted == [True] * 20 + [False]

    # Quotas.

    @scenario
    async def test_a_quota_admits_what_it_has_left(self, backend: Backend) -> None:
        store = backend.open()
        assert [await admits(store, quota(25)) for _ in range(3)] == [True, True, False]
        assert await admits(store, quota(10))
        assert await state(store, quota()) == State(60, 0, 0.0)

    @scenario
    async def test_what_was_used_takes_the_place_of_what_was_reserved(self, backend: Backend) -> None:
        store, call = backend.open(), new_id()
        await take(store, quota(50), call=call)
        await settle(store, call, (quota(50), 20))
        assert await state(store, quota()) == State(20, 40, 0.0)

    @scenario
    async def test_a_call_may_use_more_than_it_reserved_and_the_next_one_is_refused(self, backend: Backend) -> None:
        store, call = backend.open(), new_id()
        await take(store, quota(10), call=call)
        await settle(store, call, (quota(10), 90))
        assert await state(store, quota()) == State(90, 0, 0.0)
        assert not await admits(store, quota())

    @scenario
    async def test_a_quota_is_full_again_when_its_period_is_over(self, backend: Backend) -> None:
        store = backend.open()
        this, following = backend.clock() + 100, backend.clock() + 3700
        await take(store, quota(60, ends_at=this))
        backend.clock.advance(40)
        refused = await take(store, quota(1, ends_at=this))
        assert (refused.is_admitted, refused.retry_after) == (False, about(60))
        backend.clock.advance(60)
        refused = await take(store, quota(1, ends_at=this))  # By a process whose clock is behind.
        assert (refused.is_admitted, refused.retry_after) == (False, 0)
        verdict = await take(store, quota(1, ends_at=following))
        assert verdict.is_admitted
        assert list(verdict.states) == [State(1, 59, about(3600))]

    @scenario
    async def test_a_call_that_outlives_its_period_is_settled_in_it(self, backend: Backend) -> None:
        store, call = backend.open(), new_id()
        this, following = backend.clock() + 100, backend.clock() + 3700
        await take(store, quota(10, ends_at=this), call=call)
        backend.clock.advance(150)
        await take(store, quota(1, ends_at=following))
        await settle(store, call, (quota(10, ends_at=this), 30))
        assert (await state(store, quota(ends_at=following))).used == 1
        assert (await state(store, quota(ends_at=this))).used == 30

    @scenario
    async def test_nobody_knows_when_a_quota_in_all_has_something_left(self, backend: Backend) -> None:
        store = backend.open()
        refused = await take(store, quota(61))
        assert (refused.is_admitted, refused.refused, refused.retry_after) == (False, 0, None)

    @scenario
    async def test_money_is_exact(self, backend: Backend) -> None:
        store = backend.open()
        ceiling = 10**15  # A million dollars, in nano-dollars.
        await take(store, quota(ceiling - 100, ceiling))
        assert await admits(store, quota(100, ceiling))
        assert not await admits(store, quota(1, ceiling))

    # Calls at once.

    @scenario
    async def test_as_many_calls_at_once_as_the_ceiling_says(self, backend: Backend) -> None:
        store, first = backend.open(), new_id()
        assert (await take(store, slot(), call=first)).is_admitted
        assert await admits(store, slot())
        refused = await take(store, slot())
        assert (refused.is_admitted, refused.refused, refused.retry_after) == (False, 0, None)
        await settle(store, first, (slot(), 1))
        assert await state(store, slot()) == State(1, 1, 0.0)
        assert await admits(store, slot())

    # All of them.

    @scenario
    async def test_all_are_taken_or_none(self, backend: Backend) -> None:
        store = backend.open()
        refused = await take(store, quota(5, name="a"), rate(5, name="b"), slot(name="c"), quota(61, name="d"))
        assert (refused.is_admitted, refused.refused) == (False, 3)
        untouched = await states(store, quota(name="a"), rate(name="b"), slot(name="c"), quota(name="d"))
        assert [each.used for each in untouched] == [0, 0, 0, 0]

    @scenario
    async def test_what_takes_no_waiting_may_be_taken_at_once(self, backend: Backend) -> None:
        store = backend.open()
        verdict = store.admit_now(of_call(new_id(), rate(10), quota(10), slot()))
        taken = [0, 0, 0] if verdict is None else [10, 10, 1]
        assert [each.used for each in await states(store, rate(), quota(), slot())] == taken

    @scenario
    async def test_a_verdict_has_the_states_in_the_order_of_the_charges(self, backend: Backend) -> None:
        store = backend.open()
        verdict = await take(store, rate(6, name="a"), slot(name="b"), quota(20, name="c"))
        assert verdict.is_admitted
        assert (verdict.refused, verdict.retry_after) == (None, None)
        assert list(verdict.states) == [State(6, 54, about(6)), State(1, 1, 0.0), State(20, 40, 0.0)]

    @scenario
    async def test_a_refusal_tells_where_counters_stand(self, backend: Backend) -> None:
        store = backend.open()
        await take(store, rate(60, name="a"))
        refused = await take(store, rate(6, name="a"), quota(20, name="b"))
        assert refused.refused == 0
        assert [each.remaining for each in refused.states] == [0, 60]

    @scenario
    async def test_what_is_soft_counts_and_never_refuses(self, backend: Backend) -> None:
        store = backend.open()
        soft = [rate(90, is_soft=True), quota(90, is_soft=True), slot(0, is_soft=True)]
        assert await admits(store, *soft)
        verdict = await take(store, *soft)
        assert verdict.is_admitted
        assert [each.used for each in verdict.states] == [180, 180, 2]
        assert [each.remaining for each in verdict.states] == [0, 0, 0]

    @scenario
    async def test_a_charge_is_settled_once(self, backend: Backend) -> None:
        store, call = backend.open(), new_id()
        charges = [rate(10), quota(10), slot()]
        await take(store, *charges, call=call)
        for _ in range(3):
            await settle(store, call, *((charge, 4) for charge in charges))
        assert [each.used for each in await states(store, *charges)] == [4, 4, 0]

    @scenario
    async def test_charges_may_be_settled_one_by_one(self, backend: Backend) -> None:
        store, call = backend.open(), new_id()
        await take(store, rate(10), quota(10), call=call)
        await settle(store, call, (quota(10), 4))
        assert [each.used for each in await states(store, rate(), quota())] == [10, 4]
        await settle(store, call, (rate(10), 4), (quota(10), 9))
        assert [each.used for each in await states(store, rate(), quota())] == [4, 4]

    @scenario
    async def test_what_was_never_taken_is_not_settled(self, backend: Backend) -> None:
        store = backend.open()
        await settle(store, new_id(), (rate(10), 50), (quota(10), 50), (slot(), 1))
        assert [each.used for each in await states(store, rate(), quota(), slot())] == [0, 0, 0]

    @scenario
    async def test_a_call_may_take_again_what_it_gave_back(self, backend: Backend) -> None:
        """A target failed, and the next one has the same provider: nobody waits for the first to be settled."""
        store, call = backend.open(), new_id()
        charges = [rate(10), quota(10), slot(1)]
        for _ in range(3):
            verdict = await take(store, *charges, call=call)
            assert verdict.is_admitted
            end(store, call, *((charge, 0) for charge in charges))
        await take(store, *charges, call=call)
        await settle(store, call, *((charge, 7) for charge in charges))
        assert [each.used for each in await states(store, *charges)] == [7, 7, 0]

    @scenario
    async def test_a_call_may_take_of_more_counters_later(self, backend: Backend) -> None:
        store, call = backend.open(), new_id()
        await take(store, quota(10, name="a"), call=call)
        await take(store, quota(10, name="b"), call=call)
        await settle(store, call, (quota(10, name="a"), 1), (quota(10, name="b"), 2))
        assert [each.used for each in await states(store, quota(name="a"), quota(name="b"))] == [1, 2]

    @scenario
    @pytest.mark.parametrize("amount", BEYOND)
    async def test_a_charge_beyond_all_measure_harms_no_other(self, backend: Backend, amount: int) -> None:
        """It is taken, refused or an error of its own. Others are counted as before."""
        store, call = backend.open(), new_id()
        await take(store, quota(10), slot(9), call=call)
        beyond: list[Charge] = [
            rate(amount, name="beyond"),
            quota(amount, name="beyond"),
            quota(amount, name="beyond", is_soft=True),
            rate(amount, name="soft", is_soft=True),
        ]
        verdicts = await asyncio.gather(
            take(store, quota(20), rate(20), slot(9)),
            *(take(store, charge) for charge in beyond),
            take(store, quota(10), rate(10), slot(9)),
            return_exceptions=True,
        )
        assert all(isinstance(each, Verdict | Uncountable) for each in verdicts)
        for each in (verdicts[0], verdicts[-1], await take(store, quota(10), rate(10), slot(9))):
            assert isinstance(each, Verdict)
            assert each.is_admitted
        await settle(store, call, (quota(10), 7), (slot(9), 1))
        assert [each.used for each in await states(store, quota(), rate(), slot(9))] == [47, 40, 3]

    @scenario
    @pytest.mark.parametrize("amount", BEYOND)
    async def test_nor_does_what_was_used_beyond_all_measure(self, backend: Backend, amount: int) -> None:
        store, call, other = backend.open(), new_id(), new_id()
        await take(store, rate(10, name="beyond"), quota(10, name="beyond"), call=call)
        await take(store, quota(10), slot(9), call=other)
        end(store, call, (rate(10, name="beyond"), amount), (quota(10, name="beyond"), amount))
        await settle(store, other, (quota(10), 7), (slot(9), 1))
        assert await admits(store, quota(10), rate(10))
        assert [each.used for each in await states(store, quota(), rate(), slot(9))] == [17, 10, 0]

    @scenario
    async def test_a_rate_owes_a_day_at_most(self, backend: Backend) -> None:
        """A process that died with a charge of a million ceilings takes a rate away for a day, and not for years."""
        store, call = backend.open(), new_id()
        assert await admits(store, rate(10**9))
        assert (await take(store, rate())).retry_after == about(86_400 - 59)
        await take(store, rate(10**9, name="other"), call=call)
        await settle(store, call, (rate(10**9, name="other"), 0))
        assert (await state(store, rate(name="other"))).used == 0

    @scenario
    async def test_no_charges_are_admitted(self, backend: Backend) -> None:
        verdict = await take(backend.open())
        assert (verdict.is_admitted, list(verdict.states)) == (True, [])

    @scenario
    async def test_to_look_takes_nothing(self, backend: Backend) -> None:
        store = backend.open()
        for _ in range(3):
            found = await states(store, rate(50), quota(50), slot())
            assert list(found) == [State(0, 60, 0.0), State(0, 60, 0.0), State(0, 2, 0.0)]

    @scenario
    async def test_names_may_be_anything(self, backend: Backend) -> None:
        store = backend.open()
        names = ["a", "A", "a ", "ä", "日本", "x" * 600, "x" * 601, "a\x00b", "a{b}", "a%b_c*", "'; DROP", "\ud7ff"]
        for amount, name in enumerate(names, 1):
            await take(store, quota(amount, name=name))
        found = await states(store, *(quota(name=name) for name in names))
        assert [each.used for each in found] == list(range(1, len(names) + 1))

    @scenario
    async def test_of_many_at_once_exactly_as_many_are_admitted_as_there_is_room_for(self, backend: Backend) -> None:
        store = backend.open()
        verdicts = await asyncio.gather(*(take(store, quota(1, 20), rate(1, 1000)) for _ in range(200)))
        assert sum(verdict.is_admitted for verdict in verdicts) == 20
        assert [each.used for each in await states(store, quota(1, 20), rate(1, 1000))] == [20, 20]

    @scenario
    async def test_a_call_that_does_not_wait_any_more_has_taken_nothing(self, backend: Backend) -> None:
        store = backend.open()
        for patience in range(12):
            admission = asyncio.create_task(take(store, quota(10, 1000), slot(100), rate(10, 1000)))
            for _ in range(patience):
                await asyncio.sleep(0.001)
            # Its caller hung up. Whoever does not get a verdict settles nothing, however far the store got.
            admission.cancel()
            await asyncio.wait([admission])
            if not admission.cancelled():
                break
        await store.flush()
        taken = 0 if admission.cancelled() else 10
        assert [each.used for each in await states(store, quota(10, 1000), rate(10, 1000))] == [taken, taken]

    @scenario
    async def test_a_store_can_be_used_again_after_it_was_closed(self, backend: Backend) -> None:
        store, call = backend.open(), new_id()
        await take(store, quota(10), call=call)
        end(store, call, (quota(10), 7))
        await store.aclose()
        assert (await state(store, quota())).used == 7
        assert await admits(store, quota())

    def test_a_store_serves_one_event_loop_after_another(self, backend: Backend) -> None:
        store = backend.open()
        assert all(asyncio.run(admits(store, quota())) for _ in range(3))
        asyncio.run(backend.close())


class SharedStoreContract(StoreContract):
    """What a store does besides whose counters belong to several processes."""

    @scenario
    async def test_all_processes_count_together(self, backend: SharedBackend) -> None:
        one, other = backend.open(), backend.open()
        stores = itertools.cycle([one, other])
        assert [await admits(next(stores), rate(1, 5), quota(1, 4)) for _ in range(6)] == [True] * 4 + [False] * 2
        assert await state(one, rate(1, 5)) == await state(other, rate(1, 5))

    @scenario
    async def test_of_many_processes_at_once_that_are_the_first_exactly_as_many_are_admitted(
        self, backend: SharedBackend
    ) -> None:
        stores = [backend.open() for _ in range(4)]
        verdicts = await asyncio.gather(*(take(stores[n % 4], quota(1, 5), slot(5), rate(1, 50)) for n in range(8)))
        assert sum(verdict.is_admitted for verdict in verdicts) == 5
        assert [each.used for each in await states(stores[0], quota(1, 5), slot(5), rate(1, 50))] == [5, 5, 5]

    @scenario
    async def test_what_a_dead_process_reserved_counts_as_spent(self, backend: SharedBackend) -> None:
        dead, alive = backend.open(), backend.open()
        for _ in range(5):
            await take(dead, quota(10))
        await backend.kill(dead)
        for _ in range(3):
            backend.clock.advance(TTL)
            await backend.renew(alive)
            assert await state(alive, quota()) == State(50, 10, 0.0)
        assert [await admits(alive, quota(10)) for _ in range(2)] == [True, False]

    @scenario
    async def test_calls_of_a_dead_process_are_no_calls_at_once_any_more(self, backend: SharedBackend) -> None:
        dead, alive = backend.open(), backend.open()
        assert [await admits(dead, slot()) for _ in range(3)] == [True, True, False]
        await backend.kill(dead)
        backend.clock.advance(TTL - 1)
        assert not await admits(alive, slot())
        backend.clock.advance(2)
        assert [await admits(alive, slot()) for _ in range(3)] == [True, True, False]

    @scenario
    async def test_calls_of_a_living_process_do_not_expire(self, backend: SharedBackend) -> None:
        store, other, call = backend.open(), backend.open(), new_id()
        await take(store, quota(10), slot(1), call=call)
        for _ in range(4):
            backend.clock.advance(TTL * 0.6)
            await backend.renew(store)
            await backend.renew(other)
            assert not await admits(other, slot(1))
        await settle(store, call, (quota(10), 3), (slot(1), 1))
        assert [each.used for each in await states(other, quota(), slot(1))] == [3, 0]

    @scenario
    async def test_what_had_expired_is_corrected_when_it_is_settled_after_all(self, backend: SharedBackend) -> None:
        """A process that was stopped for a while, and goes on."""
        slow, other, call = backend.open(), backend.open(), new_id()
        await take(slow, quota(10), slot(), rate(10), call=call)
        await backend.kill(slow)
        backend.clock.advance(TTL + 1)
        await backend.renew(other)
        assert await admits(other, slot())
        assert (await state(other, quota())).used == 10
        for _ in range(2):
            await settle(slow, call, (quota(10), 25), (slot(), 1), (rate(10), 10))
        assert [each.used for each in await states(other, quota(), slot(), rate())] == [25, 1, 0]

    @scenario
    async def test_a_store_that_is_closed_has_settled(self, backend: SharedBackend) -> None:
        store, call = backend.open(), new_id()
        await take(store, quota(10), call=call)
        end(store, call, (quota(10), 7))
        await store.aclose()
        assert (await state(backend.open(), quota())).used == 7
