"""Places among the calls under way: who needs one, who waits for it, and what of that is written down."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import gateway, health, overload
from ai_gateway.calls import Arrival, Caller, Reply
from ai_gateway.overload import Entrant, party_of
from ai_gateway.test import sends
from ai_gateway.test.providers import Books
from tests.factories import JSON, answering, make_arrival, run

KEY = (b"authorization", b"Bearer gw_test-key-of-team-a")
BODY = b'{"model": "gpt-5-mini", "messages": []}'
SETTINGS: dict[str, Any] = {
    "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "stored"}}, "anthropic": {"OPTIONS": {"api_key": "stored"}}},
    "KEYS": {"team-a": "gw_test-key-of-team-a"},
    "MAX_CALLS": 1,
    "QUEUE": {"size": 1, "seconds": 60},
}
IMPATIENT: dict[str, Any] = {**SETTINGS, "QUEUE": {"size": 1, "seconds": 0.02}}


class Request(Entrant):
    """A request that may need a place."""

    def __init__(self) -> None:
        self.has_place = False
        self.waited = 0

    @contextmanager
    def waiting(self, fields: Mapping[bytes, bytes]) -> Iterator[None]:
        self.waited += 1
        yield


@pytest.fixture(autouse=True)
def _settings() -> Iterator[None]:
    with override_settings(AI_GATEWAY=SETTINGS):
        yield


def arrival(path: str = "/v1/chat/completions", key: tuple[bytes, bytes] = KEY) -> Arrival:
    return make_arrival(path, JSON, key, body=BODY)


async def ask(given: Arrival, entrant: Entrant | None) -> Reply:
    return await gateway.handle(given, answering(sends({})), entrant=entrant)


async def until_it_waits() -> None:
    for _ in range(10):
        await asyncio.sleep(0)
    assert overload.calls.waiting == 1


def was_read(given: Arrival) -> bool:
    return bool(given.body.was_read)  # type: ignore[attr-defined]


def code_of(reply: Reply) -> tuple[int, str]:
    assert isinstance(reply.body, bytes)
    return reply.status, json.loads(reply.body)["error"]["code"]


def test_a_call_has_its_place_until_its_door_gives_it_back() -> None:
    async def main() -> None:
        request = Request()
        assert (await ask(arrival(), request)).status == 200
        assert (overload.calls.taken, request.has_place, request.waited) == (1, True, 0)
        overload.calls.leave()
        assert overload.calls.taken == 0

    run(main())


def test_a_call_waits_for_its_place_before_its_body_is_read() -> None:
    async def main() -> None:
        first, second, call = Request(), Request(), arrival()
        await ask(arrival(), first)
        task = asyncio.ensure_future(ask(call, second))
        await until_it_waits()
        assert not was_read(call)
        overload.calls.leave()
        assert (await task).status == 200
        assert (overload.calls.taken, second.waited) == (1, 1)

    run(main())


def test_who_finds_the_queue_full_is_refused_at_once_and_not_written_down(books: Books) -> None:
    """A flood of calls must not become a flood of records. The counter has them all."""

    async def main() -> Reply:
        await ask(arrival(), Request())
        task = asyncio.ensure_future(ask(arrival(), Request()))
        await until_it_waits()
        call = arrival()
        reply = await ask(call, Request())
        assert not was_read(call)
        task.cancel()
        return reply

    reply = run(main())
    assert code_of(reply) == (503, "overloaded")
    assert dict(reply.headers)[b"retry-after"] == b"1"
    assert b"x-should-retry" not in dict(reply.headers)
    assert overload.calls.refused == 1
    assert [entry.outcome for entry in books] == ["answered", "disconnected"]


def test_who_waits_in_vain_is_refused_and_written_down(books: Books) -> None:
    async def main() -> Reply:
        await ask(arrival(), Request())
        return await ask(arrival(), Request())

    with override_settings(AI_GATEWAY=IMPATIENT):
        assert code_of(run(main())) == (503, "overloaded")
    entry = books[-1]
    assert (entry.outcome, entry.error_code, entry.status, entry.attempts) == ("refused", "overloaded", 503, 0)
    assert (entry.key_name, entry.cost_nanos) == ("team-a", 0)
    assert overload.calls.waiting == 0


def test_a_stranger_who_waits_in_vain_is_not_written_down(books: Books) -> None:
    async def main() -> Reply:
        await ask(arrival(), Request())
        return await ask(arrival(key=(b"authorization", b"Bearer sk-their-own")), Request())

    with override_settings(AI_GATEWAY=IMPATIENT):
        assert code_of(run(main())) == (503, "overloaded")
    assert [entry.outcome for entry in books] == ["answered"]


def test_anthropics_clients_are_told_in_their_own_words() -> None:
    async def main() -> Reply:
        await ask(arrival(), Request())
        return await ask(arrival("/v1/messages"), Request())

    with override_settings(AI_GATEWAY=IMPATIENT):
        reply = run(main())
    assert isinstance(reply.body, bytes)
    assert (reply.status, json.loads(reply.body)["error"]["type"]) == (529, "overloaded_error")


def test_who_hangs_up_while_it_waits_leaves_the_queue(books: Books) -> None:
    async def main() -> None:
        await ask(arrival(), Request())
        second = Request()
        task = asyncio.ensure_future(ask(arrival(), second))
        await until_it_waits()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (overload.calls.waiting, overload.calls.taken, second.has_place) == (0, 1, False)

    run(main())
    assert [entry.outcome for entry in books] == ["answered", "disconnected"]


def test_who_still_waits_when_the_process_stops_is_refused(books: Books) -> None:
    async def main() -> Reply:
        await ask(arrival(), Request())
        task = asyncio.ensure_future(ask(arrival(), Request()))
        await until_it_waits()
        health.start_draining()
        health.stop()
        gateway.end_calls(asyncio.get_running_loop())
        return await task

    assert code_of(run(main())) == (503, "gateway_draining")
    assert books[-1].outcome == "stopped"


def test_who_has_no_valid_key_takes_no_place() -> None:
    request = Request()
    reply = run(ask(arrival(key=(b"authorization", b"Bearer gw_wrong")), request))
    assert (reply.status, request.has_place, overload.calls.taken) == (401, False, 0)


def test_the_sites_own_pages_need_no_place() -> None:
    async def main() -> None:
        await ask(arrival(), Request())
        assert (await ask(arrival(), None)).status == 200

    run(main())


def test_there_may_be_no_bound() -> None:
    async def main() -> None:
        for _ in range(5):
            assert (await ask(arrival(), Request())).status == 200

    with override_settings(AI_GATEWAY={**SETTINGS, "MAX_CALLS": 0}):
        run(main())
    assert overload.calls.taken == 5


@pytest.mark.parametrize(
    ("one", "other", "is_one_party"),
    [
        (party_of(Caller(key_name="a"), "192.0.2.1"), party_of(Caller(key_name="a"), "192.0.2.2"), True),
        (party_of(Caller(key_name="a"), "192.0.2.1"), party_of(Caller(key_name="b"), "192.0.2.1"), False),
        (party_of(Caller(key_name="x", key_id=1), None), party_of(Caller(key_name="x", key_id=2), None), False),
        (party_of(Caller(), "192.0.2.1"), party_of(Caller(), "192.0.2.1"), True),
        (party_of(Caller(), "192.0.2.1"), party_of(Caller(), "192.0.2.2"), False),
        (party_of(Caller(), "192.0.2.1"), party_of(Caller(), "::ffff:192.0.2.1"), True),
        (party_of(Caller(), "2001:db8::1"), party_of(Caller(), "2001:db8::ffff:2"), True),
        (party_of(Caller(), "2001:db8::1"), party_of(Caller(), "2001:db8:0:1::1"), False),
        (party_of(Caller(), None), party_of(Caller(), "testclient"), True),
    ],
)
def test_keys_take_turns_and_strangers_by_their_address(one: object, other: object, is_one_party: bool) -> None:
    assert (one == other) is is_one_party
