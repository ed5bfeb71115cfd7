"""Calls under way: each is in the list from its beginning to its end, and can be ended wherever it stands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import finishing, gateway, live, overload
from ai_gateway.bulkheads import Bulkhead
from ai_gateway.calls import Reply, ReplyBody
from ai_gateway.errors import GatewayError, UpstreamClosed
from ai_gateway.live import LiveCall
from ai_gateway.overload import Entrant
from ai_gateway.test.providers import Books
from tests.factories import JSON, Answer, Body, Scripted, Step, make_arrival, run

KEY = (b"authorization", b"Bearer gw_a-key-of-the-settings")
SSE = (b"content-type", b"text/event-stream")
PATH = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "Hi"}]
HALF = b'data: {"choices":[{"delta":{"content":"Hello there, how are you?"}}]}\n\n'
SETTINGS: dict[str, Any] = {
    "PROVIDERS": {name: {"OPTIONS": {"api_key": f"stored-{name}"}} for name in ("openai", "groq", "mistral")},
    "KEYS": {"team": "gw_a-key-of-the-settings"},
    "PRICES": [{"model": "*", "input": 1, "output": 10}],
    "TIMEOUTS": {},
    "ROUTES": {
        "two": ["openai/a", "groq/b"],
        "copied": {"targets": ["openai/a", {"target": "groq/b", "part": "mirror", "percent": 100}]},
        "goes-on": {"targets": ["openai/a", "groq/b"], "continue_streams": True, "ask_to_continue": True},
    },
}


@pytest.fixture(autouse=True)
def _settings(books: Books) -> Iterator[None]:
    with override_settings(AI_GATEWAY=SETTINGS):
        yield
    assert live.count() == 0, "a call was left behind"


class Stalling(Answer):
    """An answer that says nothing more after its steps, until it is interrupted."""

    def __init__(self, *steps: Step, **facts: Any) -> None:
        super().__init__(*steps, **facts)
        self._interrupted = asyncio.Event()

    async def read(self, patience: float | None = None) -> bytes | None:
        if not self.steps:
            await self._interrupted.wait()
        return await super().read(patience)

    def interrupt(self, error: GatewayError) -> None:
        super().interrupt(error)
        self._interrupted.set()


class Upstreams(Scripted):
    """Providers that answer one after the other; then they hang."""

    async def send(self, request: Any, timeouts: object) -> Any:
        if not self.outcomes:
            self.requests.append(request)
            await asyncio.Event().wait()
        return await super().send(request, timeouts)


class Request(Entrant):
    """A request as its door sees it."""

    has_place = False

    def waiting(self, fields: Mapping[bytes, bytes]) -> Any:
        return nullcontext()


def ask(*outcomes: Answer | Exception, model: str = "m", stream: bool = True, entrant: Entrant | None = None) -> Any:
    body = json.dumps({"model": model, "stream": stream, "messages": MESSAGES}).encode()
    return gateway.handle(make_arrival(PATH, JSON, KEY, body=body), Upstreams(*outcomes), entrant=entrant)


async def settle() -> None:
    for _ in range(30):
        await asyncio.sleep(0)


@asynccontextmanager
async def waiting(*outcomes: Answer | Exception, **facts: Any) -> AsyncIterator[asyncio.Task[Reply]]:
    """A call that waits for something."""
    task = asyncio.ensure_future(ask(*outcomes, **facts))
    await settle()
    assert not task.done()
    yield task
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def only() -> LiveCall:
    (call,) = live.listed()
    return call


def error_of(reply: Reply) -> dict[str, Any]:
    assert isinstance(reply.body, bytes)
    error: dict[str, Any] = json.loads(reply.body)["error"]
    return error


async def rest_of(reply: Reply) -> bytes:
    assert isinstance(reply.body, ReplyBody)
    written = b"".join([part async for part in reply.body])
    await reply.aclose()
    return written


def cancelled(id: str) -> None:
    assert live.cancel(id, "boss")


# What is told.


def test_what_is_told_of_a_call_that_streams() -> None:
    async def main() -> None:
        reply = await ask(Stalling(HALF, headers=[SSE]), model="two")
        assert isinstance(reply.body, ReplyBody)
        assert await anext(reply.body) == HALF
        call = only()
        assert (call.state, call.key_name, call.dialect, call.endpoint) == (
            "streaming",
            "team",
            "openai_chat",
            "chat/completions",
        )
        assert (call.model, call.route, call.provider, call.served_model) == ("two", "two", "openai", "a")
        assert (call.attempt, call.bytes_out, call.is_stream, call.is_ended) == (1, len(HALF), True, False)
        assert 5 <= call.tokens <= 10
        assert 0 <= call.age < 60
        await reply.aclose()

    run(main())


def test_to_look_does_not_disturb_what_is_counted(books: Books) -> None:
    piece = b'data: {"choices":[{"delta":{"content":"word "}}]}\n\n'
    pieces = [piece] * 500

    async def main(*, is_looked_at: bool) -> None:
        reply = await ask(Answer(*pieces, UpstreamClosed("gone"), headers=[SSE]))
        assert isinstance(reply.body, ReplyBody)
        async for _ in reply.body:
            if is_looked_at:
                live.listed()
        await reply.aclose()

    run(main(is_looked_at=False))
    run(main(is_looked_at=True))
    unseen, seen = books
    assert (seen.output_tokens, seen.is_estimated) == (unseen.output_tokens, True)


def test_the_list_forgets_a_call_that_is_over() -> None:
    async def main() -> None:
        whole = Answer(b"{}", headers=[JSON, (b"content-length", b"2")])
        assert (await ask(whole, stream=False)).status == 200
        assert live.count() == 0
        async with waiting(model="two") as task:
            assert (only().state, only().provider) == ("asking", "openai")
            task.cancel()
            await settle()
            assert live.count() == 0, "its caller has left"
        with override_settings(AI_GATEWAY={**SETTINGS, "USAGE": False}):
            reply = await ask(Answer(HALF, headers=[SSE]))
            assert only().state == "streaming", "a site that counts nothing sees its calls, too"
            await reply.aclose()

    run(main())


def test_models_are_added_up() -> None:
    calls = [
        LiveCall(id="1", request_id="1", age=1, state="asking", model="mine"),
        LiveCall(id="2", request_id="2", age=1, state="streaming", provider="p", served_model="a", tokens=3),
        LiveCall(id="3", request_id="3", age=1, state="streaming", provider="p", served_model="a", tokens=4),
    ]
    assert live.totals(calls) == [("p/a", 2, 7), ("mine", 1, 0)]


# How a call is ended.


def test_a_call_that_waits_for_its_provider_is_answered_with_an_error(books: Books) -> None:
    async def main() -> None:
        async with waiting(model="two") as task:
            cancelled(only().id)
            reply = await task
            assert task.cancelling() == 0
        headers = dict(reply.headers)
        assert (reply.status, error_of(reply)["code"]) == (499, "cancelled_by_operator")
        assert headers[b"x-should-retry"] == b"false"

    run(main())
    (entry,) = books
    assert (entry.outcome, entry.status, entry.error_code) == ("cancelled", 499, "cancelled_by_operator")
    assert (entry.attempts, entry.trail) == (1, None), "nobody else was asked"


@pytest.mark.parametrize("model", ["m", "goes-on"])
def test_a_stream_ends_with_an_error_event_and_what_passed_is_paid_for(model: str, books: Books) -> None:
    answer = Stalling(HALF, headers=[SSE])

    async def main() -> bytes:
        reply = await ask(answer, model=model)
        assert isinstance(reply.body, ReplyBody)
        first = await anext(reply.body)
        while b"Hello" not in first:
            first += await anext(reply.body)
        cancelled(only().id)
        await settle()
        return await rest_of(reply)

    event = run(main())
    assert json.loads(event.removeprefix(b"data: "))["error"]["code"] == "cancelled_by_operator"
    (entry,) = books
    assert (entry.outcome, entry.status, entry.error_code) == ("cancelled", 200, "cancelled_by_operator")
    assert entry.output_tokens > 0
    assert (entry.cost_nanos or 0) > 0
    assert answer.is_closed


def test_a_stream_that_looks_for_somebody_who_goes_on_stops_looking(books: Books) -> None:
    async def main() -> bytes:
        reply = await ask(Answer(HALF, UpstreamClosed("gone"), headers=[SSE]), model="goes-on")
        reading = asyncio.ensure_future(rest_of(reply))
        await settle()
        assert (only().provider, only().attempt) == ("groq", 2)
        cancelled(only().id)
        return await reading

    written = run(main())
    assert b"cancelled_by_operator" in written.split(b"\n\n")[-2]
    (entry,) = books
    assert (entry.outcome, entry.error_code) == ("cancelled", "cancelled_by_operator")


def test_a_call_that_waits_in_the_queue(books: Books) -> None:
    async def main() -> None:
        assert overload.calls.enter(1)
        with override_settings(AI_GATEWAY={**SETTINGS, "MAX_CALLS": 1, "QUEUE": {"size": 1, "seconds": 60}}):
            async with waiting(entrant=Request()) as task:
                assert only().state == "queued"
                cancelled(only().id)
                reply = await task
        assert (reply.status, error_of(reply)["code"]) == (499, "cancelled_by_operator")
        assert (overload.calls.waiting, overload.calls.taken) == (0, 1)

    run(main())
    assert [(entry.outcome, entry.status) for entry in books] == [("cancelled", 499)]


def test_a_call_whose_body_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(self: Body, limit: int, seconds: float) -> bytes:
        await asyncio.Event().wait()
        return b""

    monkeypatch.setattr(Body, "read", never)

    async def main() -> None:
        async with waiting() as task:
            assert only().state == "receiving"
            cancelled(only().id)
            assert (await task).status == 499

    run(main())


def test_a_copy(books: Books) -> None:
    async def main() -> None:
        whole = Answer(b"{}", headers=[JSON, (b"content-length", b"2")])
        reply = await ask(whole, model="copied", stream=False)
        await settle()
        assert reply.status == 200
        assert only().is_mirror
        cancelled(only().id)
        await asyncio.gather(*finishing._tasks)

    run(main())
    assert {(entry.is_mirror, entry.outcome) for entry in books} == {(False, "answered"), (True, "cancelled")}


@pytest.mark.parametrize("has_left", [False, True])
def test_a_call_whose_provider_finishes_without_its_caller(has_left: bool, books: Books) -> None:
    options = {"OPTIONS": {"api_key": "sk-x", "finish_within": 60}}

    async def main() -> None:
        async with waiting() as task:
            if has_left:
                task.cancel()
                await settle()
            assert only().state == ("reading on" if has_left else "asking")
            cancelled(only().id)
            await settle()
            if not has_left:
                assert (await task).status == 499
        await asyncio.gather(*finishing._tasks, return_exceptions=True)

    with override_settings(AI_GATEWAY={**SETTINGS, "PROVIDERS": {**SETTINGS["PROVIDERS"], "openai": options}}):
        run(main())
    assert [entry.outcome for entry in books] == ["disconnected" if has_left else "cancelled"]


class Ending(Bulkhead):
    """Places at a provider: who takes one is ended in the same turn of the event loop."""

    def enter(self, limit: int) -> bool:
        cancelled(only().id)
        return super().enter(limit)


def test_a_call_whose_work_has_not_begun_gives_its_place_back(books: Books) -> None:
    options = {"OPTIONS": {"api_key": "sk-x", "finish_within": 60, "max_concurrency": 5}}
    places = overload.at_providers["openai"] = Ending()

    async def main() -> None:
        reply = await ask()
        assert (reply.status, error_of(reply)["code"]) == (499, "cancelled_by_operator")

    with override_settings(AI_GATEWAY={**SETTINGS, "PROVIDERS": {**SETTINGS["PROVIDERS"], "openai": options}}):
        run(main())
    assert [entry.outcome for entry in books] == ["cancelled"]
    assert overload.at_providers.pop("openai") is places
    assert places.taken == 0


def test_nobody_else_is_ended() -> None:
    async def main() -> None:
        async with waiting() as task:
            id = only().id
            assert not live.cancel(id.replace(live.process(), "another"), "boss")
            assert not live.cancel(f"{live.process()}-999999999", "boss")
            assert not live.cancel("nonsense", "boss")
            assert not live.cancel(id, "ann", user_id="7")
            await settle()
            assert not task.done()

    run(main())


def test_a_call_is_ended_once() -> None:
    async def main() -> None:
        reply = await ask(Stalling(HALF, headers=[SSE]))
        id = only().id
        cancelled(id)
        cancelled(id)
        await settle()
        assert only().is_ended
        assert b"cancelled_by_operator" in await rest_of(reply)
        assert not live.cancel(id, "boss")

    run(main())
