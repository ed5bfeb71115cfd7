"""When the same target is asked again, and how long that is waited for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import registry
from ai_gateway.attempts import ask
from ai_gateway.calls import Reply, Target
from ai_gateway.errors import UpstreamClosed
from ai_gateway.overload import at_providers
from ai_gateway.retries import budget
from tests.attempts.asking import BOTH, OPTIONS, Unfinished, attempt, good, refusal
from tests.factories import JSON, Answer, Scripted, make_call, make_meter, run


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits that are noted, and not waited."""
    noted: list[float] = []

    async def sleep(seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return noted


def test_the_same_targets_are_asked_again_if_the_operator_wants_it(waits: list[float]) -> None:
    outcomes = [refusal(503), refusal(500), refusal(503), good()]
    reply, transport = attempt(*outcomes, targets=BOTH, RETRIES={"rounds": 3})
    assert reply.status == 200
    hosts = [sent.origin.host for sent in transport.requests]
    assert hosts == ["api.openai.com", "api.groq.com"] * 2
    assert len(waits) == 1


def test_a_provider_that_asks_for_patience_gets_it(waits: list[float]) -> None:
    reply, _ = attempt(refusal(429, None, (b"retry-after", b"7")), good(), RETRIES={"rounds": 2})
    assert (reply.status, waits) == (200, [7])


def test_who_asks_for_too_much_is_passed_on(waits: list[float]) -> None:
    reply, transport = attempt(refusal(429, None, (b"retry-after", b"3600")), good(), RETRIES={"rounds": 2})
    assert (reply.status, len(transport.requests), waits) == (429, 1, [])
    assert (b"retry-after", b"3600") in reply.headers


def test_a_route_whose_targets_are_all_open_answers_without_waiting(waits: list[float]) -> None:
    outcomes = [refusal(503) for _ in range(4)]
    policy = {"consecutive": 1}
    reply, transport = attempt(*outcomes, targets=BOTH, RETRIES={"rounds": 3}, BREAKERS=policy)
    assert (reply.status, len(transport.requests), waits) == (503, 2, [])


BUSY = {"PROVIDERS": {"openai": {"OPTIONS": {"api_key": "k", "max_concurrency": 1}}}, "RETRIES": {"rounds": 2}}


@pytest.mark.parametrize("kind", [Answer, Unfinished])
def test_who_leaves_while_the_next_attempt_is_waited_for_leaves_nothing_open(kind: type[Answer]) -> None:
    refused = kind(b'{"error": {}}', status=429, headers=[JSON, (b"retry-after", b"5")])

    async def leave() -> None:
        call = make_call(body=b'{"model": "m"}', model="m")
        asking = asyncio.ensure_future(
            ask(make_meter(call), [Target("openai", "m")], registry.snapshot(), Scripted(refused))
        )
        await asyncio.sleep(0.01)
        assert refused.is_closed
        assert (at_providers["openai"].taken, budget.repetitions) == (0, 1)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    with override_settings(AI_GATEWAY=BUSY):
        run(leave())
    assert (at_providers["openai"].taken, budget.repetitions) == (0, 0)


def test_there_is_an_end_to_it(waits: list[float]) -> None:
    outcomes = [refusal(503) for _ in range(20)]
    _, transport = attempt(*outcomes, targets=BOTH, RETRIES={"rounds": 9, "attempts": 4})
    assert len(transport.requests) == 4


# Repetitions that are safe.

KNOWING = {"api_key": "k", "idempotency_header": "Idempotency-Key"}


def safely(*outcomes: Answer | Exception, options: dict[str, Any] | None = None) -> tuple[Reply, Scripted]:
    """Ask a provider that knows a request by its key, and then another one."""
    providers = {**OPTIONS["PROVIDERS"], "openai": {"OPTIONS": options or KNOWING}}
    return attempt(*outcomes, targets=("openai", "groq"), PROVIDERS=providers)


def keys(transport: Scripted) -> list[bytes | None]:
    return [dict(request.headers).get(b"idempotency-key") for request in transport.requests]


def test_what_may_have_been_done_is_asked_of_the_same_target_again_by_its_key() -> None:
    reply, transport = safely(UpstreamClosed("gone"), Answer(b"{}", headers=[JSON]))
    first, second = keys(transport)
    assert (reply.status, first) == (200, second)
    assert first


def test_once_and_never_elsewhere() -> None:
    with pytest.raises(UpstreamClosed) as caught:
        safely(UpstreamClosed("gone"), UpstreamClosed("gone again"))
    assert not caught.value.retryable


def test_a_provider_that_promises_nothing_is_not_asked_again() -> None:
    with pytest.raises(UpstreamClosed):
        safely(UpstreamClosed("gone"), options={"api_key": "k"})
