"""Counters in Redis: the contract, and what is particular about a server that is shared, that hangs and that dies."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import httpx
import pytest
from django.test import override_settings
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from ai_gateway import limits
from ai_gateway.charges import Charge, Settlement, Verdict
from ai_gateway.limits import LimitStore, StoreUnavailable
from ai_gateway.limits.redis import RedisStore
from ai_gateway.limits.redis.batches import Wanted
from ai_gateway.limits.redis.client import Client
from ai_gateway.limits.redis.link import Link
from ai_gateway.limits.redis.script import TAKE
from ai_gateway.meter import new_id
from tests.conftest import GATEWAY_KEY, StartGateway
from tests.databases import ROOT
from tests.limits.contract import (
    TTL,
    SharedBackend,
    SharedStoreContract,
    admits,
    quota,
    rate,
    settle,
    slot,
    take,
)
from tests.limits.machine import StoreMachine
from tests.redis_server import PATIENCE, RedisServer, find_redis
from tests.upstream import Upstream

UNHURRIED = 10.0
"""Seconds for an answer where nothing is meant to be late: the machine may be busy."""

Result = TypeVar("Result")


def new_server(*options: str) -> RedisServer:
    try:
        find_redis()
    except LookupError as error:
        pytest.skip(str(error))
    return RedisServer(*options)


def new_sentinel(server: RedisServer) -> RedisServer:
    """Start a sentinel that watches a server, by the name of limits."""
    sentinel = new_server()
    sentinel.stop()
    configuration = sentinel.folder / "sentinel.conf"
    configuration.write_text(f"port {sentinel.port}\nsentinel monitor limits 127.0.0.1 {server.port} 1\n")
    sentinel.command = [sentinel.program, str(configuration), "--sentinel"]
    sentinel.start()
    return sentinel


@pytest.fixture(scope="module")
def _server() -> Iterator[RedisServer]:
    server = new_server()
    yield server
    server.remove()


@pytest.fixture
def server(_server: RedisServer) -> RedisServer:
    """An empty server, for tests that leave it as it is."""
    _server.ask("FLUSHALL")
    return _server


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """A server to be maltreated."""
    server = new_server()
    yield server
    server.remove()


def play(steps: Coroutine[Any, Any, Result]) -> Result:
    """Run the steps of a test in an event loop, which has closed everything at its end."""
    return asyncio.run(steps)


def open_store(server: RedisServer, **options: Any) -> RedisStore:
    return RedisStore(server.url, **{"timeout": UNHURRIED, **options})


def keys(server: RedisServer) -> list[str]:
    return server.ask("KEYS", "*").decode().split("\r\n")[2::2]


async def used(store: LimitStore, *charges: Charge) -> list[int]:
    return [each.used for each in await store.states(charges)]


async def recovered(store: LimitStore, *charges: Charge) -> list[int]:
    """Tell where counters stand as soon as Redis answers again."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await used(store, *charges)
            except StoreUnavailable:
                await asyncio.sleep(0.05)


class InRedis(SharedBackend):
    """Stores of one server."""

    def __init__(self, server: RedisServer) -> None:
        super().__init__()
        self._server = server

    def new_store(self) -> RedisStore:
        return open_store(self._server, clock=self.clock)

    async def renew(self, store: LimitStore) -> None:
        assert isinstance(store, RedisStore)
        await store.renew()

    async def kill(self, store: LimitStore) -> None:
        assert isinstance(store, RedisStore)
        store.abandon()


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

        run_state_machine_as_test(RedisMachine, settings=settings(max_examples=25, stateful_step_count=25))


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
            await store.states([quota(name="looked at")])

        play(steps())
        found = keys(server)
        assert len(found) >= 6
        for key in found:
            assert key.startswith("{site-a}:")
            assert int(server.ask("PTTL", key)[1:]) > 0, key

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
            link = Link(Client(server.url, UNHURRIED, options={}), tag="t", timeout=UNHURRIED, seed=0, clock=None)
            await link.open()
            charges = [rate(40), quota(40), slot(1)]
            wanted = Wanted(TAKE, new_id(), charges, 300_000_000)
            first, again = [(await link.send((), [wanted]))[0] for _ in range(2)]
            assert [each.used for each in first.states] == [each.used for each in again.states] == [40, 40, 1]
            assert again.code == first.code
            await link.aclose()

        play(steps())

    def test_what_comes_too_late_is_not_done(self, server: RedisServer) -> None:
        """Redis was stopped, and finds what was sent to it when it goes on: whoever sent it has given up."""

        async def steps() -> None:
            link = Link(Client(server.url, UNHURRIED, options={}), tag="t", timeout=-1, seed=0, clock=None)
            await link.open()
            with pytest.raises(StoreUnavailable):
                await link.send((), [Wanted(TAKE, new_id(), [quota(1)], 300_000_000)])
            await link.aclose()

        play(steps())
        assert keys(server) == []

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
                store.settle(call, [Settlement(quota(1, 10_000), 2)])
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
            store.settle(name, [Settlement(quota(10), 3)])

        for _ in range(3):
            play(call())
        assert play(used(store, quota())) == [9]

    def test_what_was_settled_outside_of_a_loop_is_sent_by_the_next(self, server: RedisServer) -> None:
        store, name = open_store(server), new_id()
        play(take(store, quota(10), call=name))
        store.settle(name, [Settlement(quota(10), 3)])

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
            await asyncio.to_thread(store.settle, name, [Settlement(quota(10), 3)])
            await store.flush()
            await store.renew()
            assert await used(store, quota()) == [3]

        play(steps())


class TestRenewal:
    """What calls under way have reserved does not expire while their process lives."""

    def test_it_is_done_by_itself(self, server: RedisServer) -> None:
        async def steps() -> None:
            store, call = open_store(server), new_id()
            await store.admit(call, [quota(10), slot()], 0.6)
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
                store.settle(call, [Settlement(quota(1, 1000), 2), Settlement(slot(1000), 1)])
            await renewed
            await store.flush()
            assert await used(store, quota(1, 1000), slot(1000)) == [600, 0]
            assert b"$-1" in server.ask("ZSCORE", "{ai_gateway}:open-quota:quota:all:total", f"{calls[-1]}:1")

        play(steps())


def expiry(server: RedisServer, call: str) -> float:
    """Tell when a call's reservation expires, in microseconds since 1970."""
    found = server.ask("ZSCORE", "{ai_gateway}:open-quota:quota:all:total", f"{call}:10")
    return float(found.split(b"\r\n")[1])


class TestProcesses:
    """Real ones."""

    def test_of_200_at_once_in_four_processes_exactly_as_many_are_admitted_as_there_is_room_for(
        self, server: RedisServer
    ) -> None:
        code = """
            verdicts = await asyncio.gather(*(take(store, quota(1, 20), slot(1000)) for _ in range(50)))
            print(sum(verdict.is_admitted for verdict in verdicts))
        """
        processes = [process(server, code) for _ in range(4)]
        assert sum(int(each.communicate(timeout=PATIENCE)[0]) for each in processes) == 20
        assert play(used(open_store(server), quota(1, 20), slot(1000))) == [20, 20]

    def test_what_a_killed_process_reserved_counts_as_spent_and_holds_nothing(self, server: RedisServer) -> None:
        code = """
            for _ in range(50):
                assert (await take(store, quota(1, 100), slot(50))).is_admitted
            print("all taken", flush=True)
            await asyncio.sleep(1000)
        """
        killed = process(server, code)
        assert killed.stdout is not None
        assert killed.stdout.readline() == "all taken\n"
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=PATIENCE)

        async def steps() -> None:
            assert not await admits(open_store(server), slot(50))
            later = open_store(server, clock=lambda: time.time() + TTL + 1)
            assert [await admits(later, quota(1, 100), slot(50)) for _ in range(51)] == [True] * 50 + [False]
            assert await used(later, quota(1, 100)) == [100]

        play(steps())

    def test_a_forked_process_leaves_its_parents_connection_alone(self, server: RedisServer) -> None:
        code = """
            await take(store, quota(1), slot())
            child = os.fork()
            if not child:
                # The parent's event loop is no loop of the child's.
                asyncio._set_running_loop(None)
                asyncio.set_event_loop(None)
                asyncio.run(take(store, quota(1)))
                os._exit(0)
            os.waitpid(child, 0)
            await take(store, quota(1))
            print([each.used for each in await store.states([quota(), slot()])])
        """
        assert process(server, code).communicate(timeout=PATIENCE)[0] == "[3, 1]\n"


def process(server: RedisServer, steps: str) -> subprocess.Popen[str]:
    """Start a process that does this with a store."""
    code = (
        "import asyncio, os\n"
        "from ai_gateway.limits.redis import RedisStore\n"
        "from tests.limits.contract import quota, slot, take\n"
        "async def main():\n"
        f"    store = RedisStore({server.url!r}, timeout={UNHURRIED})\n"
        f"    if True:{steps}\n"
        "asyncio.run(main())\n"
    )
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True)


class TestFailures:
    """Redis closes connections, hangs, dies, forgets, and refuses to write."""

    def test_a_connection_that_redis_closed_is_opened_again(self, server: RedisServer) -> None:
        async def steps() -> None:
            store, call = open_store(server), new_id()
            await take(store, quota(10), call=call)
            for _ in range(3):
                server.ask("CLIENT", "KILL", "TYPE", "normal")
                assert await admits(store, quota(1))
            server.ask("CLIENT", "KILL", "TYPE", "normal")
            await settle(store, call, (quota(10), 4))
            assert await used(store, quota()) == [7]

        play(steps())

    def test_there_is_no_server(self, own_server: RedisServer) -> None:
        own_server.stop()

        async def steps() -> None:
            store = open_store(own_server)
            with pytest.raises(StoreUnavailable, match="Redis"):
                await take(store, quota(1))
            with pytest.raises(StoreUnavailable):
                await store.states([quota(1)])
            own_server.start()
            assert await recovered(store, quota()) == [0]

        play(steps())

    def test_a_server_that_hangs(self, own_server: RedisServer) -> None:
        async def steps() -> None:
            store, call = open_store(own_server, timeout=0.25), new_id()
            await take(store, quota(10), call=call)
            own_server.pause()
            refused = await asyncio.gather(*(take(store, quota(1)) for _ in range(5)), return_exceptions=True)
            assert [str(each) for each in refused] == ["Redis did not answer within 0.25 s"] * 5
            store.settle(call, [Settlement(quota(10), 4)])
            own_server.resume()
            await recovered(store, quota())
            await store.flush()
            # What ended meanwhile is settled, and nothing was taken for those who gave up.
            assert await used(store, quota()) == [4]

        play(steps())

    def test_what_ended_while_it_was_away_is_settled_when_it_is_back(self, own_server: RedisServer) -> None:
        own_server.write_everything_down()

        async def steps() -> None:
            store, ended, open_one = open_store(own_server), new_id(), new_id()
            await take(store, quota(10), rate(10), slot(), call=ended)
            await take(store, quota(10), slot(), call=open_one)
            own_server.stop()
            store.settle(ended, [Settlement(quota(10), 4), Settlement(rate(10), 10), Settlement(slot(), 1)])
            with pytest.raises(StoreUnavailable):
                await take(store, quota(1))
            own_server.start()
            await recovered(store)
            async with asyncio.timeout(PATIENCE):
                await store.flush()
            assert await used(store, quota(), slot()) == [14, 1]
            await settle(store, open_one, (quota(10), 5), (slot(), 1))
            assert await used(store, quota(), slot()) == [9, 0]

        play(steps())

    def test_a_server_that_forgot_everything_is_told_again(self, own_server: RedisServer) -> None:
        """What was spent by finished calls tells the seed; what is reserved by others, their process."""

        async def steps() -> None:
            spent = 0
            store, call = open_store(own_server, seed=lambda charge: spent), new_id()
            await take(store, quota(10), slot(), call=call)
            other = new_id()
            await take(store, quota(10), call=other)
            await settle(store, other, (quota(10), 7))
            spent = 7
            own_server.restart()
            assert await recovered(store, quota(), slot()) == [17, 1]
            await settle(store, call, (quota(10), 3), (slot(), 1))
            assert await used(store, quota(), slot()) == [10, 0]

        play(steps())

    @pytest.mark.parametrize(
        ("refuse", "error", "accept"),
        [
            (["REPLICAOF", "127.0.0.1", "1"], "(?i)read.?only", ["REPLICAOF", "NO", "ONE"]),
            (["CONFIG", "SET", "maxmemory", "1"], "OOM|OutOfMemory", ["CONFIG", "SET", "maxmemory", "0"]),
        ],
        ids=["a replica", "full"],
    )
    def test_a_server_that_writes_nothing_gets_it_later(
        self, own_server: RedisServer, refuse: list[str], error: str, accept: list[str]
    ) -> None:
        async def steps() -> None:
            store, call = open_store(own_server), new_id()
            await take(store, quota(10), call=call)
            own_server.ask(*refuse)
            with pytest.raises(StoreUnavailable, match=error):
                await take(store, quota(1))
            store.settle(call, [Settlement(quota(10), 4)])
            own_server.ask(*accept)
            await store.flush()
            assert await used(store, quota()) == [4]

        play(steps())

    def test_a_key_that_somebody_else_wrote_ends_no_other_counter(
        self, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def steps() -> None:
            store, call = open_store(server), new_id()
            await take(store, quota(10, name="broken"), call=call)
            server.ask("SET", "{ai_gateway}:quota:broken:all:total", "foreign")
            store.settle(call, [Settlement(quota(10, name="broken"), 4)])
            broken, whole = await asyncio.gather(
                take(store, rate(1), quota(1, name="broken")), take(store, quota(1)), return_exceptions=True
            )
            assert isinstance(broken, StoreUnavailable)
            assert isinstance(whole, Verdict)
            assert whole.is_admitted
            assert await used(store, rate(), quota()) == [0, 1]

        play(steps())
        assert "WRONGTYPE" in caplog.text

    def test_what_cannot_be_sent_at_the_end_is_told(
        self, own_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ai_gateway.limits.redis.line.LAST", 0.1)

        async def steps(store: RedisStore) -> None:
            call = new_id()
            await take(store, quota(10), call=call)
            own_server.stop()
            store.settle(call, [Settlement(quota(10), 4)])

        store = open_store(own_server)
        play(steps(store))
        assert "1 ended calls are not settled yet" in caplog.text

    def test_its_password_is_in_no_message(self, own_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
        own_server.ask("CONFIG", "SET", "requirepass", "right")
        url = own_server.url.replace("//", "//:wrong-secret@")

        async def steps() -> str:
            with pytest.raises(StoreUnavailable) as caught:
                await take(RedisStore(url, timeout=UNHURRIED), quota(1))
            return str(caught.value)

        assert "secret" not in play(steps()) + caplog.text
        assert play(admits(RedisStore(own_server.url.replace("//", "//:right@"), timeout=UNHURRIED), quota(1)))

    def test_what_is_kept_is_bounded(
        self, own_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("ai_gateway.limits.redis.line.MOST_KEPT", 2)
        own_server.write_everything_down()

        async def steps() -> None:
            store, calls = open_store(own_server), [new_id() for _ in range(5)]
            for call in calls:
                await take(store, quota(10), call=call)
            own_server.stop()
            for call in calls:
                store.settle(call, [Settlement(quota(10), 1)])
            own_server.start()
            async with asyncio.timeout(PATIENCE):
                await store.flush()
            assert await used(store, quota()) == [32]

        play(steps())
        assert "3 ended calls were not settled" in caplog.text


class TestSeeds:
    """What was spent of a quota before Redis knew of it."""

    def test_it_is_asked_once_by_all_who_want_to_know(self, server: RedisServer) -> None:
        asked: list[str] = []

        def seed(charge: Charge) -> int:
            asked.append(charge.counter)
            return 15

        async def steps() -> None:
            store = open_store(server, seed=seed)
            verdicts = await asyncio.gather(*(take(store, rate(1), quota(1, 20)) for _ in range(40)))
            assert sum(verdict.is_admitted for verdict in verdicts) == 5
            assert await used(store, quota(1, 20), rate(1)) == [20, 5]
            await take(open_store(server, seed=seed), quota(1, 20))

        play(steps())
        assert asked == [quota().counter]

    def test_to_look_asks_too(self, server: RedisServer) -> None:
        assert play(used(open_store(server, seed=lambda charge: 15), quota())) == [15]

    def test_where_nobody_can_tell_a_counter_begins_at_0(
        self, server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        def seed(charge: Charge) -> int:
            raise OSError("the database is away")

        assert play(used(open_store(server, seed=seed), quota(name="a"), quota(name="b"))) == [0, 0]
        assert caplog.text.count("the database is away") == 1


class TestDeployments:
    """Other ways to run Redis, and how the settings say so."""

    def test_the_settings_name_it(self, server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "seed", lambda charge: 15)
        entry = {"BACKEND": "redis", "OPTIONS": {"url": server.url, "timeout": UNHURRIED}, "TIMEOUT": UNHURRIED}
        with override_settings(AI_GATEWAY={"LIMIT_STORE": entry}):
            assert play(used(limits.store(), quota(), rate())) == [15, 0]
        assert "{ai_gateway}:quota:quota:all:total" in keys(server)

    def test_a_gateway_keeps_its_limits_there(
        self, server: RedisServer, start_gateway: StartGateway, upstream: Upstream
    ) -> None:
        """Calls on one event loop under the direct door, and on one of many under Django's."""
        limit = {"name": "three a day", "scope": "everyone", "measure": "requests", "window": "day", "amount": 3}
        gateway = start_gateway(
            LIMITS=[limit, {**limit, "name": "two at once", "measure": "concurrency", "window": "", "amount": 2}],
            LIMIT_STORE={"BACKEND": "redis", "OPTIONS": {"url": server.url, "timeout": UNHURRIED}, "TIMEOUT": 60},
        )
        headers = {"authorization": f"Bearer {GATEWAY_KEY}"}
        statuses = [
            httpx.post(f"{gateway.url}/v1/chat/completions", json={"model": "m", "messages": []}, headers=headers)
            for _ in range(4)
        ]
        assert [answer.status_code for answer in statuses] == [200, 200, 200, 429]
        assert len(upstream.requests) == 3

    def test_sentinels_are_asked_for_the_master(self, server: RedisServer) -> None:
        sentinel = new_sentinel(server)
        try:
            store = RedisStore(sentinels=[("127.0.0.1", sentinel.port)], service="limits", timeout=UNHURRIED)
            assert play(admits(store, quota(1)))
        finally:
            sentinel.remove()
        assert "{ai_gateway}:quota:quota:all:total" in keys(server)

    def test_a_cluster(self) -> None:
        server = new_server("--cluster-enabled", "yes")
        try:
            server.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")

            async def steps() -> None:
                store = open_store(server, cluster=True)
                async with asyncio.timeout(PATIENCE):
                    while True:
                        try:
                            assert await admits(store, rate(1), quota(1), slot())
                        except StoreUnavailable:  # It takes a moment until it is a cluster.
                            await asyncio.sleep(0.1)
                        else:
                            break
                assert await used(store, rate(), quota(), slot()) == [1, 1, 1]

            play(steps())
        finally:
            server.remove()
