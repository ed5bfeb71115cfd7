"""A provider with a limit of calls at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import msgspec
import pytest
from django.test import override_settings

from ai_gateway import overload, registry
from ai_gateway.attempts import ask
from ai_gateway.bulkheads import Bulkhead
from ai_gateway.calls import Reply, Target
from ai_gateway.concurrency import Counted
from ai_gateway.errors import Draining, ProviderBusy, UpstreamClosed
from tests.factories import JSON, Answer, Scripted, make_call, make_meter, run

OPTIONS = {
    "PROVIDERS": {
        "openai": {"OPTIONS": {"api_key": "stored", "max_concurrency": 2}},
        "groq": {"OPTIONS": {"api_key": "stored"}},
    }
}
STREAM = (b"content-type", b"audio/mpeg")


def call(transport: Scripted, *targets: str) -> Reply:
    with override_settings(AI_GATEWAY=OPTIONS):
        snapshot = registry.snapshot()
        asked = make_call(body=b'{"model": "m"}', model="m")
        wanted = [Target(name, "m") for name in targets or ("openai",)]
        return run(ask(make_meter(asked), wanted, snapshot, transport))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> None:
    overload.at_providers.clear()


def test_one_more_than_the_limit_is_not_sent() -> None:
    transport = Scripted(*(Answer(b"part", headers=[STREAM]) for _ in range(3)))
    replies = [call(transport), call(transport)]
    with pytest.raises(ProviderBusy) as caught:
        call(transport)
    assert (caught.value.status, caught.value.retryable) == (503, True)
    assert len(transport.requests) == 2
    run(replies[0].aclose())
    run(replies[0].aclose())
    replies[0] = call(transport)
    for reply in replies:
        run(reply.aclose())
    overload.at_providers.clear()


def test_another_target_is_asked_in_its_place() -> None:
    transport = Scripted(*(Answer(b"part", headers=[STREAM]) for _ in range(3)))
    replies = [call(transport, "openai", "groq") for _ in range(3)]
    assert [request.origin.host for request in transport.requests] == ["api.openai.com"] * 2 + ["api.groq.com"]
    for reply in replies:
        run(reply.aclose())


def test_an_answer_that_was_whole_and_a_call_that_failed_leave_their_place() -> None:
    whole = [Answer(b"{}", headers=[JSON, (b"content-length", b"2")]) for _ in range(3)]
    transport = Scripted(*whole, UpstreamClosed("gone"), UpstreamClosed("gone"), UpstreamClosed("gone"))
    for _ in range(3):
        run(call(transport).aclose())
    for _ in range(3):
        with pytest.raises(UpstreamClosed):
            call(transport)
    assert overload.at_providers["openai"].taken == 0


class AtOnce(Answer):
    """An answer that is there, all of it, with its head."""

    def take_rest(self) -> bytes:
        return b"{}"


def test_an_answer_that_is_whole_at_once_has_left_when_it_is_read() -> None:
    reply = call(Scripted(AtOnce(headers=[JSON])))
    assert (reply.body, overload.at_providers["openai"].taken) == (b"{}", 0)


def test_an_answer_that_holds_a_place_can_be_interrupted() -> None:
    bulkhead = Bulkhead()
    assert bulkhead.enter(1)
    answer = Counted(Answer(b"part"), bulkhead)
    answer.interrupt(Draining("enough"))
    assert answer.socket is None
    with pytest.raises(Draining):
        run(answer.read())


# The queue of a provider.


QUEUED = {
    "PROVIDERS": {
        "openai": {"OPTIONS": {"api_key": "stored", "max_concurrency": 1, "queue": {"size": 1, "seconds": 30}}},
        "groq": {"OPTIONS": {"api_key": "stored"}},
        "xai": {"OPTIONS": {"api_key": "stored", "max_concurrency": 1, "queue": {"size": 1, "seconds": 0.01}}},
    }
}


def in_queue(transport: Scripted, story: Callable[[Callable[..., Coroutine[Any, Any, Reply]]], Any]) -> None:
    """Run a story with a function that asks targets by the names of their providers."""

    async def main() -> None:
        snapshot = registry.snapshot()

        async def call(*targets: str, mirror: bool = False) -> Reply:
            meter = make_meter(make_call(body=b'{"model": "m"}', model="m"))
            meter.is_mirror = mirror
            return await ask(meter, [Target(name, "m") for name in targets], snapshot, transport)

        await story(call)

    with override_settings(AI_GATEWAY=QUEUED):
        run(main())


async def until_it_waits() -> None:
    """Let everything happen that is due: a call waits for OpenAI then."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert overload.at_providers["openai"].waiting == 1


def streams(count: int) -> Scripted:
    return Scripted(*(Answer(b"part", headers=[STREAM]) for _ in range(count)))


def test_a_call_with_nowhere_else_to_go_waits() -> None:
    transport = streams(2)

    async def story(call: Any) -> None:
        first = await call("openai")
        second = asyncio.ensure_future(call("openai"))
        await until_it_waits()
        assert len(transport.requests) == 1
        with pytest.raises(ProviderBusy):
            await call("openai")  # The queue is full.
        await first.aclose()
        await (await second).aclose()
        assert (len(transport.requests), overload.at_providers["openai"].taken) == (2, 0)

    in_queue(transport, story)


def test_a_call_that_can_go_elsewhere_does_not_wait() -> None:
    transport = streams(2)

    async def story(call: Any) -> None:
        replies = [await call("openai", "groq"), await call("openai", "groq")]
        assert [request.origin.host for request in transport.requests] == ["api.openai.com", "api.groq.com"]
        for reply in replies:
            await reply.aclose()

    in_queue(transport, story)


def test_an_upload_is_sent_once_and_so_waits_for_its_first_target() -> None:
    transport = streams(2)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"sound"

    async def story(call: Any) -> None:
        first = await call("openai")
        meter = make_meter(msgspec.structs.replace(make_call(model="m"), body=pieces()))
        targets = [Target("openai", "m"), Target("groq", "m")]
        upload = asyncio.ensure_future(ask(meter, targets, registry.snapshot(), transport))
        await until_it_waits()
        await first.aclose()
        await (await upload).aclose()

    in_queue(transport, story)


def test_only_the_last_target_is_waited_for() -> None:
    transport = streams(3)

    async def story(call: Any) -> None:
        replies = [await call("openai"), await call("xai")]
        third = asyncio.ensure_future(call("xai", "openai"))
        await until_it_waits()
        assert overload.at_providers["xai"].waiting == 0
        await replies[0].aclose()
        for reply in (replies[1], await third):
            await reply.aclose()

    in_queue(transport, story)


def test_nobody_waits_for_long_and_a_mirror_not_at_all() -> None:
    transport = streams(2)

    async def story(call: Any) -> None:
        replies = [await call("openai"), await call("xai")]
        with pytest.raises(ProviderBusy):
            await call("xai")
        with pytest.raises(ProviderBusy):
            await call("openai", mirror=True)
        for reply in replies:
            await reply.aclose()
        assert len(transport.requests) == 2

    in_queue(transport, story)


def test_a_caller_that_leaves_the_queue_has_used_nothing() -> None:
    async def story(call: Any) -> None:
        first = await call("openai")
        meter = make_meter(make_call(body=b'{"model": "m"}', model="m"))
        target = Target("openai", "m")
        second = asyncio.ensure_future(ask(meter, [target], registry.snapshot(), streams(0)))
        await until_it_waits()
        second.cancel()
        with pytest.raises(asyncio.CancelledError):
            await second
        assert meter.sent_at is None
        await first.aclose()
        assert (overload.at_providers["openai"].taken, overload.at_providers["openai"].waiting) == (0, 0)

    in_queue(streams(1), story)
