"""Where answers are kept: in memory and in the site's cache, which may fail, hang, and be emptied."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Any

import pytest
from django.core.cache.backends.locmem import LocMemCache

from ai_gateway import cache_store, crypto, kept_answers
from ai_gateway.cache_policy import of_key
from ai_gateway.kept_answers import Kept
from tests.response_cache.site import CHAT, Paused, Site, in_cache, serve, until, whole


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
        assert (data.startswith(b"gw1:"), b"choices" in data) == (True, False)
        monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", crypto.generate_key())
        assert (await site.ask()).cache == b"miss"

    serve(script, whole(), whole(), RESPONSE_CACHE={"encrypt": True})


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
