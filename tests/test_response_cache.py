"""Calls that were asked before: what is answered again, to whom, and what is written down of it."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.test import override_settings

from ai_gateway import accounting, cache_store, crypto, flights, gateway, inprocess, kept_answers, live
from ai_gateway.cache_policy import of_key
from ai_gateway.calls import Caller, Reply, ReplyBody, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import ConnectFailed
from ai_gateway.kept_answers import Kept
from ai_gateway.limits import memory
from ai_gateway.test.providers import Books
from tests.factories import JSON, Answer, Scripted, Step, make_arrival, run

TEAM = (b"authorization", b"Bearer gw_a-key-of-the-settings")
OTHERS = (b"authorization", b"Bearer gw_another-key-of-the-settings")
OWN_KEY = (b"authorization", b"Bearer sk-own")
CHAT: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
ANSWERED = {
    "model": "m",
    "choices": [{"message": {"content": "Ho"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5},
}
NEWER = {**ANSWERED, "id": "newer"}
COST = 10 * 1_000 + 5 * 10_000
EVENTS = (
    b'data: {"choices":[{"delta":{"content":"H"}}]}\n\n',
    b'data: {"choices":[{"delta":{"content":"o"},"finish_reason":"stop"}]}\n\n',
    b"data: [DONE]\n\n",
)
EVENT_STREAM = (b"content-type", b"text/event-stream")
SETTINGS: dict[str, Any] = {
    "PROVIDERS": {"openai": {"OPTIONS": {"api_key": "stored"}}, "groq": {"OPTIONS": {"api_key": "stored"}}},
    "KEYS": {"team": "gw_a-key-of-the-settings", "others": "gw_another-key-of-the-settings"},
    "PRICES": [{"model": "*", "input": 1, "output": 10}],
    "RETRIES": {"attempts": 1},
}
LOCAL = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "answers"}}


def whole(answer: Any = ANSWERED, *more: tuple[bytes, bytes], status: int = 200) -> Answer:
    """A plain answer."""
    body = json.dumps(answer).encode()
    return Answer(body, status=status, headers=[JSON, (b"content-length", b"%d" % len(body)), *more])


def stream(*steps: Step) -> Answer:
    """A streamed one."""
    return Answer(*(steps or EVENTS), headers=[EVENT_STREAM])


@pytest.fixture(autouse=True)
def _cache(books: Books) -> Iterator[None]:
    with override_settings(CACHES=LOCAL):
        caches["default"].clear()
        yield
        assert not len(under_way())
        assert not live.count()


def in_cache() -> Any:
    """The site's cache, to look into."""
    return caches["default"]


def under_way() -> list[Any]:
    """The flights of all event loops."""
    return [flight for table in flights._flights.values() for flight in table.values()]


class Got(msgspec.Struct):
    """An answer as its caller has it."""

    status: int
    headers: dict[bytes, bytes]
    chunks: list[bytes]

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def cache(self) -> bytes | None:
        return self.headers.get(b"x-gateway-cache")


async def read(reply: Reply) -> Got:
    """Read a reply as a door does."""
    if not isinstance(reply.body, ReplyBody):
        return Got(reply.status, dict(reply.headers), [reply.body])
    try:
        return Got(reply.status, dict(reply.headers), [chunk async for chunk in reply.body])
    finally:
        await reply.aclose()


class Site:
    """A gateway with a cache of answers, and what its providers say."""

    def __init__(self, transport: Scripted, caller: tuple[bytes, bytes] = TEAM) -> None:
        self.transport = transport
        self.caller = caller

    async def reply(self, body: Any, *headers: tuple[bytes, bytes], path: str = "/v1/chat/completions") -> Reply:
        given = body if isinstance(body, bytes) else json.dumps(body).encode()
        caller = () if any(name == b"authorization" for name, _ in headers) else (self.caller,)
        return await gateway.handle(make_arrival(path, JSON, *caller, *headers, body=given), self.transport)

    async def ask(self, body: Any = CHAT, *headers: tuple[bytes, bytes], **more: Any) -> Got:
        got = await read(await self.reply(body, *headers, **more))
        await settled()
        return got

    @property
    def asked(self) -> int:
        """How often a provider was asked."""
        return len(self.transport.requests)


async def settled() -> None:
    """Wait until what is to be kept is kept."""
    await until(lambda: not cache_store.store()._keeping.pending)


async def until(condition: Callable[[], bool]) -> None:
    """Wait until something is so, on a machine that may be busy."""
    for _ in range(30_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise TimeoutError


def serve(
    script: Callable[[Site], Any], *outcomes: Answer | Exception, transport: Scripted | None = None, **settings: Any
) -> Site:
    """Run a script against a gateway whose providers answer so."""
    site = Site(transport or Scripted(*outcomes))
    # What is in memory hides what is in the cache: most tests are about the latter.
    policy = {"memory": 0, "timeout": 30, **settings.pop("RESPONSE_CACHE", {})}
    with override_settings(AI_GATEWAY={**SETTINGS, "RESPONSE_CACHE": policy, **settings}):
        run(script(site))
    return site


# The same again.


def test_the_same_call_gets_the_same_answer_again(books: Books) -> None:
    async def script(site: Site) -> None:
        first, again = await site.ask(), await site.ask()
        assert (first.cache, again.cache) == (b"miss", b"hit")
        assert again.body == first.body == json.dumps(ANSWERED).encode()
        assert again.headers[b"content-length"] == b"%d" % len(again.body)
        assert again.headers[b"content-type"] == JSON[1]
        assert again.headers[b"x-gateway-provider"] == b"openai"

    assert serve(script, whole()).asked == 1


def test_an_answer_again_has_a_head_of_its_own() -> None:
    async def script(site: Site) -> None:
        first = await site.ask(CHAT, (b"x-request-id", b"the-first-call"))
        again = await site.ask(CHAT, (b"x-request-id", b"the-second-call"))
        assert first.headers[b"x-ratelimit-remaining-requests"] == b"7"
        for name in (b"x-ratelimit-remaining-requests", b"openai-processing-ms", b"x-upstream-request-id"):
            assert name not in again.headers
        assert again.headers[b"x-request-id"] == again.headers[b"request-id"] == b"the-second-call"
        assert again.headers[b"age"].isdigit()
        assert again.headers[b"x-gateway-attempts"] == b"0"
        assert again.headers[b"x-gateway-cost"] == b"0"
        assert b"upstream" not in again.headers[b"server-timing"]

    told = ((b"x-ratelimit-remaining-requests", b"7"), (b"openai-processing-ms", b"9"), (b"x-request-id", b"theirs"))
    serve(script, whole(ANSWERED, *told))


def test_what_is_written_down_of_an_answer_again(books: Books) -> None:
    async def script(site: Site) -> None:
        await site.ask()
        await site.ask()

    serve(script, whole())
    first, again = books
    assert (first.outcome, first.cost_nanos, first.saved_nanos) == ("answered", COST, 0)
    assert (again.outcome, again.cost_nanos, again.saved_nanos) == ("cached", 0, COST)
    assert (again.provider, again.served_model, again.attempts, again.status) == ("openai", "m", 0, 200)
    assert (again.input_tokens, again.output_tokens, again.bytes_out) == (0, 0, first.bytes_out)


@pytest.mark.parametrize("durability", ["batched", "committed"])
@pytest.mark.parametrize("prices", [SETTINGS["PRICES"], []], ids=["priced", "unpriced"])
@pytest.mark.parametrize("is_stream", [False, True])
def test_an_answer_that_is_kept_is_priced_once(
    books: Books, monkeypatch: pytest.MonkeyPatch, is_stream: bool, prices: list[Any], durability: str
) -> None:
    """The price may be another one a moment later, and is looked for in vain but once."""
    priced: list[int | None] = []
    price_of = accounting.price_of

    def noted(*given: Any) -> int | None:
        priced.append(price_of(*given))
        return priced[-1]

    monkeypatch.setattr(accounting, "price_of", noted)

    async def script(site: Site) -> None:
        await site.ask({**CHAT, "stream": is_stream})
        await site.ask({**CHAT, "stream": is_stream})

    serve(script, stream() if is_stream else whole(), PRICES=prices, USAGE_DURABILITY=durability)
    assert [(row.outcome, row.cost_nanos) for row in books] == [("answered", priced[0]), ("cached", 0)]
    assert len(priced) == 1
    assert books[1].saved_nanos == (priced[0] or 0)


def test_a_stream_is_given_again_in_the_pieces_that_it_came_in(books: Books) -> None:
    async def script(site: Site) -> None:
        first, again = await site.ask({**CHAT, "stream": True}), await site.ask({**CHAT, "stream": True})
        assert first.chunks == [EVENTS[0], b": keep-alive\n\n", *EVENTS[1:]]
        assert again.chunks == list(EVENTS)
        assert (again.cache, again.headers[b"content-type"]) == (b"hit", b"text/event-stream")
        assert b"content-length" not in again.headers
        plain = await site.ask()
        assert plain.cache == b"miss"

    assert serve(script, stream(EVENTS[0], None, *EVENTS[1:]), whole()).asked == 2
    assert [entry.outcome for entry in books] == ["answered", "cached", "answered"]
    assert (books[1].is_stream, books[1].first_token_ms) == (True, None)


def test_a_caller_that_leaves_an_answer_again_has_hung_up(books: Books) -> None:
    async def script(site: Site) -> None:
        await site.ask({**CHAT, "stream": True})
        reply = await site.reply({**CHAT, "stream": True})
        assert isinstance(reply.body, ReplyBody)
        await reply.body.__anext__()
        await reply.aclose()

    serve(script, stream())
    assert [entry.outcome for entry in books] == ["answered", "disconnected"]


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("/v1/responses", {"model": "m", "input": "Hi"}, {"status": "completed", "output": [], "error": None}),
        ("/v1/embeddings", {"model": "m", "input": "Hi"}, {"object": "list", "data": [{"embedding": [0.5]}]}),
        ("/v1/messages", {"model": "openai/m", "max_tokens": 9, "messages": CHAT["messages"]}, ANSWERED),
        (
            "/v1beta/models/openai/m:generateContent",
            {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
            ANSWERED,
        ),
    ],
    ids=["responses", "embeddings", "messages, translated", "gemini, translated"],
)
def test_every_format_is_kept_as_its_caller_saw_it(path: str, body: Any, answer: Any) -> None:
    async def script(site: Site) -> None:
        first, again = await site.ask(body, path=path), await site.ask(body, path=path)
        assert (first.status, first.cache, again.cache, again.body) == (200, b"miss", b"hit", first.body)

    assert serve(script, whole(answer)).asked == 1


def test_what_is_no_question_is_passed_by() -> None:
    async def script(site: Site) -> None:
        for _ in range(2):
            got = await site.ask({"input_file_id": "f"}, path="/v1/batches")
            assert got.cache is None

    assert serve(script, whole({"id": "b"}), whole({"id": "b"})).asked == 2


def test_without_the_setting_nothing_is_kept() -> None:
    async def script(site: Site) -> None:
        for _ in range(2):
            assert (await site.ask()).cache is None

    site = Site(Scripted(whole(), whole()))
    with override_settings(AI_GATEWAY=SETTINGS):
        run(script(site))
    assert site.asked == 2


# For whom.


def test_a_key_gets_no_answer_of_another_key_unless_it_is_everyones() -> None:
    async def script(site: Site) -> None:
        await site.ask()
        site.found = (await site.ask(CHAT, OTHERS)).cache  # type: ignore[attr-defined]

    apart = serve(script, whole(), whole())
    assert (apart.asked, apart.found) == (2, b"miss")  # type: ignore[attr-defined]
    caches["default"].clear()
    shared = serve(script, whole(), RESPONSE_CACHE={"scope": "everyone"})
    assert (shared.asked, shared.found) == (1, b"hit")  # type: ignore[attr-defined]


def test_a_caller_with_a_credential_of_its_own_is_passed_by() -> None:
    async def script(site: Site) -> None:
        for _ in range(2):
            assert (await site.ask(CHAT, OWN_KEY)).cache is None

    assert serve(script, whole(), whole(), RESPONSE_CACHE={"scope": "everyone"}).asked == 2


def test_a_route_that_leads_elsewhere_has_other_answers() -> None:
    async def script(site: Site) -> None:
        assert (await site.ask({**CHAT, "model": "fast"})).cache == b"miss"

    with_one = serve(script, whole(), ROUTES={"fast": ["openai/a"]})
    with_two = serve(script, whole(), ROUTES={"fast": ["openai/b"]})
    assert with_one.asked == with_two.asked == 1


REGIONS = [
    {"target": "openai/a", "conditions": {"headers": {"x-region": "us"}}},
    {"target": "groq/b", "conditions": {"headers": {"x-region": "eu"}}},
]


def test_calls_that_are_for_other_targets_have_other_answers() -> None:
    async def script(site: Site) -> None:
        asked = [await site.ask({**CHAT, "model": "near"}, (b"x-region", each)) for each in (b"us", b"eu", b"us")]
        assert [got.cache for got in asked] == [b"miss", b"miss", b"hit"]
        assert [got.headers[b"x-gateway-provider"] for got in asked] == [b"openai", b"groq", b"openai"]
        nowhere = await site.ask({**CHAT, "model": "near"}, (b"x-region", b"cn"))
        assert (nowhere.status, nowhere.cache) == (400, None)
        assert json.loads(nowhere.body)["error"]["code"] == "no_suitable_target"

    assert serve(script, whole(), whole(NEWER), ROUTES={"near": {"targets": REGIONS}}).asked == 2


def test_calls_whose_fallbacks_are_not_there_for_the_same_have_other_answers() -> None:
    async def script(site: Site) -> None:
        for region in (b"us", b"eu", b"us"):
            await site.ask(CHAT, (b"x-gateway-fallbacks", b"near"), (b"x-region", region))

    assert serve(script, whole(), whole(), ROUTES={"near": {"targets": REGIONS}}).asked == 2


@pytest.mark.parametrize("where", ["header", "body"])
def test_calls_that_name_fallbacks_are_the_same_if_they_name_the_same(where: str) -> None:
    async def script(site: Site) -> None:
        for name in ("groq/x", "groq/y", "groq/x"):
            headers = [(b"x-gateway-fallbacks", name.encode())] if where == "header" else []
            await site.ask(CHAT if where == "header" else {**CHAT, "models": [name]}, *headers)

    assert serve(script, whole(), whole()).asked == 2


def test_calls_that_are_not_drawn_for_the_same_have_other_answers() -> None:
    async def script(site: Site) -> None:
        for region in (b"us", b"eu", b"us"):
            await site.ask({**CHAT, "model": "near"}, (b"x-region", region))

    trial = {"targets": ["groq/b", {**REGIONS[0], "part": "experiment", "percent": 100}]}
    assert serve(script, whole(), whole(), ROUTES={"near": trial}).asked == 2


def test_a_route_has_a_switch_and_a_time_of_its_own() -> None:
    async def script(site: Site) -> None:
        assert (await site.ask({**CHAT, "model": "off"})).cache is None
        assert (await site.ask({**CHAT, "model": "on"})).cache == b"miss"
        assert (await site.ask({**CHAT, "model": "openai/a"})).cache is None
        (ends_at,) = [ends_at for name, ends_at in in_cache()._expire_info.items() if "answer" in name]
        assert 0 < ends_at - kept_answers.now() <= 7

    routes = {
        "off": {"targets": ["openai/a"], "cache": "off"},
        "on": {"targets": ["openai/a"], "cache": "on", "cache_seconds": 7},
    }
    serve(script, whole(), whole(), whole(), ROUTES=routes, RESPONSE_CACHE={"keys": [], "routes": ["off"]})


# What the caller wants.


def test_a_caller_may_want_a_new_answer_which_is_kept_in_place_of_the_old() -> None:
    async def script(site: Site) -> None:
        await site.ask()
        fresh = await site.ask(CHAT, (b"x-gateway-cache", b"no-cache"))
        again = await site.ask()
        assert (fresh.cache, again.cache, again.body) == (b"bypass", b"hit", json.dumps(NEWER).encode())

    assert serve(script, whole(), whole(NEWER)).asked == 2


def test_a_caller_may_want_nothing_kept() -> None:
    async def script(site: Site) -> None:
        assert (await site.ask(CHAT, (b"x-gateway-cache", b"no-store"))).cache == b"miss"
        assert (await site.ask(CHAT, (b"x-gateway-cache", b"no-cache, no-store"))).cache == b"bypass"
        assert (await site.ask()).cache == b"miss"
        assert (await site.ask(CHAT, (b"x-gateway-cache", b"no-store"))).cache == b"hit"

    assert serve(script, whole(), whole(), whole()).asked == 3


def test_a_caller_may_want_an_answer_that_is_not_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(site: Site) -> None:
        await site.ask()
        start = kept_answers.now()
        monkeypatch.setattr("ai_gateway.kept_answers.now", lambda: start + 100)
        got = await site.ask(CHAT, (b"x-gateway-cache", b"max-age=200"))
        assert (got.cache, got.headers[b"age"]) == (b"hit", b"100")
        assert (await site.ask(CHAT, (b"x-gateway-cache", b"max-age=60"))).cache == b"miss"

    assert serve(script, whole(), whole()).asked == 2


# What is not kept.

BAD = {
    "an error": whole({"error": {"message": "no"}}, status=400),
    "an error that says 200": whole({"error": {"message": "no"}}),
    "no JSON": Answer(b"ha", headers=[JSON, (b"content-length", b"2")]),
    "compressed": whole(ANSWERED, (b"content-encoding", b"gzip")),
    "filtered": whole({"choices": [{"finish_reason": "content_filter", "message": {"content": ""}}]}),
    "a refusal": whole({"choices": [{"finish_reason": "stop", "message": {"refusal": "No."}}]}),
    "a tool": whole({"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": [{"id": "c"}]}}]}),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=list(BAD))
def test_what_is_no_answer_is_not_kept(bad: Answer) -> None:
    async def script(site: Site) -> None:
        first, second = await site.ask(), await site.ask()
        assert (first.cache, second.cache) == (b"miss", b"miss")

    bad = Answer(*bad.steps, status=bad.status, headers=bad.headers)
    assert serve(script, bad, whole()).asked == 2


def test_an_answer_that_calls_a_tool_is_kept_if_the_operator_wants_it() -> None:
    async def script(site: Site) -> None:
        await site.ask()
        assert (await site.ask()).cache == b"hit"

    answer = {"choices": [{"finish_reason": "tool_calls", "message": {"tool_calls": [{"id": "c"}]}}]}
    serve(script, whole(answer), RESPONSE_CACHE={"tools": True})


BROKEN = {
    "cut off": stream(EVENTS[0]),
    "died": stream(EVENTS[0], ConnectFailed("gone")),
    "an error as an event": stream(EVENTS[0], b'data: {"error": {"message": "no"}}\n\n', b"data: [DONE]\n\n"),
    "filtered": stream(b'data: {"choices":[{"finish_reason":"content_filter"}]}\n\n', EVENTS[2]),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=list(BROKEN))
def test_a_stream_that_does_not_end_well_is_not_kept(broken: Answer) -> None:
    async def script(site: Site) -> None:
        await site.ask({**CHAT, "stream": True})
        assert (await site.ask({**CHAT, "stream": True})).cache == b"miss"

    broken = Answer(*broken.steps, headers=broken.headers)
    assert serve(script, broken, stream()).asked == 2


def test_a_stream_that_its_caller_leaves_is_not_kept() -> None:
    async def script(site: Site) -> None:
        reply = await site.reply({**CHAT, "stream": True})
        assert isinstance(reply.body, ReplyBody)
        await reply.body.__anext__()
        await reply.aclose()
        assert (await site.ask({**CHAT, "stream": True})).cache == b"miss"

    assert serve(script, stream(), stream()).asked == 2


@pytest.mark.parametrize("body", [CHAT, {**CHAT, "stream": True}], ids=["plain", "stream"])
def test_nothing_long_is_kept(body: Any) -> None:
    async def script(site: Site) -> None:
        await site.ask(body)
        assert (await site.ask(body)).cache == b"miss"
        assert (await site.ask({**CHAT, "user": "x" * 200})).cache == b"bypass"

    def answer() -> Answer:
        return (
            stream(b"data: " + b"x" * 200 + b"\n\n", *EVENTS)
            if "stream" in body
            else whole({**ANSWERED, "n": "x" * 200})
        )

    assert serve(script, answer(), answer(), whole(), RESPONSE_CACHE={"max_bytes": 100}).asked == 3


# Equal calls at the same time.


class Paused(Scripted):
    """A transport whose answers come when they are let go, one after the other."""

    def __init__(self, *outcomes: Answer | Exception) -> None:
        super().__init__(*outcomes)
        self.gates = [asyncio.Event() for _ in outcomes]

    async def send(self, request: UpstreamRequest, timeouts: object) -> UpstreamResponse:
        gate = self.gates[len(self.requests)]
        self.requests.append(request)
        outcome = self.outcomes[len(self.requests) - 1]
        await gate.wait()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


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


# Limits.


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> memory.MemoryStore:
    store = memory.MemoryStore()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    return store


def test_an_answer_again_counts_as_a_request(limits: memory.MemoryStore) -> None:
    async def script(site: Site) -> None:
        assert [(await site.ask()).status for _ in range(4)] == [200, 200, 200, 429]

    limit = {"scope": "key", "measure": "requests", "window": "day", "amount": 3}
    assert serve(script, whole(), LIMITS=[limit]).asked == 1


def test_an_answer_again_uses_neither_tokens_nor_money_nor_a_place(limits: memory.MemoryStore) -> None:
    async def script(site: Site) -> None:
        assert [(await site.ask()).status for _ in range(4)] == [200] * 4
        assert (await site.ask({**CHAT, "n": 2})).status == 429

    budgets = [
        {"scope": "key", "measure": "tokens", "window": "day", "amount": 10_000},
        {"scope": "provider", "subject": "openai", "measure": "requests", "window": "day", "amount": 1},
        {"scope": "everyone", "measure": "cost", "window": "day", "amount": 1},
    ]
    assert serve(script, whole(), LIMITS=budgets).asked == 1


# The cache itself.


def test_what_is_in_memory_needs_no_look_into_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(site: Site) -> None:
        await site.ask()
        monkeypatch.setattr(LocMemCache, "get_many", lambda *_: pytest.fail("the cache was asked"))
        assert (await site.ask()).cache == b"hit"

    serve(script, whole(), RESPONSE_CACHE={"memory": 100_000})


def test_a_cache_that_fails_is_done_without_and_the_log_says_so_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ConnectionError("no Redis")

    async def script(site: Site) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(LocMemCache, "get_many", fail)
            assert [(await site.ask()).cache for _ in range(3)] == [b"bypass"] * 3
        monkeypatch.setattr(cache_store.store(), "_retry_at", 0.0)
        assert [(await site.ask()).cache for _ in range(2)] == [b"miss", b"hit"]

    with caplog.at_level(logging.WARNING, "ai_gateway"):
        serve(script, whole(), whole(), whole(), whole())
    assert [record.levelname for record in caplog.records if "cache" in record.message] == ["ERROR", "WARNING"]


def test_a_cache_that_hangs_delays_one_call_for_a_moment_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    looks = []

    def hang(*_: object) -> dict[str, object]:
        looks.append(1)
        go_on.wait(30)
        return {}

    async def script(site: Site) -> None:
        monkeypatch.setattr(LocMemCache, "get_many", hang)
        assert [(await site.ask()).cache for _ in range(3)] == [b"bypass"] * 3
        go_on.set()

    assert serve(script, whole(), whole(), whole(), RESPONSE_CACHE={"timeout": 0.2}).asked == 3
    assert len(looks) == 1


@pytest.mark.parametrize("mark", ["everything", "owner", "route", "another route"])
def test_answers_are_forgotten_at_once_all_or_some(mark: str) -> None:
    async def script(site: Site) -> None:
        await site.ask({**CHAT, "model": "fast"})
        names = {
            "everything": cache_store.EVERYTHING,
            "owner": cache_store.mark_of("owner", of_key(None, "team")),
            "route": cache_store.mark_of("route", "fast"),
            "another route": cache_store.mark_of("route", "slow"),
        }
        await asyncio.to_thread(cache_store.store().forget, [names[mark]])
        assert (await site.ask({**CHAT, "model": "fast"})).cache == (b"hit" if mark == "another route" else b"miss")

    serve(script, whole(), whole(), ROUTES={"fast": ["openai/m"]}, RESPONSE_CACHE={"memory": 100_000})


@pytest.mark.parametrize("memory", [0, 100_000])
def test_an_answer_that_was_asked_for_before_all_is_forgotten_is_not_kept_after(memory: int) -> None:
    async def script(site: Site) -> None:
        first = asyncio.create_task(site.ask())
        await until(lambda: bool(paused.requests))
        await asyncio.to_thread(cache_store.store().forget, [cache_store.EVERYTHING])
        paused.gates[0].set()
        paused.gates[1].set()
        await first
        assert (await site.ask()).cache == b"miss"

    paused = Paused(whole(), whole())
    serve(script, transport=paused, RESPONSE_CACHE={"memory": memory})


def test_an_answer_that_is_found_while_all_is_forgotten_is_not_held_after(monkeypatch: pytest.MonkeyPatch) -> None:
    set_in_cache = LocMemCache.set

    async def script(site: Site) -> None:
        loop = asyncio.get_running_loop()

        def ask_before(cache: LocMemCache, name: str, *rest: Any, **more: Any) -> None:
            if name.startswith(cache_store.MARK_PREFIX):
                asyncio.run_coroutine_threadsafe(site.ask(), loop).result(30)
            set_in_cache(cache, name, *rest, **more)

        await site.ask()
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(LocMemCache, "set", ask_before)
            meanwhile.setattr(cache_store, "FRESH", -1.0)  # The cache is asked.
            await asyncio.to_thread(cache_store.store().forget, [cache_store.EVERYTHING])
        assert (await site.ask()).cache == b"miss"

    serve(script, whole(), whole(), RESPONSE_CACHE={"memory": 100_000})


def test_what_lies_in_the_cache_is_bytes_without_a_name_that_tells_anything() -> None:
    async def script(site: Site) -> None:
        await site.ask()

    serve(script, whole())
    stored = {name: in_cache().get(name.split(":", 2)[2]) for name in list(in_cache()._cache)}
    assert {type(value) for value in stored.values()} == {bytes, str}
    assert not [name for name in stored if "team" in name or "Hi" in name]


def test_an_answer_in_the_cache_may_be_encrypted(encryption_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def script(site: Site) -> None:
        assert (await site.ask()).cache == b"miss"
        assert (await site.ask()).cache == b"hit"
        (name,) = [name for name in in_cache()._cache if "answer" in name]
        data = in_cache().get(name.split(":", 2)[2])
        assert (data.startswith(b"gw1:"), b"Ho" in data) == (True, False)
        monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", crypto.generate_key())
        assert (await site.ask()).cache == b"miss"

    serve(script, whole(), whole(), RESPONSE_CACHE={"encrypt": True})


def test_the_sites_own_pages_ask_whatever_is_kept() -> None:
    async def script(site: Site) -> None:
        for _ in range(2):
            call = inprocess.reply_to(
                "POST",
                "/v1/chat/completions",
                Caller(key_name="user 1"),
                json.dumps(CHAT).encode(),
                [],
                transport=site.transport,
            )
            async with call as reply:
                assert (await read(reply)).cache == b"bypass"

    assert serve(script, whole(), whole()).asked == 2


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


def test_memory_holds_what_was_asked_for_last() -> None:
    def kept(size: int) -> Kept:
        end = kept_answers.now() + 60
        return Kept((), 0.0, end, [], [b"x" * size], is_stream=False, provider="", model="", cost_nanos=None)

    held = cache_store.Memory(10_000)
    for name in ("a", "b"):
        held.put(name, kept(3000), 0)
    assert held.get("a") is not None
    held.put("c", kept(3000), 0)
    assert [held.get(name) is not None for name in ("a", "b", "c")] == [True, False, True]
    held.put("a", kept(20_000), 0)
    assert [held.get(name) is not None for name in ("a", "b", "c")] == [False, False, True]
    held.clear()
    assert held.get("c") is None
    held.put("c", kept(3000), 0)  # It was on its way.
    assert held.get("c") is None
    held.put("c", kept(3000), held.epoch)
    assert held.get("c") is not None


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
