"""What if a provider fails? The next one answers, where that is safe, and the caller learns how it came about."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import StartGateway
from tests.raw_client import Answer, RawClient
from tests.upstream import End, Upstream, chunk, event_stream, json_answer, play, stream_head
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, JSON

ANSWERED = {"choices": [{"message": {"role": "assistant", "content": "Hello"}}]}


ROUTES = {f"route-{number}": [f"openai/{number}-a", f"groq/{number}-b"] for number in range(60)}
"""A route for each test: what a process knows of targets that failed is another test's affair."""

_names = iter(ROUTES)


class Both:
    """A route with two targets, a and b."""

    def __init__(self, start: StartGateway, **settings: Any) -> None:
        self.name = next(_names)
        self.raw = RawClient(start(ROUTES=ROUTES, **settings).port)

    def ask(self, **body: Any) -> Answer:
        return self.raw.post(CHAT_PATH, {**CHAT, "model": self.name, **body}, [BEARER])


@pytest.fixture
def both(start_gateway: StartGateway) -> Both:
    return Both(start_gateway)


def sent_models(upstream: Upstream) -> list[str]:
    return [request.json()["model"].rpartition("-")[2] for request in upstream.requests]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_provider_that_declines_is_followed_by_the_next(both: Both, upstream: Upstream, status: int) -> None:
    upstream.answer(json_answer({"error": {"message": "not now"}}, status=status), json_answer(ANSWERED))
    answer = both.ask()
    assert (answer.status, answer.header("x-gateway-provider"), answer.header("x-gateway-attempts")) == (
        200,
        "groq",
        "2",
    )
    assert sent_models(upstream) == ["a", "b"]


def test_a_provider_that_falls_silent_is_not_followed_by_anybody(both: Both, upstream: Upstream) -> None:
    upstream.answer(play(End.CLOSE), json_answer(ANSWERED))
    answer = both.ask()
    assert (answer.status, answer.json()["error"]["code"]) == (502, "upstream_closed")
    assert sent_models(upstream) == ["a"]


def test_unless_the_operator_wants_it(start_gateway: StartGateway, upstream: Upstream) -> None:
    upstream.answer(play(End.CLOSE), json_answer(ANSWERED))
    answer = Both(start_gateway, RETRIES={"ambiguous": True}).ask()
    assert (answer.status, sent_models(upstream)) == (200, ["a", "b"])


def test_an_error_as_the_first_event_is_followed_by_the_next(both: Both, upstream: Upstream) -> None:
    error = b'data: {"error":{"message":"overloaded","type":"server_error","code":503}}\n\n'
    upstream.answer(event_stream(error), event_stream(*CHAT_DIALECT.events))
    answer = both.ask(stream=True)
    assert (answer.status, answer.body) == (200, b"".join(CHAT_DIALECT.events))


def test_nothing_is_tried_again_after_the_first_byte(both: Both, upstream: Upstream) -> None:
    first = CHAT_DIALECT.events[0]
    upstream.answer(play(stream_head() + chunk(first), End.RESET), event_stream(*CHAT_DIALECT.events))
    answer = both.ask(stream=True)
    assert answer.body.startswith(first)
    assert b'"upstream_closed"' in answer.body
    assert sent_models(upstream) == ["a"]


def test_the_callers_sdk_is_told_not_to_repeat_it_all(both: Both, upstream: Upstream) -> None:
    upstream.answer(json_answer({"error": {"message": "not now"}}, status=503))
    answer = both.ask()
    assert (answer.status, answer.header("x-should-retry")) == (503, "false")
    assert sent_models(upstream) == ["a", "b"]


def test_a_target_that_fails_again_and_again_is_asked_last(both: Both, upstream: Upstream) -> None:
    async def by_model(exchange: Any) -> None:
        await exchange.read_body()
        is_ill = exchange.request.json()["model"].endswith("a")
        answer = json_answer({"error": {"message": "ill"}}, status=500) if is_ill else json_answer(ANSWERED)
        await answer(exchange)

    upstream.answer(by_model)
    for _ in range(8):
        assert both.ask().status == 200
    assert sent_models(upstream) == ["a", "b"] * 5 + ["b"] * 3


def test_a_prompt_that_is_too_long_goes_to_the_next(both: Both, upstream: Upstream) -> None:
    error = {"error": {"message": "too long", "code": "context_length_exceeded"}}
    upstream.answer(json_answer(error, status=400), json_answer(ANSWERED))
    assert both.ask().status == 200
    assert JSON in [(name.lower(), value) for name, value in upstream.requests[1].headers]
