"""Attempts of a call that has a deadline."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import msgspec
import pytest
from django.test import override_settings

from ai_gateway import breakers, deadlines, registry
from ai_gateway.attempts import ask
from ai_gateway.calls import Reply, Target, UpstreamRequest, UpstreamResponse
from ai_gateway.errors import ConnectFailed, DeadlineExceeded, UpstreamTimeout
from tests.attempts.asking import HOLDER, OPTIONS, attempt
from tests.factories import JSON, Answer, Scripted, make_call, make_meter, run


def test_a_call_without_a_deadline_waits_as_the_provider_is_set_up() -> None:
    class Noting(Scripted):
        async def send(self, request: UpstreamRequest, timeouts: object) -> UpstreamResponse:
            seen.append(timeouts)
            return await super().send(request, timeouts)

    seen: list[object] = []
    with override_settings(AI_GATEWAY=OPTIONS):
        snapshot = registry.snapshot()
        call = make_call(body=b"{}", model="m")
        run(ask(make_meter(call, HOLDER), [Target("openai", "m")], snapshot, Noting(Answer(b"{}", headers=[JSON]))))
    assert seen == [snapshot.timeouts.of_target("", Target("openai", "m"))]


def timed(*outcomes: Answer | Exception, left: float, **settings: Any) -> tuple[Reply, Scripted]:
    """Ask two providers for a call that must be over in so many seconds."""
    call = msgspec.structs.replace(make_call(body=b'{"model": "m"}', model="m"), deadline=perf_counter() + left)
    return attempt(*outcomes, call=call, targets=("openai", "groq"), **settings)


def test_there_is_an_answer_in_time() -> None:
    reply, transport = timed(ConnectFailed("no"), Answer(b"{}", headers=[JSON]), left=30)
    assert (reply.status, len(transport.requests)) == (200, 2)


def test_a_call_whose_time_is_over_is_not_sent_to_anybody() -> None:
    with pytest.raises(DeadlineExceeded):
        timed(left=-1)


def test_nobody_else_is_asked_when_there_is_hardly_any_time_left() -> None:
    reply, transport = timed(Answer(b"{}", status=503, headers=[JSON]), left=deadlines.LEAST / 2)
    assert (reply.status, len(transport.requests)) == (503, 1)


def test_no_wait_leads_beyond_the_deadline() -> None:
    busy = Answer(b"{}", status=429, headers=[JSON, (b"retry-after", b"5")])
    reply, transport = timed(busy, busy, left=4, RETRIES={"rounds": 2})
    assert (reply.status, len(transport.requests)) == (429, 2)
    assert (b"x-should-retry", b"false") in reply.headers


def test_a_caller_in_a_hurry_does_not_make_a_provider_look_ill() -> None:
    target = Target("openai", "hurried")
    call = make_call(body=b"{}", model="hurried")
    with override_settings(AI_GATEWAY=OPTIONS):
        for _ in range(10):
            hurried = msgspec.structs.replace(call, deadline=perf_counter() + deadlines.EARLY / 2)
            with pytest.raises(DeadlineExceeded):
                run(ask(make_meter(hurried, HOLDER), [target], registry.snapshot(), Scripted(UpstreamTimeout("slow"))))
    assert breakers.ordered([target, Target("groq", "m")])[0] == target
