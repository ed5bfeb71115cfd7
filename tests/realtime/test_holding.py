"""What a realtime session is held to while it lasts: limits, budgets, and what its key is for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import keys, sessions
from ai_gateway.charges import State, Verdict
from ai_gateway.errors import InvalidCredential, KeysUnavailable
from ai_gateway.sockets import shortened
from ai_gateway.test.providers import Books
from tests.factories import Answer, Recorder, run
from tests.realtime.session import KEY, LIMITS, SETTINGS, Provider, Providers, Visitor, accepted, hear, transcribed
from tests.realtime_upstream import done, event


def test_each_answer_is_settled_and_the_next_one_admitted(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        providers(Provider(done("resp_1", input_tokens=30, output_tokens=4)))
        await hear(1)

    store = Recorder()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS, "RESERVED_OUTPUT": 100}):
        run(visit())
    reserved = [sorted(charges.amounts) for charges in store.admitted]
    assert reserved == [[1, 1, 100], [1, 100]]  # The place is the session's as long as it lasts.
    settled = [sorted(actual) for _, actual in store.settled]
    assert settled == [[1, 34], [0, 0], [1]]  # The answer, the one that was not asked for, the place.


def test_a_session_goes_on_when_its_provider_is_taken_out(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = {"name": "budget", "measure": "cost", "window": "day", "amount": 10}
    mine = {"mine": {"BACKEND": "openai", "OPTIONS": {"api_key": "stored"}}}
    prices = [{"provider": "mine", "model": "*", "input": 4, "output": 16}]
    before = {**SETTINGS, "LIMITS": [budget], "PROVIDERS": mine, "PRICES": prices, "ROUTES": {}}

    async def visit() -> None:
        provider = Provider(done("resp_1", input_tokens=10))
        providers(provider)
        visitor = Visitor("model=mine/gpt-realtime")
        await accepted(visitor)
        await visitor.event()
        with override_settings(AI_GATEWAY={**before, "PROVIDERS": {}, "PRICES": []}):
            for number in (2, 3):
                provider.say(done(f"resp_{number}", input_tokens=10))
                assert (await visitor.event())["response"]["id"] == f"resp_{number}"
        await visitor.hang_up()

    store = Recorder()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY=before):
        run(visit())
    assert [(entry.outcome, entry.input_tokens, entry.cost_nanos) for entry in books] == [("answered", 30, 30 * 4000)]
    assert [actual for _, actual in store.settled[:3]] == [[10 * 4000]] * 3


def test_a_limit_ends_the_session(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> tuple[Any, Any, Any]:
        provider = Provider(done("resp_1", input_tokens=30))
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        assert (await visitor.event())["type"] == "response.done"
        found = await visitor.event(), await visitor.next(), provider.ended
        await visitor.gone()
        assert provider.is_closed
        return found[0], found[1], provider.ended

    full = State(1000, 0, 0.0)
    store = Recorder(Verdict(True, [full] * 2), Verdict(False, [full], refused=0))
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS[:2]}):
        told, closed, ended = run(visit())
    assert told["error"]["code"] == "insufficient_quota"
    assert closed == {"type": "websocket.close", "code": 1008, "reason": shortened(told["error"]["message"])}
    assert ended == (1000, "")
    assert [entry.outcome for entry in books] == ["limited"]
    assert [entry.input_tokens for entry in books] == [30]


WHISPER = event("session.updated", session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}})


def test_a_budget_ends_a_session_that_only_transcribes(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> dict[str, Any]:
        providers(Provider(WHISPER, *[transcribed(1000)] * 2))
        visitor = Visitor()
        await accepted(visitor)
        for _ in range(3):
            await visitor.event()
        told = await visitor.event()
        await visitor.gone()
        return told

    budget = {"name": "money", "measure": "cost", "window": "day", "amount": 1}
    store = Recorder(Verdict(True, [State(0, 0, 0.0)]), Verdict(False, [State(0, 0, 0.0)], refused=0))
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": [budget]}):
        assert run(visit())["error"]["code"] == "insufficient_quota"
    assert [actual for _, actual in store.settled] == [[2 * 1000 * 100_000]]
    assert [(entry.outcome, entry.cost_nanos) for entry in books] == [("limited", 2 * 1000 * 100_000)]


def test_a_transcription_and_its_answer_are_one_request(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        turn = (transcribed(1), done("resp_1", input_tokens=30))
        providers(Provider(WHISPER, *turn, *turn))
        await hear(5)

    store = Recorder()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS[2:]}):
        run(visit())
    assert [charges.amounts for charges in store.admitted] == [[1], [1], [1]]


@pytest.mark.parametrize("said", [done("resp_1"), transcribed(1), None], ids=["answered", "transcribed", "in time"])
def test_a_key_that_is_revoked_ends_the_session(
    said: str | None, providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def revoked(*_: object) -> None:
        raise InvalidCredential("This gateway key was revoked.")

    async def visit() -> dict[str, Any]:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        monkeypatch.setattr(keys, "identify", revoked)
        if said is not None:
            provider.say(said)
            await visitor.event()
        told = await visitor.event()
        assert (await visitor.next())["code"] == 1008
        await visitor.gone()
        return told

    monkeypatch.setattr(sessions, "LOOK_AGAIN", 30.0 if said else 0.01)
    assert run(visit())["error"]["code"] == "invalid_api_key"


def test_a_session_goes_on_while_nobody_can_tell_whether_its_key_is_valid(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        is_asked = asyncio.Event()

        async def unknown(*_: object) -> None:
            is_asked.set()
            raise KeysUnavailable("The database is away.")

        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        monkeypatch.setattr(keys, "identify", unknown)
        await is_asked.wait()
        provider.say(event("rate_limits.updated"))
        assert (await visitor.event())["type"] == "rate_limits.updated"
        await visitor.hang_up()

    monkeypatch.setattr(sessions, "LOOK_AGAIN", 0.01)
    run(visit())


def test_a_key_for_some_models_gets_no_other_by_an_event(
    providers: Callable[..., Providers], books: Books, key_is_for: Callable[..., None]
) -> None:
    async def visit() -> None:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        wanted = event("session.update", session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}})
        visitor.say(wanted.replace("whisper", "whis\\u0070er"))
        assert (await visitor.event())["error"]["code"] == "model_not_found"
        visitor.say(wanted.replace('"session.update"', '"session.update", "x": NaN'))
        assert (await visitor.event())["error"]["code"] == "invalid_json"
        allowed = event("session.update", session={"model": "gpt-realtime", "voice": "alloy"})
        visitor.say(allowed)
        assert await provider.heard.get() == allowed
        await visitor.hang_up()

    key_is_for(allowed_models=("gpt-*",))
    run(visit())


@pytest.mark.parametrize(
    ("query", "now", "goes_on"),
    [
        ("model=gpt-realtime", {"allowed_models": ("gpt-*",), "allowed_endpoints": ("realtime",)}, True),
        ("model=gpt-realtime", {"allowed_models": ("other",)}, False),
        ("model=gpt-realtime", {"allowed_providers": ("groq",)}, False),
        ("model=gpt-realtime", {"allowed_endpoints": ("chat/*",)}, False),
        ("model=talk", {"allowed_models": ("talk",)}, True),
        ("model=talk", {"allowed_models": ("first",)}, False),
    ],
)
def test_a_session_ends_when_its_key_would_not_be_let_in(
    query: str,
    now: dict[str, Any],
    goes_on: bool,
    providers: Callable[..., Providers],
    books: Books,
    key_is_for: Callable[..., None],
) -> None:
    async def visit() -> str:
        provider = Provider()
        providers(provider)
        visitor = Visitor(query)
        await accepted(visitor)
        key_is_for(**now)
        for number in (1, 2):
            provider.say(done(f"resp_{number}"))
        await visitor.event()
        told = await visitor.event()
        await visitor.hang_up()
        return "" if told["type"] == "response.done" else told["error"]["code"]

    key_is_for()
    assert run(visit()) == ("" if goes_on else "model_not_found")


@pytest.mark.parametrize(("now", "goes_on"), [(("first", "talk"), True), (("first",), False)])
def test_a_session_by_a_fallback_goes_on_while_that_is_open_to_its_key(
    now: tuple[str, ...],
    goes_on: bool,
    providers: Callable[..., Providers],
    books: Books,
    key_is_for: Callable[..., None],
) -> None:
    async def visit() -> str:
        provider = Provider()
        providers(Answer(b"{}", status=503), Answer(b"{}", status=503), provider)
        visitor = Visitor("model=openai/third", KEY, (b"x-gateway-fallbacks", b"talk"))
        await accepted(visitor)
        key_is_for(allowed_models=now)
        for number in (1, 2):
            provider.say(done(f"resp_{number}"))
        await visitor.event()
        told = await visitor.event()
        await visitor.hang_up()
        return "" if told["type"] == "response.done" else told["error"]["code"]

    key_is_for(allowed_models=("third", "talk"))
    assert run(visit()) == ("" if goes_on else "model_not_found")


def test_what_a_key_is_for_now_decides_on_events(
    providers: Callable[..., Providers], books: Books, key_is_for: Callable[..., None]
) -> None:
    async def visit() -> None:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        key_is_for(allowed_models=("gpt-realtime",))
        for number in (1, 2):  # When the second one is there the first one is settled.
            provider.say(done(f"resp_{number}"))
            await visitor.event()
        visitor.say(event("session.update", session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}}))
        assert (await visitor.event())["error"]["code"] == "model_not_found"
        await visitor.hang_up()

    key_is_for()
    run(visit())
