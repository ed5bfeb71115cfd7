"""Counters in Redis: the contract, what Redis holds, and how it is asked."""

from __future__ import annotations

import asyncio
import random
import threading
import time

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from ai_gateway.charges import Counter
from ai_gateway.ids import new_id
from ai_gateway.limits import StoreUnavailable
from ai_gateway.limits.redis import RedisStore
from ai_gateway.limits.redis.batches import Wanted
from ai_gateway.limits.redis.script import TAKE
from tests.effort import times
from tests.limits.backends import SharedBackend
from tests.limits.charging import TTL, end, of_call, quota, rate, settle, slot, states, take
from tests.limits.contract import SharedStoreContract
from tests.limits.machine import StoreMachine
from tests.limits.redis_bench import InRedis, keys, new_link, open_store, play, used
from tests.redis_server import PATIENCE, RedisServer


@pytest.fixture
def backend(server: RedisServer) -> InRedis:
    return InRedis(server)


class TestContract(SharedStoreContract):
    """What holds for every store."""


class TestAgainstTheModel:
    def test_any_order_of_events(self, server: RedisServer) -> None:
        class RedisMachine(StoreMachine):
            def new_backend(self) -> SharedBackend:
                server.ask("FLUSHALL")
                return InRedis(server)

        run_state_machine_as_test(RedisMachine, settings=settings(max_examples=times(15), stateful_step_count=25))


class TestKeys:
    """What Redis holds."""

    def test_all_carry_the_hash_tag_and_expire(self, server: RedisServer) -> None:
        async def steps() -> None:
            store = open_store(server, prefix="site-a")
            charges = [rate(2), quota(2), quota(3, ends_at=time.time() + 60), slot()]
            for actual in (1, 2, 3):
                call = new_id()
                await take(store, *charges, call=call)
                await settle(store, call, *((charge, actual) for charge in charges[: actual + 1]))
            await states(store, quota(name="looked at"))

        play(steps())
        found = keys(server)
        assert len(found) >= 6
        for key in found:
            assert key.startswith("{site-a}:")
            assert int(server.ask("PTTL", key)[1:]) > 0, key

    def test_so_does_what_is_remembered_of_calls_whose_process_died(self, server: RedisServer) -> None:
        async def steps() -> None:
            await take(open_store(server), quota(1))
            later = open_store(server, clock=lambda: time.time() + 2 * TTL)
            assert await used(later, quota()) == [1]

        play(steps())
        assert int(server.ask("PTTL", f"{{ai_gateway}}:open-quota:{quota().counter.name}")[1:]) > 0

    def test_a_rate_is_forgotten_a_while_after_it_was_used(self, server: RedisServer) -> None:
        play(take(open_store(server), rate(1)))
        assert 3600 < int(server.ask("TTL", "{ai_gateway}:rate:rate:all")[1:]) < 86400

    def test_prefixes_count_apart(self, server: RedisServer) -> None:
        async def steps() -> None:
            await take(open_store(server, prefix="a"), quota(7))
            assert await used(open_store(server, prefix="b"), quota()) == [0]

        play(steps())

    def test_what_costs_nothing_can_be_settled_and_expire(self, server: RedisServer) -> None:
        async def steps() -> None:
            store, call = open_store(server), new_id()
            await take(store, quota(0), call=call)
            await settle(store, call, (quota(0), 5))
            await take(store, quota(0))
            later = open_store(server, clock=lambda: time.time() + 2 * TTL)
            assert await used(later, quota()) == [5]

        play(steps())


class TestBatches:
    """Everything goes in batches, and a batch may be sent again."""

    def test_a_batch_that_is_sent_twice_is_done_once(self, server: RedisServer) -> None:
        async def steps() -> None:
            link = new_link(server, tag="t")
            await link.open()
            wanted = Wanted(TAKE, of_call(new_id(), rate(40), quota(40), slot(1)), 300_000_000)
            first, again = [(await link.send((), [wanted]))[0] for _ in range(2)]
            assert [each.used for each in first.states] == [each.used for each in again.states] == [40, 40, 1]
            assert again.code == first.code
            await link.aclose()

        play(steps())

    def test_what_comes_too_late_is_not_done(self, server: RedisServer) -> None:
        """Redis was stopped, and finds what was sent to it when it goes on: whoever sent it has given up."""

        async def steps() -> None:
            link = new_link(server, tag="t", timeout=-1)
            await link.open()
            with pytest.raises(StoreUnavailable):
                await link.send((), [Wanted(TAKE, of_call(new_id(), quota(1)), 300_000_000)])
            await link.aclose()

        play(steps())
        assert keys(server) == ["{t}:since"]

    def test_redis_may_forget_the_script(self, server: RedisServer) -> None:
        async def steps() -> None:
            store = open_store(server)
            await take(store, quota(1))
            server.ask("SCRIPT", "FLUSH")
            await take(store, quota(1))
            assert await used(store, quota()) == [2]

        play(steps())

    def test_thousands_at_once_take_a_few_batches(self, server: RedisServer) -> None:
        async def steps() -> None:
            store = open_store(server)
            calls = [new_id() for _ in range(1000)]
            await asyncio.gather(*(take(store, quota(1, 10_000), call=call) for call in calls))
            for call in calls:
                end(store, call, (quota(1, 10_000), 2))
            await store.flush()
            assert await used(store, quota(1, 10_000)) == [2000]

        before = calls_of_scripts(server)
        play(steps())
        assert calls_of_scripts(server) - before < 30

    def test_answers_do_not_cross_when_callers_hang_up(self, server: RedisServer) -> None:
        """Each counter has a ceiling of its own, which shows in its answer."""
        generator = random.Random(82)

        async def one(store: RedisStore, number: int) -> bool:
            charge = quota(number, 1_000_000 + 2 * number, name=f"n{number}")
            admission = asyncio.create_task(take(store, charge))
            asyncio.get_running_loop().call_later(generator.random() * 0.02, admission.cancel)
            try:
                verdict = await admission
            except asyncio.CancelledError:
                await store.flush()
                assert await used(store, charge) == [0]
                return False
            assert [(each.used, each.remaining) for each in verdict.states] == [(number, 1_000_000 + number)]
            return True

        async def steps() -> None:
            store = open_store(server)
            for start in range(0, 600, 100):
                await asyncio.gather(*(one(store, start + number + 1) for number in range(100)))

        play(steps())


def calls_of_scripts(server: RedisServer) -> int:
    statistics = server.ask("INFO", "commandstats").decode()
    line = next((line for line in statistics.splitlines() if line.startswith("cmdstat_evalsha:")), "calls=0,")
    return int(line.partition("calls=")[2].partition(",")[0])


class TestEventLoops:
    """A process may have several, and they end."""

    def test_what_was_settled_as_the_loop_ended_is_sent(self, server: RedisServer) -> None:
        store = open_store(server)

        async def call() -> None:
            name = new_id()
            await take(store, quota(10), call=name)
            end(store, name, (quota(10), 3))

        for _ in range(3):
            play(call())
        assert play(used(store, quota())) == [9]

    def test_what_was_settled_outside_of_a_loop_is_sent_by_the_next(self, server: RedisServer) -> None:
        store, name = open_store(server), new_id()
        play(take(store, quota(10), call=name))
        end(store, name, (quota(10), 3))

        async def steps() -> None:
            await store.flush()
            assert await used(store, quota()) == [3]

        play(steps())

    def test_loops_at_the_same_time_have_connections_of_their_own(self, server: RedisServer) -> None:
        store = open_store(server)
        admitted: list[bool] = []

        async def calls() -> None:
            verdicts = await asyncio.gather(*(take(store, quota(1, 20)) for _ in range(50)))
            admitted.extend(verdict.is_admitted for verdict in verdicts)

        threads = [threading.Thread(target=play, args=(calls(),)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert (len(admitted), sum(admitted)) == (200, 20)

    def test_a_call_that_another_loop_settles_is_not_renewed(self, server: RedisServer) -> None:
        async def steps() -> None:
            store, name = open_store(server), new_id()
            await take(store, quota(10), call=name)
            await asyncio.to_thread(end, store, name, (quota(10), 3))
            await store.flush()
            await store.renew()
            assert await used(store, quota()) == [3]

        play(steps())


class TestRenewal:
    """What calls under way have reserved does not expire while their process lives."""

    def test_it_is_done_by_itself(self, server: RedisServer) -> None:
        async def steps() -> None:
            store, call = open_store(server), new_id()
            await store.admit(of_call(call, quota(10), slot()), 0.6)
            first = expiry(server, call)
            async with asyncio.timeout(PATIENCE):
                while True:
                    await asyncio.sleep(0.05)
                    if expiry(server, call) > first + 0.6e6:
                        break
            assert await used(store, quota(), slot()) == [10, 1]
            await settle(store, call, (quota(10), 4), (slot(), 1))
            assert await used(store, quota(), slot()) == [4, 0]

        play(steps())

    def test_what_is_settled_while_a_renewal_waits_stays_settled(self, server: RedisServer) -> None:
        async def steps() -> None:
            store = open_store(server)
            calls = [new_id() for _ in range(300)]
            await asyncio.gather(*(take(store, quota(1, 1000), slot(1000), call=call) for call in calls))
            renewed = asyncio.create_task(store.renew())
            await asyncio.sleep(0)
            for call in calls:
                end(store, call, (quota(1, 1000), 2), (slot(1000), 1))
            await renewed
            await store.flush()
            assert await used(store, quota(1, 1000), slot(1000)) == [600, 0]
            assert b"$-1" in server.ask("ZSCORE", "{ai_gateway}:open-quota:quota:all:total", f"{calls[-1]}:1")

        play(steps())


def expiry(server: RedisServer, call: str) -> float:
    """Tell when a call's reservation expires, in microseconds since 1970."""
    found = server.ask("ZSCORE", "{ai_gateway}:open-quota:quota:all:total", f"{call}:10")
    return float(found.split(b"\r\n")[1])


class TestSeeds:
    """What was spent of a quota before Redis knew of it."""

    def test_it_is_asked_once_by_all_who_want_to_know(self, server: RedisServer) -> None:
        asked: list[str] = []

        def seed(counter: Counter) -> int:
            asked.append(counter.name)
            return 15

        async def steps() -> None:
            store = open_store(server, seed=seed)
            verdicts = await asyncio.gather(*(take(store, rate(1), quota(1, 20)) for _ in range(40)))
            assert sum(verdict.is_admitted for verdict in verdicts) == 5
            assert await used(store, quota(1, 20), rate(1)) == [20, 5]
            await take(open_store(server, seed=seed), quota(1, 20))

        play(steps())
        assert asked == [quota().counter.name]

    def test_to_look_asks_too(self, server: RedisServer) -> None:
        assert play(used(open_store(server, seed=lambda charge: 15), quota())) == [15]

    def test_where_nobody_can_tell_a_counter_begins_at_0(
        self, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        def seed(counter: Counter) -> int:
            raise OSError("the database is away")

        assert play(used(open_store(server, seed=seed), quota(name="a"), quota(name="b"))) == [0, 0]
        assert caplog.text.count("the database is away") == 1
