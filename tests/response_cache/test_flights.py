"""Equal calls at the same time: one of them asks."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache

from ai_gateway import flights, live
from ai_gateway.calls import ReplyBody, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import ConnectFailed
from ai_gateway.test.providers import Books
from tests.factories import Answer, Scripted
from tests.response_cache.site import CHAT, EVENTS, Paused, Site, serve, settled, stream, under_way, until, whole


def waiting() -> int:
    """How many calls wait for the answer to another one."""
    return sum(len(flight._landing._callbacks or ()) for flight in under_way())


@pytest.mark.parametrize("body", [CHAT, {**CHAT, "stream": True}], ids=["plain", "stream"])
def test_equal_calls_at_the_same_time_ask_once_and_each_is_written_down(body: Any, books: Books) -> None:
    async def script(site: Site) -> None:
        calls = [asyncio.create_task(site.ask(body)) for _ in range(5)]
        await until(lambda: waiting() == 4)
        paused.gates[0].set()
        found = await asyncio.gather(*calls)
        assert sorted(str(got.cache) for got in found) == ["b'hit'"] * 4 + ["b'miss'"]
        assert len({got.body for got in found}) == 1

    paused = Paused(stream() if "stream" in body else whole())
    assert serve(script, transport=paused).asked == 1
    assert sorted(entry.outcome for entry in books) == ["answered"] + ["cached"] * 4
    assert len({entry.id for entry in books}) == 5


@pytest.mark.parametrize("ending", ["fails", "is refused", "hangs up", "hangs up in mid-stream"])
def test_if_the_one_that_asks_gets_nothing_another_one_asks(ending: str, books: Books) -> None:
    async def script(site: Site) -> None:
        first = asyncio.create_task(site.reply({**CHAT, "stream": True}))
        await until(lambda: bool(paused.requests))
        others = [asyncio.create_task(site.ask({**CHAT, "stream": True})) for _ in range(3)]
        await until(lambda: waiting() == 3)
        if ending == "hangs up":
            first.cancel()
        else:
            paused.gates[0].set()
            reply = await first
            if ending == "hangs up in mid-stream":
                assert isinstance(reply.body, ReplyBody)
                await reply.body.__anext__()
                assert waiting() == 3
            await reply.aclose()
        await until(lambda: site.asked == 2 and waiting() == 2)
        paused.gates[1].set()
        found = await asyncio.gather(*others)
        assert sorted(str(got.cache) for got in found) == ["b'hit'", "b'hit'", "b'miss'"]
        assert {got.body for got in found} == {b"".join(EVENTS)}
        await asyncio.gather(first, return_exceptions=True)

    outcomes: dict[str, Answer | Exception] = {"fails": ConnectFailed("no"), "is refused": whole({}, status=429)}
    paused = Paused(outcomes.get(ending, stream()), stream())
    assert serve(script, transport=paused).asked == 2
    assert len(books) == 4


def test_an_answer_for_one_call_alone_is_not_shared() -> None:
    async def script(site: Site) -> None:
        calls = [asyncio.create_task(site.ask()) for _ in range(3)]
        await until(lambda: waiting() == 2)
        for gate in paused.gates:
            gate.set()
        assert [got.cache for got in await asyncio.gather(*calls)] == [b"miss"] * 3

    tool = {"choices": [{"message": {"tool_calls": [{"id": "c"}]}}]}
    paused = Paused(whole(tool), whole(tool), whole(tool))
    assert serve(script, transport=paused).asked == 3


def test_one_whose_look_into_the_cache_takes_longer_than_the_other_call_has_its_answer_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look, go_on = LocMemCache.get_many, threading.Event()
    numbers = itertools.count()

    def slow(*arguments: Any) -> Any:
        found = look(*arguments)
        if next(numbers) == 1:
            go_on.wait(30)
        return found

    async def script(site: Site) -> None:
        monkeypatch.setattr(LocMemCache, "get_many", slow)
        calls = [asyncio.create_task(site.ask()) for _ in range(2)]
        await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
        go_on.set()
        assert {got.cache for got in await asyncio.gather(*calls)} == {b"miss", b"hit"}

    assert serve(script, whole(), whole(), RESPONSE_CACHE={"memory": 100_000}).asked == 1


def test_nobody_waits_for_longer_than_the_operator_says() -> None:
    async def script(site: Site) -> None:
        first = asyncio.create_task(site.ask())
        await until(lambda: bool(paused.requests))
        paused.gates[1].set()
        assert (await site.ask()).cache == b"miss"
        paused.gates[0].set()
        await first

    paused = Paused(whole(), whole())
    assert serve(script, transport=paused, RESPONSE_CACHE={"wait": 0.01}).asked == 2


def test_nobody_waits_for_a_caller_that_leaves_its_stream_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(site: Site) -> None:
        streamed = {**CHAT, "stream": True}
        first = await site.reply(streamed)
        assert isinstance(first.body, ReplyBody)
        await first.body.__anext__()
        async with asyncio.timeout(20):
            assert (await site.ask(streamed)).cache == b"miss"
        assert [chunk async for chunk in first.body] == list(EVENTS[1:])
        await first.aclose()

    monkeypatch.setattr(flights, "HELD_UP", 0.02)
    assert serve(script, stream(), stream()).asked == 2


def test_one_that_waits_may_hang_up() -> None:
    async def script(site: Site) -> None:
        first = asyncio.create_task(site.ask())
        await until(lambda: bool(paused.requests))
        second = asyncio.create_task(site.ask())
        await until(lambda: waiting() == 1)
        second.cancel()
        await asyncio.gather(second, return_exceptions=True)
        assert waiting() == 0
        paused.gates[0].set()
        assert (await first).cache == b"miss"

    paused = Paused(whole())
    serve(script, transport=paused)


def test_a_bug_in_keeping_takes_no_answer_from_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(site: Site) -> None:
        calls = [asyncio.create_task(site.ask({**CHAT, "stream": True})) for _ in range(2)]
        await until(lambda: waiting() == 1)
        for gate in paused.gates:
            gate.set()
        assert [got.body for got in await asyncio.gather(*calls)] == [b"".join(EVENTS)] * 2

    def fail(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("ai_gateway.keeping.is_worth_keeping", fail)
    paused = Paused(stream(), stream())
    serve(script, transport=paused)


def test_nobody_waits_for_an_answer_that_was_dropped_without_being_closed() -> None:
    async def script(site: Site) -> None:
        reply = await site.reply({**CHAT, "stream": True})
        assert len(under_way()) == 1
        del reply
        live.forget()
        assert (await site.ask({**CHAT, "stream": True})).cache == b"miss"

    serve(script, stream(), stream())


class Moody(Scripted):
    """A transport whose answers take a few turns of the loop; some are errors, some break off."""

    def __init__(self, moods: random.Random) -> None:
        super().__init__()
        self.moods = moods

    async def send(self, request: UpstreamRequest, timeouts: object) -> UpstreamResponse:
        self.requests.append(request)
        for _ in range(self.moods.randrange(6)):
            await asyncio.sleep(0)
        mood = self.moods.random()
        if mood < 0.2:
            raise ConnectFailed("not today")
        return stream(EVENTS[0]) if mood < 0.4 else whole({}, status=500) if mood < 0.5 else stream()


@pytest.mark.parametrize("seed", range(5))
def test_whoever_fails_or_hangs_up_everybody_else_has_an_end_and_a_record(seed: int, books: Books) -> None:
    moods = random.Random(seed)
    body = {**CHAT, "stream": True}

    async def call(site: Site) -> bytes:
        for _ in range(moods.randrange(4)):
            await asyncio.sleep(0)
        reply = await site.reply({**body, "seed": moods.randrange(2)}, (b"x-gateway-cache", b"max-age=0"))
        try:
            if not isinstance(reply.body, ReplyBody):
                return reply.body
            read = b""
            async for chunk in reply.body:
                read += chunk
                await asyncio.sleep(0)
                if moods.random() < 0.05:
                    break
            return read
        finally:
            await reply.aclose()

    async def script(site: Site) -> None:
        calls = [asyncio.create_task(call(site)) for _ in range(60)]
        for each in moods.sample(calls, 15):
            await asyncio.sleep(0)
            if moods.random() < 0.7:
                each.cancel()
        async with asyncio.timeout(30):
            await asyncio.gather(*calls, return_exceptions=True)
        await settled()
        begun = [each for each in calls if not each.cancelled()]
        assert all(each.exception() is None for each in begun)
        assert len(books) >= len(begun)
        assert len({entry.id for entry in books}) == len(books)

    serve(script, transport=Moody(moods))
    assert "answered" in {entry.outcome for entry in books}
