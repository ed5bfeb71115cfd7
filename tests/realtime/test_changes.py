"""What is changed while a realtime session lasts: limits and guardrails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import sessions
from ai_gateway.test.providers import Books
from tests.factories import Recorder, run
from tests.realtime.session import LIMITS, SETTINGS, Provider, Providers, Visitor, accepted
from tests.realtime_upstream import done, event


def limited(amount: int, **others: Any) -> dict[str, Any]:
    """The settings with one limit, and answers that may use 30 tokens."""
    limit = {"name": "tokens", "measure": "tokens", "window": "day", "amount": amount, **others}
    return {**SETTINGS, "RESERVED_OUTPUT": 30, "LIMITS": [limit]}


@pytest.mark.parametrize(
    ("before", "after", "goes_on"),
    [
        (limited(10_000), limited(10_000), True),
        (limited(10_000), limited(40), False),  # Tightened: 30 tokens are used, and the next answer may use as many.
        (SETTINGS, limited(20), False),  # Put on where there was none.
        (limited(10_000), limited(20, name="other", scope="key", subject="team"), False),
        (limited(50), SETTINGS, True),  # Lifted.
        (limited(50), limited(10_000), True),
    ],
)
def test_limits_that_are_changed_meanwhile_hold_for_the_next_answer(
    before: dict[str, Any], after: dict[str, Any], goes_on: bool, providers: Callable[..., Providers], books: Books
) -> None:
    async def visit() -> str:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        with override_settings(AI_GATEWAY=after):
            for number in (1, 2):
                provider.say(done(f"resp_{number}", input_tokens=30))
            await visitor.event()
            told = await visitor.event()
            await visitor.hang_up()
        return "" if told["type"] == "response.done" else told["error"]["code"]

    with override_settings(AI_GATEWAY=before):
        assert run(visit()) == ("" if goes_on else "insufficient_quota")


def test_limits_that_are_tightened_while_nobody_speaks_end_the_session_in_time(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> dict[str, Any]:
        providers(Provider())
        visitor = Visitor()
        await accepted(visitor)
        with override_settings(AI_GATEWAY=limited(20)):
            told = await visitor.event()
            await visitor.gone()
        return told

    monkeypatch.setattr(sessions, "LOOK_AGAIN", 0.01)
    with override_settings(AI_GATEWAY=limited(10_000)):
        assert run(visit())["error"]["code"] == "insufficient_quota"
    assert [(entry.outcome, entry.error_code) for entry in books] == [("limited", "insufficient_quota")]


def test_a_guardrail_that_is_put_on_ends_the_session(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> dict[str, Any]:
        providers(Provider())
        visitor = Visitor()
        await accepted(visitor)
        with override_settings(AI_GATEWAY={**SETTINGS, "GUARDRAILS": guardrails}):
            told = await visitor.event()
            await visitor.gone()
        return told

    guardrails = {"pii": {"BACKEND": "redaction", "EVERYWHERE": True}}
    monkeypatch.setattr(sessions, "LOOK_AGAIN", 0.01)
    assert run(visit())["error"]["code"] == "guardrail_blocked"
    assert [entry.outcome for entry in books] == ["blocked"]


def test_limits_that_are_tightened_in_mid_answer_wait_for_its_end(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> list[str]:
        provider = Provider(event("response.created", response={"id": "resp_1"}))
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        await visitor.event()
        with override_settings(AI_GATEWAY=limited(20)):
            await asyncio.sleep(0.1)
            provider.say(done("resp_1", input_tokens=30))
            found = [(await visitor.event())["type"] for _ in range(2)]
            await visitor.gone()
        return found

    monkeypatch.setattr(sessions, "LOOK_AGAIN", 0.01)
    with override_settings(AI_GATEWAY=limited(10_000)):
        assert run(visit()) == ["response.done", "error"]


def test_limits_that_stay_as_they_are_are_asked_once_for_each_answer(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        providers(Provider())
        visitor = Visitor()
        await accepted(visitor)
        with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS, "MAX_CALLS": 7}):
            await asyncio.sleep(0.1)
        await visitor.hang_up()

    store = Recorder()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    monkeypatch.setattr(sessions, "LOOK_AGAIN", 0.01)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS}):
        run(visit())
    assert len(store.admitted) == 1
