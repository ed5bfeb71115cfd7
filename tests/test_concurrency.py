"""A provider with a limit of calls at once."""

from __future__ import annotations

import pytest
from django.test import override_settings

from ai_gateway import concurrency, registry
from ai_gateway.attempts import ask
from ai_gateway.calls import Reply, Target
from ai_gateway.errors import ProviderBusy, UpstreamClosed
from tests.factories import JSON, Answer, Scripted, make_call, make_meter, run

OPTIONS = {
    "PROVIDERS": {
        "openai": {"OPTIONS": {"api_key": "stored", "max_concurrency": 2}},
        "groq": {"OPTIONS": {"api_key": "stored"}},
    }
}
STREAM = (b"content-type", b"audio/mpeg")


def call(transport: Scripted, *targets: str) -> Reply:
    with override_settings(AI_GATEWAY=OPTIONS):
        snapshot = registry.snapshot()
        asked = make_call(body=b'{"model": "m"}', model="m")
        wanted = [Target(name, "m") for name in targets or ("openai",)]
        return run(ask(make_meter(asked), wanted, snapshot, transport))


@pytest.fixture(autouse=True)
def _nothing_is_left() -> None:
    assert not +concurrency._under_way


def test_one_more_than_the_limit_is_not_sent() -> None:
    transport = Scripted(*(Answer(b"part", headers=[STREAM]) for _ in range(3)))
    replies = [call(transport), call(transport)]
    with pytest.raises(ProviderBusy) as caught:
        call(transport)
    assert (caught.value.status, caught.value.retryable) == (503, True)
    assert len(transport.requests) == 2
    run(replies[0].aclose())
    run(replies[0].aclose())
    replies[0] = call(transport)
    for reply in replies:
        run(reply.aclose())
    assert not +concurrency._under_way


def test_another_target_is_asked_in_its_place() -> None:
    transport = Scripted(*(Answer(b"part", headers=[STREAM]) for _ in range(3)))
    replies = [call(transport, "openai", "groq") for _ in range(3)]
    assert [request.origin.host for request in transport.requests] == ["api.openai.com"] * 2 + ["api.groq.com"]
    for reply in replies:
        run(reply.aclose())


def test_an_answer_that_was_whole_and_a_call_that_failed_leave_their_place() -> None:
    whole = [Answer(b"{}", headers=[JSON, (b"content-length", b"2")]) for _ in range(3)]
    transport = Scripted(*whole, UpstreamClosed("gone"), UpstreamClosed("gone"), UpstreamClosed("gone"))
    for _ in range(3):
        run(call(transport).aclose())
    for _ in range(3):
        with pytest.raises(UpstreamClosed):
            call(transport)
    assert not +concurrency._under_way
