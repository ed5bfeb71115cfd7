"""What one process learns of a target's health, the others know. The other one is a member that notes what it hears."""

from __future__ import annotations

import asyncio
import queue
import time
from collections.abc import Iterator
from typing import Any

import pytest

from ai_gateway import breakers, cooldowns, gossip, peers
from ai_gateway.breakers import BreakerPolicy
from ai_gateway.calls import Target
from ai_gateway.peers.member import Member
from tests.factories import states
from tests.patience import until
from tests.peers.conftest import Join, _shared, join, members, server  # noqa: F401
from tests.redis_server import RedisServer

POLICY = BreakerPolicy(consecutive=1, open=30)
TARGET = Target("openai", "gpt-5")
NAMES = {"provider": "openai", "model": "gpt-5"}
STANDING = {
    **NAMES,
    "state": "open",
    "failures": 5,
    "opened": 1,
    "seconds_left": 20.0,
    "rests": 0.0,
    "reason": "5 failures in a row",
    "heard_from": "other:1",
}


class Other:
    """Another process. What it hears stands in `heard`, and `stands` is what it says when it is asked."""

    def __init__(self, join: Join) -> None:  # noqa: F811
        self.heard: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.stands: dict[str, Any] = {"targets": [], "credentials": []}
        handlers: Any = {kind: self._noting(kind) for kind in (gossip.TARGET, gossip.CREDENTIAL, gossip.CLOSE)}
        self.member = join({**handlers, gossip.HEALTH: lambda body: self.stands})

    def _noting(self, kind: str) -> Any:
        return lambda body: self.heard.put((kind, body))

    def hears(self) -> tuple[str, dict[str, Any]]:
        return self.heard.get(timeout=20)

    def has_lease(self, seconds: float) -> bool:
        assert self.member._loop is not None
        lease = self.member.lease("openai/gpt-5", seconds)
        return asyncio.run_coroutine_threadsafe(lease, self.member._loop).result(20)


@pytest.fixture
def other(join: Join) -> Other:  # noqa: F811
    return Other(join)


@pytest.fixture
def ours(
    other: Other,
    server: RedisServer,  # noqa: F811
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Member]:
    """This process, which has found the other."""
    monkeypatch.setattr(peers, "_handlers", {})
    monkeypatch.setattr(peers, "_joining", [])
    settings.AI_GATEWAY = {"PEERS": {"URL": server.url}}
    gossip.connect()
    member = peers.start()
    until(lambda: bool(member.peers and other.member.peers))
    yield member
    peers.stop()


def open_breaker() -> None:
    breakers.note(TARGET, POLICY, is_good=False)


class TestMessages:
    def test_how_a_target_stands_is_read_as_it_was_written(self) -> None:
        told = gossip.read(STANDING)
        assert gossip.written(told) == STANDING

    @pytest.mark.parametrize("state", ["half-open", "open"])
    def test_a_target_that_another_process_finds_out_about_is_open_here(self, state: str) -> None:
        assert gossip.read({**STANDING, "state": state, "seconds_left": 0.0}).seconds_left == gossip.LEASE

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            *(("provider", 7), ("provider", "x" * 501), ("model", 7), ("state", None), ("reason", [])),
            *(("seconds_left", -1), ("seconds_left", "1"), ("rests", float("inf")), ("rests", float("nan"))),
            *(("opened", -1), ("opened", 1.5), ("opened", 10**400), ("failures", None)),
        ],
    )
    def test_what_is_none_is_refused(self, key: str, value: Any) -> None:
        with pytest.raises((KeyError, ValueError)):
            gossip.read({**STANDING, key: value})


class TestTelling:
    def test_a_breaker_that_opens_and_closes(self, ours: Member, other: Other) -> None:
        open_breaker()
        kind, told = other.hears()
        assert (kind, told["state"], told["opened"], told["failures"]) == (gossip.TARGET, "open", 1, 1)
        assert 0 < told["seconds_left"] <= 30
        assert (told["reason"], told["heard_from"]) == ("1 failure in a row", ours.name)
        breakers.note(TARGET, POLICY, is_good=True)
        assert other.hears() == (gossip.TARGET, {**NAMES, "state": "closed"})

    def test_rests_of_targets_and_credentials(self, ours: Member, other: Other) -> None:
        breakers.rest(TARGET, 7, POLICY)
        _, told = other.hears()
        assert (told["state"], told["opened"], told["rests"]) == ("resting", 0, 7)
        cooldowns.rest("openai", "second", 300)
        assert other.hears() == (
            gossip.CREDENTIAL,
            {"provider": "openai", "credential": "second", "seconds": 300},
        )

    def test_a_rest_that_is_hardly_longer_is_not_told_again(self, ours: Member, other: Other) -> None:
        for seconds in (7, 7.2, 6):
            breakers.rest(TARGET, seconds, POLICY)
            cooldowns.rest("openai", "second", seconds)
        peers.tell(gossip.CREDENTIAL, {"last": True})
        assert [other.hears()[0] for _ in range(3)] == [gossip.TARGET, gossip.CREDENTIAL, gossip.CREDENTIAL]

    def test_alone_nothing_is_told(self) -> None:
        gossip.connect()
        open_breaker()
        breakers.note(TARGET, POLICY, is_good=True)
        cooldowns.rest("openai", "second", 300)
        assert peers.running() is None


class TestHearing:
    def test_what_others_found_out_is_taken_over_and_not_told_again(self, ours: Member, other: Other) -> None:
        other.member.tell(gossip.TARGET, STANDING)
        other.member.tell(gossip.CREDENTIAL, {"provider": "openai", "credential": "second", "seconds": 60})
        until(lambda: cooldowns.is_resting("openai", "second"))
        (found,) = breakers.standings()
        assert found.target == TARGET
        assert 0 < found.seconds_left <= 20
        assert found[1:4] == ("open", 5, 1)
        assert found[6:] == ("5 failures in a row", "other:1")
        other.member.tell(gossip.TARGET, {**NAMES, "state": "closed"})
        until(lambda: not breakers.standings())
        assert other.heard.empty()

    def test_the_longest_time_is_our_own(self) -> None:
        gossip.hear_of_target({**STANDING, "seconds_left": 10_000.0, "rests": 10_000.0})
        (found,) = breakers.standings()
        assert (found.seconds_left, found.rests) == (POLICY.longest, POLICY.longest)

    def test_what_is_known_here_is_not_shortened(self) -> None:
        open_breaker()
        breakers.rest(TARGET, 100, POLICY)
        gossip.hear_of_target({**STANDING, "seconds_left": 1.0, "rests": 1.0})
        (found,) = breakers.standings()
        assert found.seconds_left == 100
        assert found.heard_from == ""

    def test_who_joins_asks_how_things_stand(self, ours: Member, other: Other) -> None:
        other.stands = {
            "targets": [STANDING, {**STANDING, "opened": "often"}],
            "credentials": [{"provider": "openai", "credential": "second", "seconds": 60}],
        }
        asyncio.run(gossip.exchange())
        assert states() == {"openai/gpt-5": "open"}
        assert cooldowns.is_resting("openai", "second")

    def test_who_joins_tells_how_things_stand_here(self, ours: Member, other: Other) -> None:
        """The others were back sooner, and asked while it could not be reached."""
        told: queue.Queue[dict[str, Any]] = queue.Queue()
        vars(other.member)["_handlers"][gossip.STANDINGS] = told.put
        asyncio.run(gossip.exchange())
        breakers.adopt(gossip.read(STANDING), POLICY)
        cooldowns.adopt("openai", "second", 300)
        asyncio.run(gossip.exchange())
        body = told.get(timeout=20)
        assert [each["model"] for each in body["targets"]] == ["gpt-5"]
        assert [each["credential"] for each in body["credentials"]] == ["second"]
        assert told.empty()

    def test_what_who_joins_tells_is_taken_over(self, ours: Member, other: Other) -> None:
        other.member.tell(gossip.STANDINGS, {"targets": [{}, STANDING], "credentials": []})
        until(lambda: states() == {"openai/gpt-5": "open"})

    def test_who_is_asked_says_how_things_stand_here(self, ours: Member, other: Other) -> None:
        open_breaker()
        cooldowns.rest("openai", "second", 300)
        (answer,) = asyncio.run(other.member.ask(gossip.HEALTH, {}, 0.5))[1:]
        assert answer["targets"][0]["model"] == "gpt-5"
        (credential,) = answer["credentials"]
        assert 0 < credential.pop("seconds") <= 300
        assert credential == {"provider": "openai", "credential": "second"}
        assert (answer["calls"], answer["process"]) == ({"under_way": 0, "waiting": 0}, ours.name)

    def test_one_says_that_a_target_is_well(self, ours: Member, other: Other) -> None:
        open_breaker()
        breakers.rest(TARGET, 100, POLICY)
        other.member.tell(gossip.CLOSE, NAMES)
        until(lambda: not breakers.standings())
        open_breaker()
        asyncio.run(gossip.close(TARGET, "closed by ada"))
        assert gossip.CLOSE in [other.hears()[0] for _ in range(5)]
        assert breakers.standings() == []


class TestTurns:
    """One process finds out whether a target is well again."""

    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(gossip, "LEASE", 0.4)
        monkeypatch.setattr(gossip, "LEAD", 0.1)

    SHORT = BreakerPolicy(consecutive=1, open=0.3)

    def test_it_is_the_others_turn(self, ours: Member, other: Other) -> None:
        assert other.has_lease(30)
        breakers.note(TARGET, self.SHORT, is_good=False)
        seen = set()
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            seen.add(states()["openai/gpt-5"])
            time.sleep(0.01)
        assert seen == {"open"}
        assert other.has_lease(0.01)  # It did not find out, and gives it up.
        until(lambda: states() == {"openai/gpt-5": "half-open"})
        assert not other.has_lease(30)

    def test_it_is_our_turn_until_no_call_came_by(self, ours: Member, other: Other) -> None:
        breakers.note(TARGET, self.SHORT, is_good=False)
        until(lambda: states() == {"openai/gpt-5": "half-open"})
        assert not other.has_lease(30)
        until(lambda: states() == {"openai/gpt-5": "open"})
        until(lambda: other.has_lease(30))

    def test_a_probe_under_way_keeps_its_turn(self, ours: Member, other: Other) -> None:
        breakers.note(TARGET, self.SHORT, is_good=False)
        until(lambda: breakers.begin(TARGET))
        end = time.monotonic() + 0.8
        while time.monotonic() < end:
            assert not other.has_lease(30)
            time.sleep(0.02)
        breakers.note(TARGET, self.SHORT, is_good=True)
        assert states() == {}

    def test_one_that_cannot_be_found_out_is_looked_at_again(
        self, ours: Member, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        sought: list[str] = []

        async def fail(what: str, seconds: float) -> bool:
            sought.append(what)
            raise ValueError("an answer that is none")

        monkeypatch.setattr(ours, "lease", fail)
        breakers.note(TARGET, self.SHORT, is_good=False)
        until(lambda: sought == ["openai/gpt-5"])
        until(lambda: "Whose turn it is" in caplog.text)
        assert TARGET not in gossip.Turns.of(ours)._watched

    def test_without_redis_each_finds_out_for_itself(self, ours: Member, monkeypatch: pytest.MonkeyPatch) -> None:
        breakers.note(TARGET, self.SHORT, is_good=False)
        monkeypatch.setattr(ours, "_wire", None)
        until(lambda: states() == {"openai/gpt-5": "half-open"})
        until(lambda: not gossip.Turns.of(ours)._watched)
