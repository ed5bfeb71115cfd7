"""Where the time of an answer went, as its caller is told."""

from __future__ import annotations

import re

import pytest
from django.test import override_settings

from ai_gateway import gateway, server_timing
from ai_gateway.calls import Reply
from ai_gateway.test import Answer, fails, is_silent, is_unreachable, says, sends
from tests.factories import JSON, answering, make_arrival, run

BODY = b'{"model": "m", "messages": []}'
KEY = (b"authorization", b"Bearer gw_a-key-of-the-settings")
SETTINGS = {"PROVIDERS": {"openai": {"OPTIONS": {"api_key": "sk-x"}}}, "KEYS": {"k": KEY[1][7:].decode()}}
OWN = [r"gateway;dur=\d+\.\d"]
PROXIED = [*OWN, r"upstream;dur=\d+\.\d"]


def parts(reply: Reply) -> list[str]:
    (value,) = [value for name, value in reply.headers if name == server_timing.NAME]
    return value.decode().split(", ")


def ask(*reactions: Answer, path: str = "/v1/chat/completions", method: str = "POST") -> Reply:
    async def main() -> Reply:
        reply = await gateway.handle(make_arrival(path, JSON, KEY, method=method, body=BODY), answering(*reactions))
        await reply.aclose()
        return reply

    with override_settings(AI_GATEWAY=SETTINGS):
        return run(main())


def test_the_time_in_the_queue_is_not_the_gateways_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_timing, "perf_counter", lambda: 13.0)
    assert server_timing.header(10.0, 12.0, 1.5) == (
        b"server-timing",
        b"gateway;dur=500.0, upstream;dur=1000.0, queue;dur=1500.0",
    )


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (lambda: ask(sends({}, headers={"server-timing": "theirs;dur=1"})), PROXIED),
        (lambda: ask(fails(400)), PROXIED),
        (lambda: ask(is_silent()), PROXIED),
        (lambda: ask(is_unreachable()), OWN),
        (lambda: ask(says(), path="/v1/../secret"), OWN),
        (lambda: ask(sends({"data": []}), path="/v1/models", method="GET"), OWN),
    ],
    ids=["an answer", "a provider's error", "a timeout", "nobody there", "a refusal", "the gateway's own"],
)
def test_every_answer_tells(reply: object, expected: list[str]) -> None:
    assert callable(reply)
    found = parts(reply())
    assert len(found) == len(expected)
    assert all(re.fullmatch(pattern, part) for pattern, part in zip(expected, found, strict=True))
