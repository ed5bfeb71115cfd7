"""Which targets a call gets by what it asks for, and by what its caller names: as callers and providers see it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import StartGateway
from tests.raw_client import Answer, RawClient
from tests.upstream import Upstream, json_answer
from tests.wire.samples import BEARER, CHAT, CHAT_PATH

ANSWERED = {"choices": [{"message": {"role": "assistant", "content": "Hello"}}]}
ROUTES = {
    "mixed": {
        "targets": [
            {"target": "openai/text", "conditions": {"images": False, "tools": False}},
            {"target": "groq/eyes", "conditions": {"tools": False}},
        ],
    },
    "able": ["openai/blind", "groq/seeing"],
}
PICTURE = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://x.example/a.png"}}]}]


@pytest.fixture
def raw(start_gateway: StartGateway) -> RawClient:
    return RawClient(start_gateway(ROUTES=ROUTES, CAPABILITIES={"openai/blind": {"images": False}}).port)


def ask(raw: RawClient, *headers: tuple[str, str], **body: Any) -> Answer:
    return raw.post(CHAT_PATH, {**CHAT, **body}, [BEARER, *headers])


def asked(upstream: Upstream) -> list[str]:
    return [request.json()["model"] for request in upstream.requests]


def test_conditions_choose_the_target_and_say_when_there_is_none(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWERED))
    assert ask(raw, model="mixed").header("x-gateway-provider") == "openai"
    seen = ask(raw, model="mixed", messages=PICTURE)
    assert (seen.header("x-gateway-provider"), seen.header("x-gateway-attempts")) == ("groq", "1")
    refused = ask(raw, model="mixed", tools=[{"type": "function", "function": {"name": "f"}}])
    assert (refused.status, refused.json()["error"]["code"]) == (400, "no_suitable_target")
    assert "a call without tools" in refused.json()["error"]["message"]
    assert asked(upstream) == ["text", "eyes"]


def test_a_model_that_is_known_to_be_blind_costs_no_attempt(raw: RawClient, upstream: Upstream) -> None:
    upstream.answer(json_answer(ANSWERED))
    answer = ask(raw, model="able", messages=PICTURE)
    assert (answer.header("x-gateway-provider"), answer.header("x-gateway-attempts")) == ("groq", "1")
    assert ask(raw, model="able").header("x-gateway-provider") == "openai"


def test_the_callers_own_fallbacks_are_asked_after_the_first(raw: RawClient, upstream: Upstream) -> None:
    busy = json_answer({"error": {"message": "not now"}}, status=503)
    upstream.answer(busy, busy, json_answer(ANSWERED))
    answer = ask(
        raw, ("x-gateway-fallbacks", "groq/header"), model="openai/own", models=["groq/body"], route="fallback"
    )
    assert (answer.status, answer.header("x-gateway-attempts")) == (200, "3")
    assert asked(upstream) == ["own", "header", "body"]
    for request in upstream.requests:
        assert not {"models", "route"} & set(request.json())
        assert "x-gateway-fallbacks" not in [name.lower() for name, _ in request.headers]


def test_an_absurd_list_is_refused_in_the_callers_dialect(raw: RawClient, upstream: Upstream) -> None:
    many = ask(raw, model="openai/own", models=[f"groq/{number}" for number in range(9)])
    assert (many.status, many.json()["error"]["param"]) == (400, "models")
    assert asked(upstream) == []
