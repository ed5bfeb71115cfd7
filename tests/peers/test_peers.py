"""What the processes of one gateway tell each other."""

from __future__ import annotations

import asyncio
import logging
import queue
import time
from typing import Any

import pytest

from ai_gateway import peers
from ai_gateway.conf import settings
from ai_gateway.limits.base import StoreUnavailable
from ai_gateway.peers import member as members_module
from ai_gateway.peers.member import Member
from ai_gateway.peers.messages import LONGEST, VERSION, Message, decode, encode
from tests.patience import PATIENCE, until
from tests.peers.conftest import Join
from tests.redis_server import RedisServer
from tests.threads import none_can_start


def ask(member: Member, kind: str, within: float = PATIENCE) -> list[dict[str, Any]]:
    return asyncio.run(member.ask(kind, {}, within))


class TestMessages:
    MESSAGE = Message(VERSION, "s", "host:1", "kind", {"seconds": 1.5})

    def test_one_is_read_as_it_was_written(self) -> None:
        assert decode(encode(self.MESSAGE)) == self.MESSAGE

    @pytest.mark.parametrize(
        "data",
        [
            *(b"", b"{", b"[]", b'{"version":1}', b"\xff", None, 7, b'"' + b"x" * LONGEST + b'"'),
            encode(Message(VERSION + 1, "s", "host:1", "kind")),
        ],
    )
    def test_what_is_none_is_ignored(self, data: object) -> None:
        assert decode(data) is None


class TestThread:
    def test_one_that_cannot_be_started_is_tried_again_and_one_that_was_ended_is_not(self) -> None:
        tries: list[str] = []

        def new_wire(me: str) -> Any:
            tries.append(me)
            raise StoreUnavailable("away")

        member = Member(new_wire, {"who": lambda _: {}}, lambda: None)
        with none_can_start():
            member.start()
        assert ask(member, "who") == [{"process": member.name}]
        assert not tries
        member.start()
        member._first.result(PATIENCE)
        assert tries == [member.id]
        member.stop()
        member.start()
        assert not member._daemon.is_running


class TestSettings:
    def test_they_are_those_of_the_limits_if_these_are_in_redis(self, settings: Any) -> None:
        options = {"url": "redis://there/3", "prefix": "ours", "clock": None}
        settings.AI_GATEWAY = {"LIMIT_STORE": {"BACKEND": "redis", "OPTIONS": options}}
        assert _peers() == {"URL": "redis://there/3", "OPTIONS": {"prefix": "ours"}}
        settings.AI_GATEWAY = {"LIMIT_STORE": {"BACKEND": "redis"}}
        assert _peers() == {"URL": "redis://localhost:6379/0", "OPTIONS": {}}

    def test_they_may_be_others_or_none(self, settings: Any) -> None:
        settings.AI_GATEWAY = {"LIMIT_STORE": {"BACKEND": "redis"}, "PEERS": {}}
        assert _peers() == {}
        settings.AI_GATEWAY = {"PEERS": {"URL": "redis://there"}}
        assert _peers() == {"URL": "redis://there"}
        settings.AI_GATEWAY = {"LIMIT_STORE": {"BACKEND": "database"}}
        assert _peers() == {}


def _peers() -> Any:
    return settings.PEERS


class TestAlone:
    def test_a_question_has_our_own_answer_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(peers, "_handlers", {"sum": lambda body: {"is": body["of"] + 1}})
        peers._member.cache_clear()

        def asked(kind: str, body: dict[str, Any]) -> list[dict[str, Any]]:
            return asyncio.run(asyncio.wait_for(peers.ask(kind, body, within=10 * PATIENCE), PATIENCE))

        assert asked("sum", {"of": 2}) == [{"is": 3, "process": peers.start().name}]
        assert asked("unheard of", {}) == []

    def test_to_tell_does_nothing(self) -> None:
        peers.tell("anything", {})
        assert peers.running() is None


class TestTogether:
    def test_what_one_tells_all_others_hear(self, join: Join) -> None:
        heard: queue.Queue[tuple[str, Any]] = queue.Queue()
        teller = join({"news": lambda body: heard.put(("teller", body))})
        for name in ("one", "two"):
            join({"news": lambda body, name=name: heard.put((name, body))})  # type: ignore[misc]
        teller.tell("news", {"n": 1})
        assert sorted(heard.get(timeout=PATIENCE) for _ in range(2)) == [("one", {"n": 1}), ("two", {"n": 1})]
        assert heard.empty()

    def test_all_answer_who_are_there_and_nobody_is_waited_for(self, join: Join) -> None:
        asker, *others = (join({"who": lambda body, n=n: {"n": n}}) for n in range(3))  # type: ignore[misc]
        until(lambda: len(asker.peers) <= 1 and len(asker._peers) == 2)
        asker._joined_at = time.monotonic() - 10
        began = time.monotonic()
        answers = ask(asker, "who")
        assert answers[0]["n"] == 0
        assert {answer["n"] for answer in answers} == {0, 1, 2}
        assert time.monotonic() - began < PATIENCE / 2
        others[0].stop()
        until(lambda: len(asker._peers) == 1)
        assert len(ask(asker, "who")) == 2

    def test_who_has_nothing_to_say_or_fails_is_not_waited_for(
        self, join: Join, caplog: pytest.LogCaptureFixture
    ) -> None:
        asker = join()
        join({"who": lambda body: None})
        join({"who": lambda body: body["missing"]})
        join()
        until(lambda: len(asker._peers) == 3)
        asker._joined_at = time.monotonic() - 10
        assert ask(asker, "who") == []
        assert "could not be dealt with: who" in caplog.text

    def test_who_has_just_joined_waits_for_whoever_may_be_there(self, join: Join) -> None:
        join({"who": lambda body: {"n": 1}})
        assert [answer["n"] for answer in ask(join(), "who", 0.3)] == [1]

    @pytest.mark.parametrize("other", [{"prefix": "theirs"}, {"db": 5}])
    def test_another_gateway_does_not_hear_it(self, join: Join, other: dict[str, Any]) -> None:
        heard: queue.Queue[Any] = queue.Queue()
        join({"news": heard.put}, **other)
        ours = join()
        join({"news": heard.put})
        ours.tell("news", {})
        heard.get(timeout=PATIENCE)
        assert heard.empty()
        until(lambda: len(ours._peers) == 1)

    def test_strange_messages_harm_nobody(self, join: Join, server: RedisServer) -> None:
        heard: queue.Queue[Any] = queue.Queue()
        teller = join()
        join({"news": heard.put})
        server.ask("PUBLISH", "{ai_gateway}:0:peers", "no json")
        server.ask("PUBLISH", "{ai_gateway}:0:peers", '{"version":1,"sender":"x","name":"x","kind":"never heard"}')
        teller.tell("news", {"n": 2})
        assert heard.get(timeout=PATIENCE) == {"n": 2}

    def test_a_lease_is_one_processes(self, join: Join) -> None:
        one, two = join(), join()

        def lease(member: Member, seconds: float) -> bool:
            assert member._loop is not None
            return asyncio.run_coroutine_threadsafe(member.lease("probe", seconds), member._loop).result(PATIENCE)

        assert lease(one, 30)
        assert not lease(two, 30)
        assert lease(one, 0.05)
        until(lambda: lease(two, 30))
        assert not lease(one, 30)

    def test_more_than_can_be_sent_is_dropped(self, join: Join, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(members_module, "MOST_UNSENT", 3)
        monkeypatch.setattr(members_module, "MOST_PEERS", 2)
        teller = join()
        teller._do_soon(time.sleep, 0.1)
        for number in range(10):
            teller.tell("news", {"n": number})
        assert len(teller._unsent) <= 3
        for number in range(10):
            teller._meet(Message(VERSION, str(number), "host:1", "here"))
        assert len(teller._peers) == 2


class TestRedisIsAway:
    def test_each_goes_on_for_itself_and_finds_the_others_again(
        self, join: Join, own_server: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        caplog.set_level(logging.WARNING)
        monkeypatch.setattr(members_module, "FIRST_PAUSE", 0.05)
        monkeypatch.setattr(members_module, "LONGEST_PAUSE", 0.05)
        heard: queue.Queue[Any] = queue.Queue()
        one = join({"who": lambda body: {"n": 1}}, url=own_server.url)
        two = join({"news": heard.put}, url=own_server.url)
        own_server.stop()
        until(lambda: not one.is_connected and not two.is_connected and bool(one.failure))
        one.tell("news", {"is": "old"})
        began = time.monotonic()
        assert [answer["n"] for answer in ask(one, "who")] == [1]
        assert time.monotonic() - began < PATIENCE / 2
        time.sleep(0.3)
        own_server.start()
        until(lambda: one.is_connected and two.is_connected and len(one._peers) == 1)
        one.tell("news", {"is": "new"})
        assert heard.get(timeout=PATIENCE) == {"is": "new"}
        lost = [record for record in caplog.records if "cannot be reached" in record.message]
        found = [record for record in caplog.records if "can be reached again" in record.message]
        assert (len(lost), len(found)) == (2, 2)

    def test_a_connection_on_which_nothing_is_heard_is_opened_anew(
        self, join: Join, own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(members_module, "BEAT", 0.05)
        member = join(url=own_server.url)
        own_server.pause()
        until(lambda: bool(member.failure))
        assert not member.is_connected
        own_server.resume()
        until(lambda: member.is_connected)

    def test_there_is_no_lease_without_it(self, join: Join, own_server: RedisServer) -> None:
        own_server.stop()
        member = join(url=own_server.url)
        with pytest.raises(StoreUnavailable):
            asyncio.run(member.lease("probe", 1))
