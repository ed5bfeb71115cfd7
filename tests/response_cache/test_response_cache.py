"""Calls that were asked before: what is answered again, to whom, and what is written down of it."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from django.core.cache import caches
from django.test import override_settings

from ai_gateway import beside, fingerprints, inprocess, kept_answers
from ai_gateway.calls import Caller, ReplyBody
from ai_gateway.limits import memory
from ai_gateway.test.providers import Books
from tests.factories import JSON, Scripted, run
from tests.response_cache.site import (
    ANSWERED,
    CHAT,
    COST,
    EVENTS,
    NEWER,
    OTHERS,
    OWN_KEY,
    SETTINGS,
    Site,
    in_cache,
    read,
    serve,
    stream,
    whole,
)


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


def test_a_long_call_is_recognised_beside_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[str] = []

    def noted(*args: Any, **kwargs: Any) -> str:
        threads.append(threading.current_thread().name)
        return fingerprints.fingerprint(*args, **kwargs)

    async def script(site: Site) -> None:
        long = {**CHAT, "messages": [{"role": "user", "content": "." * beside.LONG}]}
        for body in (CHAT, long, {**long, "store": True}, {**long, "metadata": {"a": "." * 2**20}}):
            await site.ask(body)
        assert (await site.ask(long)).cache == b"hit"

    monkeypatch.setattr("ai_gateway.response_cache.fingerprint", noted)
    assert serve(script, *(whole() for _ in range(4))).asked == 4
    assert [name.startswith("ai-gateway-texts") for name in threads] == [False, True, True, True]


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
