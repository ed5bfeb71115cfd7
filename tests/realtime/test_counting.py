"""What is counted of a realtime session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway.test.providers import Books
from tests.factories import Recorder, run
from tests.realtime.session import LIMITS, PATIENCE, SETTINGS, Provider, Providers, Visitor, accepted, hear, transcribed
from tests.realtime_upstream import done, event


def test_a_session_is_one_call_with_the_sum_of_its_answers(providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> None:
        described = event("session.created", session={"audio": {"input": {"transcription": {"model": "whisper-1"}}}})
        heard = event(
            "conversation.item.input_audio_transcription.completed", usage={"type": "duration", "seconds": 30}
        )
        answers = [done("resp_1", input_tokens=1000, output_tokens=10), done("resp_2", input_tokens=500)]
        providers(Provider(described, heard, *answers))
        await hear(4)

    run(visit())
    (entry,) = books
    assert (entry.outcome, entry.status, entry.endpoint, entry.is_stream) == ("answered", 101, "realtime", True)
    assert (entry.input_tokens, entry.output_tokens, entry.is_estimated) == (1500, 10, False)
    assert entry.units == {"audio_seconds": 30}
    assert entry.cost_nanos == 1500 * 4000 + 10 * 16000 + 30 * 100_000  # Each by its own model's price.


@pytest.mark.parametrize("end", [{"usage": None}, {"status": "cancelled"}, {"usage": {}}])
def test_an_answer_that_does_not_say_what_it_used_is_estimated(
    end: dict[str, Any], providers: Callable[..., Providers], books: Books
) -> None:
    async def visit() -> None:
        said = event("response.created"), event("response.output_text.delta", delta="x" * 4000)
        providers(Provider(*said, event("response.done", response={"id": "resp_1", **end})))
        await hear(3)

    run(visit())
    (entry,) = books
    assert (entry.outcome, entry.output_tokens, entry.is_estimated) == ("answered", 1000, True)
    assert entry.cost_nanos == 1000 * 16_000


def test_what_was_said_to_an_answer_that_is_cut_is_estimated(providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> None:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        visitor.say(event("input_audio_buffer.append", audio="A" * 40_000))
        visitor.say(event("conversation.item.create", item={"text": "x " * 2000}))
        for _ in range(2):
            await provider.heard.get()
        provider.say(event("input_audio_buffer.speech_started", audio_start_ms=0))
        provider.say(event("input_audio_buffer.speech_stopped", audio_end_ms=2000))
        provider.say(event("response.created"))
        for _ in range(3):
            await visitor.event()
        await visitor.hang_up()

    run(visit())
    (entry,) = books
    assert (entry.input_audio_tokens, entry.is_estimated) == (20, True)
    assert 1000 <= entry.input_tokens < 1040


def test_what_an_unknown_model_transcribed_has_no_known_cost(providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> None:
        providers(Provider(transcribed(30)))
        await hear(1)

    run(visit())
    assert [(entry.units, entry.cost_nanos) for entry in books] == [({"audio_seconds": 30}, None)]


def test_an_answer_is_paid_although_another_one_ends_beside_it(
    providers: Callable[..., Providers], books: Books
) -> None:
    async def visit() -> None:
        begun = [event("response.created", response={"id": id}) for id in ("long", "short")]
        said = event("response.output_text.delta", response_id="long", delta="x" * 4000)
        providers(Provider(*begun, said, done("short", input_tokens=1, output_tokens=1)))
        await hear(4)

    run(visit())
    (entry,) = books
    assert (entry.outcome, entry.output_tokens, entry.is_estimated) == ("disconnected", 1001, True)


def test_an_answer_is_paid_although_its_caller_does_not_take_the_end_of_it(
    providers: Callable[..., Providers], books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def visit() -> None:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        visitor.is_stuck = True
        provider.say(done("resp_1", input_tokens=30, output_tokens=4))
        async with asyncio.timeout(PATIENCE):
            await visitor.sticks.wait()
        await visitor.hang_up()

    store = Recorder()
    monkeypatch.setattr("ai_gateway.admission.store", lambda: store)
    with override_settings(AI_GATEWAY={**SETTINGS, "LIMITS": LIMITS[1:2]}):
        run(visit())
    assert [(entry.input_tokens, entry.output_tokens, entry.is_estimated) for entry in books] == [(30, 4, False)]
    assert [actual for _, actual in store.settled] == [[34]]
