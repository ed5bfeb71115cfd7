"""Where a call would go: what is told of it is what is done with it, and nothing is sent."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import listing, registry
from ai_gateway.calls import Caller
from ai_gateway.explanation import Explanation, explain
from tests.factories import HOLDER

ROUTES: dict[str, Any] = {
    "seen": ["echo/text", {"target": "echo/eyes", "conditions": {"images": True}}],
    "tried": [
        "echo/old",
        {"target": "echo/new", "part": "experiment", "percent": 10},
        {"target": "echo/copy", "part": "mirror", "percent": 5},
    ],
}
SETTINGS: dict[str, Any] = {
    "ROUTES": {
        **{name: {"targets": targets} for name, targets in ROUTES.items()},
        "careful": {"targets": ["echo/m"], "guardrails": ["size", "watch"], "cache": "off"},
    },
    "GUARDRAILS": {
        "size": {"BACKEND": "size", "OPTIONS": {"max_characters": 100}},
        "watch": {"BACKEND": "patterns", "OPTIONS": {"deny": ["secret"]}, "MODE": "monitor", "STAGES": ["answer"]},
        "gone": {"BACKEND": "nobody.Knows"},
    },
    "RESPONSE_CACHE": {"ttl": 300},
}


def explained(model: str = "m", *headers: tuple[bytes, bytes], caller: Caller = HOLDER, **body: Any) -> Explanation:
    with override_settings(AI_GATEWAY={"DEFAULT_PROVIDER": "echo", **SETTINGS}):
        content = json.dumps(body).encode()
        path = "/v1/chat/completions"
        return explain(model, caller, registry.snapshot(), path=path, headers=[*headers], body=content)


def names(found: Explanation) -> list[str]:
    return [f"{each.target.provider}/{each.target.model}" for each in found.targets]


def test_what_is_left_out_stands_behind_what_is_asked() -> None:
    found = explained("seen")
    assert names(found) == ["echo/text", "echo/eyes"]
    assert [each.problem for each in found.targets] == [None, "left out: it wants a call with images"]
    assert found.is_served


def test_what_a_call_names_itself_is_asked_last() -> None:
    found = explained("seen", models=["echo/other"])
    assert names(found) == ["echo/text", "echo/other", "echo/eyes"]


def test_a_call_that_no_target_is_there_for_is_told_of_each() -> None:
    settings = {"ROUTES": {"small": {"targets": [{"target": "echo/m", "conditions": {"images": True}}]}}}
    with override_settings(AI_GATEWAY=settings):
        found = explain("small", HOLDER, registry.snapshot(), path="/v1/chat/completions", headers=[])
    assert found.error is not None
    assert found.error.startswith("400 no_suitable_target")
    assert [each.problem for each in found.targets] == ["left out: it wants a call with images"]
    assert not found.is_served


GONE = {
    "PROVIDERS": {"broken": {"BACKEND": "custom"}, "echo": {}},
    "ROUTES": {"half": ["echo/m", "broken/m", "nobody/m"], "dead": ["broken/m", "nobody/m"]},
}
WHY = [
    'left out: its provider is not set up correctly: AI_GATEWAY["PROVIDERS"]["broken"]["OPTIONS"] must have '
    "'base_url': the address is not known without it",
    "left out: there is no such provider",
]


@pytest.mark.parametrize(("model", "served", "problems"), [("half", True, [None, *WHY]), ("dead", False, WHY)])
def test_targets_that_lead_nowhere_are_named_with_the_reason(
    model: str, served: bool, problems: list[str | None]
) -> None:
    with override_settings(AI_GATEWAY=GONE):
        found = explain(model, HOLDER, registry.snapshot(), path="/v1/chat/completions", headers=[])
    assert [each.problem for each in found.targets] == problems
    assert found.is_served is served
    if not served:
        assert found.error is not None
        assert "No provider of this route is set up correctly" in found.error


def test_a_model_that_the_provider_does_not_list_is_marked_and_asked_all_the_same() -> None:
    """Not every model stands in a list. Whether it does is known only for as long as a list is remembered."""
    settings = {"PROVIDERS": {"openai": {"OPTIONS": {"api_key": "sk-x"}}}, "ROUTES": {"r": ["openai/a", "openai/b"]}}
    with override_settings(AI_GATEWAY=settings):
        snapshot = registry.snapshot()
        provider = snapshot.providers["openai"]

        def notes() -> list[str]:
            found = explain("r", HOLDER, snapshot, path="/v1/chat/completions", headers=[])
            assert all(each.problem is None for each in found.targets)
            return [each.note for each in found.targets]

        assert notes() == ["", ""]
        models, _ = listing.read_page(provider, b'{"data": [{"id": "a"}]}')
        listing._remembered[provider] = (time.monotonic() + 10, models)
        try:
            assert notes() == ["", "the provider's list has no such model"]
            listing._remembered[provider] = (time.monotonic(), models)
            assert notes() == ["", ""]
        finally:
            del listing._remembered[provider]


def test_guardrails_are_named_with_what_they_look_at() -> None:
    found = explained("careful", caller=Caller(key_name="team", guardrails=("gone",)))
    assert found.asides[:3] == [
        "the guardrail 'size' is asked about the request",
        "the guardrail 'watch' is asked about the answer, and only notes what it finds",
        "the guardrail 'gone' fails, and nothing passes: No module named 'nobody'",
    ]


TAKEN = "an answer to an equal call with the same key is taken from the cache"


@pytest.mark.parametrize(
    ("model", "wishes", "body", "told"),
    [
        ("m", b"", {}, f"{TAKEN}, and a new one is kept for 300 s"),
        ("m", b"no-store", {}, f"{TAKEN}, and no new one is kept, as the caller wants it"),
        (
            "m",
            b"no-cache, ttl=60",
            {},
            "the cache is not looked into, as the caller wants it, and a new one is kept for 60 s",
        ),
        ("m", b"no-cache, no-store", {}, "the cache is passed by: its caller does not want it"),
        ("m", b"", {"store": True}, "the cache is passed by: the provider is to keep the answer"),
        ("careful", b"", {}, "the cache is not for such calls"),
    ],
)
def test_the_cache_is_told_of(model: str, wishes: bytes, body: dict[str, Any], told: str) -> None:
    assert explained(model, *[(b"x-gateway-cache", wishes)] if wishes else [], **body).asides[-1] == told


def test_experiments_and_copies_are_told_of_and_not_drawn() -> None:
    found = explained("tried")
    assert names(found) == ["echo/old"]
    assert found.asides[1:] == [
        "10 % of the calls go to echo/new first, on trial",
        "5 % of the calls are copied to echo/copy",
    ]
