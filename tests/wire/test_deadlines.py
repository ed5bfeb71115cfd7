"""How long a call may take: the caller says it, or the operator, and it holds for everything that the call does."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.conftest import StartGateway
from tests.raw_client import RawClient
from tests.upstream import End, Upstream, event_stream, json_answer, play
from tests.wire.samples import BEARER, CHAT, CHAT_DIALECT, CHAT_PATH, DIALECTS, Dialect

BY_DIALECT = pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
HURRIED = ("x-gateway-timeout", "0.5")
SOON = 5.0
"""Seconds in which a call of half a second is over even on a busy machine. Without a deadline it would take minutes."""

ROUTES: dict[str, Any] = {
    "brief": {"targets": ["openai/m"], "timeouts": {"stream": 0.5}},
    "patient": {"targets": ["openai/m", "groq/n"], "timeouts": {"total": 1.5}},
}


@BY_DIALECT
def test_a_call_that_is_not_answered_in_time_is_a_504_that_nobody_should_repeat(
    raw: RawClient, upstream: Upstream, dialect: Dialect
) -> None:
    upstream.answer(play(End.STALL))
    began = time.monotonic()
    # Google's SDK says it in a header of its own.
    header = ("x-server-timeout", "1") if dialect.name == "gemini" else HURRIED
    answer = raw.post(dialect.path, dialect.body, [BEARER, header])
    assert (answer.status, answer.header("x-should-retry")) == (504, "false")
    dialect.check_error(answer.json())
    assert 0.4 < time.monotonic() - began < SOON
    upstream.wait_for("the upstream was left", lambda: upstream.busy == 0)
    assert len(upstream.requests) == 1


@BY_DIALECT
def test_a_stream_whose_time_is_over_ends_with_an_error_event(
    raw: RawClient, upstream: Upstream, dialect: Dialect
) -> None:
    """Although something comes all the time: silence has a limit of its own."""
    first = dialect.events[0]
    drip = [step for _ in range(100) for step in (0.1, b": drip\n\n")]
    upstream.answer(event_stream(first, *drip, End.STALL))
    answer = raw.post(dialect.stream_path, dialect.stream_body, [BEARER, HURRIED])
    assert (answer.status, answer.body.startswith(first)) == (200, True)
    assert dialect.error_event(answer.body.rpartition(b": drip\n\n")[2])["error"]
    upstream.wait_for("the upstream was left", lambda: upstream.busy == 0)


def test_an_answer_in_time_is_like_any_other(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(event_stream(*CHAT_DIALECT.events))
    answer = raw.post(CHAT_PATH, CHAT_DIALECT.stream_body, [BEARER, ("x-gateway-timeout", "60")])
    assert answer.body == b"".join(CHAT_DIALECT.events)
    assert upstream.requests[-1].header("x-gateway-timeout") is None


@pytest.mark.parametrize("value", ["soon", "0", "-1"])
def test_what_is_no_time_is_a_400(raw: RawClient, upstream: Upstream, value: str) -> None:
    answer = raw.post(CHAT_PATH, CHAT, [BEARER, ("x-gateway-timeout", value)])
    assert answer.status == 400
    assert "x-gateway-timeout" in answer.json()["error"]["message"]
    assert not upstream.requests


def test_a_stream_that_never_ends_is_cut_where_its_route_says_so(
    start_gateway: StartGateway, upstream: Upstream
) -> None:
    """T41."""
    raw = RawClient(start_gateway(ROUTES=ROUTES).port)
    first = CHAT_DIALECT.events[0]
    drip = [step for _ in range(100) for step in (0.1, b": drip\n\n")]
    upstream.answer(event_stream(first, *drip, End.STALL))
    answer = raw.post(CHAT_PATH, {**CHAT, "model": "brief", "stream": True}, [BEARER])
    assert answer.body.startswith(first)
    assert b'"upstream_timeout"' in answer.body


def test_the_targets_of_a_route_share_its_time(start_gateway: StartGateway, upstream: Upstream) -> None:
    raw = RawClient(start_gateway(ROUTES=ROUTES).port)
    upstream.answer(json_answer({"error": {"message": "not now"}}, status=503), play(End.STALL))
    began = time.monotonic()
    answer = raw.post(CHAT_PATH, {**CHAT, "model": "patient"}, [BEARER])
    assert (answer.status, answer.json()["error"]["code"]) == (504, "deadline_exceeded")
    assert time.monotonic() - began < 1.5 + SOON
    assert len(upstream.requests) == 2
