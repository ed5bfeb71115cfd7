"""What ends a realtime session."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import live
from ai_gateway.calls import Message as Said
from ai_gateway.errors import SocketClosed
from ai_gateway.sessions import passable
from ai_gateway.test.providers import Books
from tests.factories import run
from tests.realtime.session import SETTINGS, Provider, Providers, Visitor, accepted
from tests.realtime_upstream import event


@pytest.mark.parametrize(
    ("settings", "code", "closed_with", "outcome"),
    [
        ({"TIMEOUTS": {"idle": 0.01}}, "upstream_timeout", 1011, "timed_out"),
        ({"TIMEOUTS": {"stream": 0.01}}, "deadline_exceeded", 1008, "timed_out"),
        ({"TIMEOUTS": {"total": 0.3}}, "deadline_exceeded", 1008, "timed_out"),
    ],
)
def test_time_that_is_over(
    settings: dict[str, Any],
    code: str,
    closed_with: int,
    outcome: str,
    providers: Callable[..., Providers],
    books: Books,
) -> None:
    async def visit() -> tuple[str, int]:
        providers(Provider())
        visitor = Visitor()
        await accepted(visitor)
        told, closed = await visitor.event(), await visitor.next()
        await visitor.gone()
        return told["error"]["code"], closed["code"]

    with override_settings(AI_GATEWAY={**SETTINGS, **settings}):
        assert run(visit()) == (code, closed_with)
    assert [entry.outcome for entry in books] == [outcome]


def test_an_operator_ends_a_session(providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> tuple[str, int]:
        providers(Provider(event("response.created", response={}), event("response.text.delta", delta="x" * 40)))
        visitor = Visitor()
        await accepted(visitor)
        for _ in range(2):
            await visitor.event()
        (call,) = live.listed()
        assert (call.state, call.endpoint, call.tokens) == ("streaming", "realtime", 10)
        assert live.cancel(call.id, "an operator")
        told, closed = await visitor.event(), await visitor.next()
        await visitor.gone()
        return told["error"]["code"], closed["code"]

    assert run(visit()) == ("cancelled_by_operator", 1008)
    assert [(entry.outcome, entry.output_tokens) for entry in books] == [("cancelled", 10)]


def test_who_takes_nothing_is_dropped(providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> None:
        provider = Provider()
        providers(provider)
        visitor = Visitor()
        await accepted(visitor)
        visitor.is_stuck = True
        provider.say(event("response.created"))
        await visitor.gone()
        assert provider.is_closed

    with override_settings(AI_GATEWAY={**SETTINGS, "SEND_TIMEOUT": 0.05}):
        run(visit())
    assert [entry.outcome for entry in books] == ["disconnected"]


@pytest.mark.parametrize("message", ["x" * 101, "\U0001f600" * 26, b"x" * 101])
def test_a_message_that_is_too_long(message: Said, providers: Callable[..., Providers], books: Books) -> None:
    async def visit() -> tuple[str, int]:
        providers(Provider())
        visitor = Visitor()
        await accepted(visitor)
        visitor.say(message)
        told, closed = await visitor.event(), await visitor.next()
        await visitor.gone()
        return told["error"]["code"], closed["code"]

    with override_settings(AI_GATEWAY={**SETTINGS, "MAX_BODY_BYTES": 100}):
        assert run(visit()) == ("request_too_large", 1009)


@pytest.mark.parametrize(
    ("end", "outcome", "closed"),
    [
        (SocketClosed(1001, "an hour is over", is_upstreams=True), "answered", (1001, "an hour is over")),
        (SocketClosed(1005, is_upstreams=True), "answered", (1000, "")),
        (SocketClosed(1011, "broken", is_upstreams=True), "failed", (1011, "broken")),
    ],
)
def test_the_provider_ends_a_session(
    end: SocketClosed, outcome: str, closed: tuple[int, str], providers: Callable[..., Providers], books: Books
) -> None:
    async def visit() -> tuple[int, str]:
        providers(Provider(end))
        visitor = Visitor()
        await accepted(visitor)
        message = await visitor.next()
        await visitor.gone()
        return message["code"], message["reason"]

    assert run(visit()) == closed
    assert [entry.outcome for entry in books] == [outcome]


@pytest.mark.parametrize("code", [1000, 1001, 1005])
def test_a_provider_that_leaves_in_the_middle_of_an_answer_has_failed(
    code: int, providers: Callable[..., Providers], books: Books
) -> None:
    async def visit() -> int:
        providers(Provider(event("response.created"), SocketClosed(code, is_upstreams=True)))
        visitor = Visitor()
        await accepted(visitor)
        await visitor.event()
        message = await visitor.next()
        await visitor.gone()
        found: int = message["code"]
        return found

    assert run(visit()) == passable(code)
    assert [entry.outcome for entry in books] == ["failed"]


@pytest.mark.parametrize(
    ("code", "passed"),
    [(1000, 1000), (1005, 1000), (1006, 1011), (1015, 1011), (999, 1011), (4999, 4999), (5000, 1011)],
)
def test_codes_that_may_not_be_sent_become_others(code: int, passed: int) -> None:
    assert passable(code) == passed
