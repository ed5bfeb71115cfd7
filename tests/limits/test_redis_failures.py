"""Counters in Redis whose server hangs, dies, forgets or refuses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from itertools import product

import pytest
import uvloop
from django.test import override_settings

from ai_gateway.charges import Counter, Verdict
from ai_gateway.ids import new_id
from ai_gateway.limits import StoreUnavailable
from ai_gateway.limits.base import Uncountable
from ai_gateway.limits.redis import RedisStore
from ai_gateway.limits.redis.batches import Answer, Settled, Wanted
from ai_gateway.limits.redis.client import Client, ScriptFailed
from ai_gateway.limits.redis.link import Link, Stale
from ai_gateway.limits.redis.script import LOOK, RENEW, TAKE
from tests.limits.charging import admits, end, of_call, quota, rate, settle, slot, states, take
from tests.limits.redis_bench import UNHURRIED, new_link, open_store, play, recovered, used
from tests.redis_server import PATIENCE, RedisServer

LOST = {
    "while it was under way": (-100, 10, 30),
    "after it ended, but the seed was read before": (-100, -5, 30),
    "and the seed may have been read before it was written down": (-100, -31, 30),
    "after it ended: the seed has it": (-100, -40, 0),
    "nobody knows when": (0, 10, 0),
}
"""When a quota is begun anew of which a call had taken something: when Redis was known to have that, and when the call
ended, in seconds from then (0: nobody knows), and what is counted of the 30 that it used."""

TAKEN_SINCE = {"before it was taken": (5, 10, 0)}


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

    def test_so_is_one_that_uvloop_found_closed(self, server: RedisServer) -> None:
        async def steps() -> None:
            store = open_store(server)
            await take(store, quota(1))
            (line,) = store._lines.values()
            line._link._client._connection._writer.transport.abort()
            await asyncio.sleep(0)
            assert await admits(store, quota(1))
            await store.aclose()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(steps())

    def test_so_is_one_for_other_commands_that_uvloop_found_closed(self, server: RedisServer) -> None:
        """As those of leases and messages between processes."""

        async def steps() -> None:
            client = Client(server.url, UNHURRIED, options={})
            assert await client.do("PING")
            (connection,) = client._redis.connection_pool._available_connections
            connection._writer.transport.abort()
            await asyncio.sleep(0)
            with pytest.raises(StoreUnavailable, match="closed"):
                await client.do("PING")
            assert await client.do("PING")
            await client.aclose()

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(steps())

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
        """What was spent by finished calls tells the seed; what those used that ended just now, and what is reserved by
        others, their process."""

        async def steps() -> None:
            spent = 0
            store, call = open_store(own_server, seed=lambda charge: spent), new_id()
            await take(store, quota(10), slot(), call=call)
            other = new_id()
            await take(store, quota(10), call=other)
            await settle(store, other, (quota(10), 7))
            spent = 5
            own_server.restart()
            assert await recovered(store, quota(), slot()) == [22, 1]
            await settle(store, call, (quota(10), 3), (slot(), 1))
            assert await used(store, quota(), slot()) == [15, 0]

        play(steps())

    def test_what_a_call_used_is_counted_in_a_quota_that_another_process_began_anew(
        self, own_server: RedisServer
    ) -> None:
        """Redis lost its data, and another process was the first to speak to it: neither Redis nor the seed knew of the
        call. The end of it is told by a process that has not heard of the loss."""

        async def steps() -> None:
            slow, first = (open_store(own_server, seed=lambda counter: 5) for _ in range(2))
            ended, known = new_id(), new_id()
            await take(slow, quota(50, 1000), call=ended)
            await take(slow, quota(30, 1000), call=known)
            own_server.stop()
            own_server.start()
            await recovered(first, quota())
            await take(first, quota(1, 1000))
            await settle(slow, ended, (quota(50, 1000), 40))
            # 5 were spent before, 1 is reserved, 40 were used, and 30 are reserved again.
            assert await used(first, quota(1, 1000)) == [76]
            await settle(slow, known, (quota(30, 1000), 20))
            assert await used(first, quota(1, 1000)) == [66]

        play(steps())

    def test_what_a_call_used_that_was_settled_just_before_the_loss_is_told_again(self, server: RedisServer) -> None:
        """It is not written down yet, and another process, which knows nothing of the call, begins the quota anew. The
        connection is there all the time."""

        async def steps() -> None:
            first, other = (open_store(server, seed=lambda counter: 5) for _ in range(2))
            ended, under_way = new_id(), new_id()
            await take(first, quota(50, 1000), call=ended)
            await take(first, quota(30, 1000), slot(), call=under_way)
            await settle(first, ended, (quota(50, 1000), 40))
            server.ask("FLUSHALL")
            assert await used(other, quota()) == [5]
            for _ in range(2):
                await states(first, rate())
                await first.flush()
                # 5 were spent before, 40 were used, and 30 are reserved again.
                assert await used(other, quota(), slot()) == [75, 1]

        play(steps())

    def test_a_server_that_knows_only_what_was_a_while_ago_is_told_again(self, own_server: RedisServer) -> None:
        """As a replica does that takes the place of its master: what ended since holds nothing."""

        async def steps() -> None:
            store, ended, session = open_store(own_server), new_id(), new_id()
            await take(store, quota(30), slot(), call=ended)
            await take(store, quota(5), slot(), call=session)
            own_server.ask("SAVE")
            await settle(store, ended, (quota(30), 20), (slot(), 1))
            await settle(store, session, (quota(5), 4))
            await take(store, quota(5), call=session)
            own_server.restart()
            assert await recovered(store, quota(), slot()) != []
            await store.flush()
            assert await used(store, quota(), slot()) == [25, 1]

        play(steps())

    def test_what_ended_is_told_again_until_it_is_written_down(self, server: RedisServer) -> None:
        """However long the site lets that wait."""

        async def steps() -> None:
            with override_settings(AI_GATEWAY={"USAGE_INTERVAL": 60.0}):
                store, call = open_store(server, seed=lambda counter: 5), new_id()
            await take(store, quota(50, 1000), call=call)
            await settle(store, call, (quota(50, 1000), 40))
            await asyncio.sleep(2.5)
            await states(store, rate())
            server.ask("FLUSHALL")
            await states(store, rate())
            await store.flush()
            assert await used(store, quota()) == [45]

        play(steps())

    @pytest.mark.parametrize(("when", "is_late"), [*product(LOST, [True, False]), ("before it was taken", True)])
    def test_it_is_counted_once_if_the_quota_is_begun_anew(self, server: RedisServer, when: str, is_late: bool) -> None:
        """The quota is begun 30 seconds after the seed was read. The end of the call is told late, when there is a
        quota again, or before, each time twice."""
        known, ended, counted = (LOST | TAKEN_SINCE)[when]

        async def steps() -> None:
            link = await open_link(server)
            call, began_at = new_id(), link.answered_at
            times = [began_at + seconds * 1_000_000 if seconds else 0 for seconds in (known, ended)]
            settled = Settled(of_call(call, quota(50)), [30], [times[0]], times[1])
            if not is_late:
                await link.send([settled, settled], [])
            seed = {quota().counter.name: (7, began_at - 30_000_000)}
            look = Wanted(LOOK, of_call(call, quota(1)), seeds=seed)
            await link.send((), [look])
            for _ in range(2):
                (answer,) = await link.send([settled] if is_late else [settled, settled], [look])
                assert answer.states[0].used == 7 + counted
            await link.aclose()

        play(steps())

    def test_it_is_counted_once_if_the_call_ended_while_it_was_reserved_anew(self, server: RedisServer) -> None:
        """Its end tells that Redis had it before the loss, and not since; and it may be told again."""

        async def steps() -> None:
            link = await open_link(server)
            charges = of_call(new_id(), quota(50))
            await link.send((), [Wanted(TAKE, charges, 60_000_000)])
            known_at = link.answered_at
            server.ask("FLUSHALL")
            await link.send((), [Wanted(RENEW, charges, 60_000_000)])
            settled = Settled(charges, [30], [known_at], link.answered_at)
            for _ in range(2):
                (answer,) = await link.send([settled], [Wanted(LOOK, of_call("", quota(0)))])
                assert answer.states[0].used == 30
            await link.aclose()

        play(steps())

    def test_what_a_call_used_that_ended_while_the_seed_was_read_is_counted(self, own_server: RedisServer) -> None:
        """It was written down too late for the seed, and Redis heard of it before there was a quota again."""

        async def steps() -> None:
            is_asked, is_read = threading.Event(), threading.Event()

            def seed(counter: Counter) -> int:
                is_asked.set()
                assert is_read.wait(PATIENCE)
                return 5

            store, call = open_store(own_server, seed=lambda counter: 5), new_id()
            await take(store, quota(50, 1000), call=call)
            own_server.restart()
            looking = asyncio.create_task(recovered(open_store(own_server, seed=seed), quota()))
            assert await asyncio.to_thread(is_asked.wait, PATIENCE)
            await settle(store, call, (quota(50, 1000), 40))
            is_read.set()
            assert await looking == [45]

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

    @pytest.mark.parametrize(
        ("words", "error"),
        [
            (["SET", "foreign"], "WRONGTYPE"),
            (["HSET", "spent", "foreign"], "attempt to"),
            (["HSET", "reserved", "1.5"], "not an integer"),
            (["HSET", "reserved", str(2**63 - 1)], "overflow"),
        ],
        ids=["another type", "no number", "a fraction", "full to the brim"],
    )
    def test_a_key_that_somebody_else_wrote_ends_no_other_counter(
        self, server: RedisServer, caplog: pytest.LogCaptureFixture, words: list[str], error: str
    ) -> None:
        async def steps() -> None:
            store, call = open_store(server), new_id()
            await take(store, quota(10, name="broken", is_soft=True), call=call)
            command, *value = words
            server.ask(command, "{ai_gateway}:quota:broken:all:total", *value)
            broken, whole = await asyncio.gather(
                take(store, rate(1), slot(), quota(1, name="broken", is_soft=True)),
                take(store, quota(1)),
                return_exceptions=True,
            )
            end(store, call, (quota(10, name="broken", is_soft=True), 4))
            await store.flush()
            assert isinstance(broken, Uncountable)
            assert isinstance(whole, Verdict)
            assert whole.is_admitted
            assert await used(store, rate(), slot(), quota()) == [0, 0, 1]

        play(steps())
        assert error in caplog.text

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


async def open_link(server: RedisServer) -> Link:
    link = new_link(server)
    await link.open()
    return link


class TestBatchesThatFail:
    """What cannot be done together is sent one by one, and only what is at fault fails."""

    @pytest.mark.parametrize("is_done", [False, True], ids=["nothing of it is done", "all of it is done"])
    def test_others_are_admitted_and_settled(
        self, server: RedisServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, is_done: bool
    ) -> None:
        send, guilty, ended = Link.send, new_id(), new_id()

        async def fails(link: Link, settled: Sequence[Settled], wanted: Sequence[Wanted]) -> list[Answer]:
            calls = {each.charges.call for each in wanted if each.mode == TAKE} | {each[0].call for each in settled}
            answers = await send(link, settled, wanted) if is_done or guilty not in calls else []
            if guilty in calls:
                raise ScriptFailed("Redis: the script was killed")
            return answers

        async def steps() -> None:
            store, done = open_store(server), new_id()
            await take(store, quota(10, 1000), call=done)
            await take(store, quota(20, 1000), call=ended)
            monkeypatch.setattr(Link, "send", fails)
            end(store, done, (quota(10, 1000), 3))
            verdicts = await asyncio.gather(
                take(store, quota(100, 1000), slot(1), rate(10)),
                take(store, quota(500, 1000), slot(1, name="other"), call=guilty),
                take(store, rate(10), quota(50, 1000)),
                return_exceptions=True,
            )
            assert [type(each) for each in verdicts] == [Verdict, StoreUnavailable, Verdict]
            monkeypatch.setattr(Link, "send", send)
            await settle(store, ended, (quota(20, 1000), 4))
            charges = quota(1, 1000), slot(1), rate(), slot(1, name="other")
            assert await used(store, *charges) == [3 + 100 + 50 + 4, 1, 20, 0]

        play(steps())
        assert f"{guilty}: what the call had reserved will count as spent" in caplog.text

    @pytest.mark.parametrize("failure", [ScriptFailed("killed"), Stale()], ids=repr)
    def test_a_caller_that_hangs_up_before_it_is_sent_again_has_taken_nothing(
        self, server: RedisServer, monkeypatch: pytest.MonkeyPatch, failure: Exception
    ) -> None:
        send = Link.send

        async def steps() -> None:
            store = open_store(server)
            await take(store, quota(1))
            asking = asyncio.create_task(take(store, quota(10), slot()))

            async def fails(link: Link, settled: Sequence[Settled], wanted: Sequence[Wanted]) -> list[Answer]:
                await send(link, settled, wanted)
                monkeypatch.setattr(Link, "send", send)
                asking.cancel()
                raise failure

            monkeypatch.setattr(Link, "send", fails)
            await asyncio.wait([asking, asyncio.create_task(take(store, quota(2)))])
            assert asking.cancelled()
            await store.flush()
            assert await used(store, quota(), slot()) == [3, 0]

        play(steps())
