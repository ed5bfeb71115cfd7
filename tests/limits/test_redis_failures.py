"""Counters in Redis: several processes, and a server that hangs, dies, forgets or refuses."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from ai_gateway.charges import Verdict
from ai_gateway.ids import new_id
from ai_gateway.limits import StoreUnavailable
from ai_gateway.limits.redis import RedisStore
from tests.databases import ROOT
from tests.limits.contract import (
    TTL,
    admits,
    end,
    quota,
    rate,
    settle,
    slot,
    states,
    take,
)
from tests.limits.redis_bench import UNHURRIED, open_store, play, recovered, used
from tests.redis_server import PATIENCE, RedisServer


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
            print([each.used for each in await states(store, quota(), slot())])
        """
        assert process(server, code).communicate(timeout=PATIENCE)[0] == "[3, 1]\n"


def process(server: RedisServer, steps: str) -> subprocess.Popen[str]:
    """Start a process that does this with a store."""
    code = (
        "import asyncio, os\n"
        "from ai_gateway.limits.redis import RedisStore\n"
        "from tests.limits.contract import quota, slot, states, take\n"
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
                await states(store, quota(1))
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
            end(store, call, (quota(10), 4))
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
            end(store, ended, (quota(10), 4), (rate(10), 10), (slot(), 1))
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
            end(store, call, (quota(10), 4))
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
            end(store, call, (quota(10, name="broken"), 4))
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
            end(store, call, (quota(10), 4))

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
                end(store, call, (quota(10), 1))
            own_server.start()
            async with asyncio.timeout(PATIENCE):
                await store.flush()
            assert await used(store, quota()) == [32]

        play(steps())
        assert "3 ended calls were not settled" in caplog.text
