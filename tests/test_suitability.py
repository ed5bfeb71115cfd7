"""Which of a call's targets can take it, and may?"""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import override_settings

from ai_gateway import gateway, registry
from ai_gateway.calls import Call, Caller, Target
from ai_gateway.errors import NoSuitableTarget
from ai_gateway.facts import Facts
from ai_gateway.registry import Snapshot
from ai_gateway.suitability import able, meeting, roomier, what_it_wants
from ai_gateway.test import sends
from ai_gateway.test.providers import Books
from tests.factories import answering, make_arrival, make_call, run

SEES, BLIND, HUGE, UNKNOWN = (
    Target("vllm", "sees"),
    Target("vllm", "blind"),
    Target("vllm", "huge"),
    Target("vllm", "x"),
)
CAPABILITIES = {
    "vllm/sees": {"audio": True, "context_window": 1000},
    "vllm/blind": {"images": False, "files": False, "tools": False, "structured_outputs": False},
    "vllm/huge": {"context_window": 100_000},
}
PICTURE = b'{"messages":[{"content":[{"type":"image_url"}]}]}'
LONG = b'{"messages":[{"content":"%s"}]}' % (b"word " * 1600)


def built(**options: Any) -> Snapshot:
    with override_settings(AI_GATEWAY={"CAPABILITIES": CAPABILITIES, **options}):
        return registry.refresh()


def facts(call: Call) -> Facts:
    return Facts(call, Caller(key_name="team"))


ROUTES = {
    "mixed": {
        "targets": [
            {"target": "vllm/blind", "conditions": {"images": False}},
            {"target": "vllm/sees", "conditions": {"max_input_tokens": 500}},
        ]
    }
}


def test_a_target_is_asked_only_if_its_conditions_hold() -> None:
    snapshot = built(ROUTES=ROUTES)
    assert meeting("mixed", [BLIND, SEES], facts(make_call()), snapshot) == [BLIND, SEES]
    assert meeting("mixed", [BLIND, SEES], facts(make_call(body=PICTURE)), snapshot) == [SEES]
    assert what_it_wants("mixed", BLIND, facts(make_call(body=PICTURE)), snapshot) == "a call without images"
    assert what_it_wants("mixed", UNKNOWN, facts(make_call(body=PICTURE)), snapshot) is None


def test_what_was_left_out_is_in_the_usage_record_with_the_reason(books: Books) -> None:
    site = {
        "PROVIDERS": {"vllm": {"OPTIONS": {"base_url": "https://gpu.example/v1", "api_key": "stored"}}},
        "KEYS": {"team": "gw_a-key-of-the-settings"},
        "CAPABILITIES": CAPABILITIES,
        "ROUTES": {
            "r": {"targets": [{"target": "vllm/x", "conditions": {"images": False}}, "vllm/blind", "vllm/sees"]}
        },
    }
    key = (b"authorization", b"Bearer gw_a-key-of-the-settings")
    with override_settings(AI_GATEWAY=site):
        for body in (b'{"model":"r",%b' % PICTURE[1:], b'{"model":"r"}'):
            run(gateway.handle(make_arrival("/v1/chat/completions", key, body=body), answering(sends({}))))
    seen, unseen = books
    assert (seen.served_model, seen.attempts, seen.outcome) == ("sees", 1, "answered")
    assert [(each["model"], each["error"], each["why"]) for each in seen.trail or ()] == [
        ("x", "conditions", "it wants a call without images"),
        ("blind", "capabilities", "its model lacks images"),
    ]
    assert (unseen.served_model, unseen.trail) == ("x", None)


def test_if_none_is_left_the_caller_is_told_what_would_do() -> None:
    body = PICTURE[:-1] + b',"x":"%s"}' % (b"y" * 4000)
    with pytest.raises(NoSuitableTarget) as caught:
        meeting("mixed", [BLIND, SEES], facts(make_call(body=body)), built(ROUTES=ROUTES))
    assert caught.value.message == (
        "The route 'mixed' is not there for this call. It wants a call without images. "
        "Or: an input of 500 tokens or less."
    )


def test_a_target_with_broken_conditions_is_left_out_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    broken = {"r": {"targets": ["vllm/sees", {"target": "vllm/blind", "conditions": {"colour": "red"}}]}}
    with caplog.at_level(logging.ERROR, "ai_gateway"):
        assert built(ROUTES=broken).routes["r"] == (SEES,)
    assert "vllm/blind of a route is left out: There is no condition 'colour'" in caplog.text


@pytest.mark.parametrize(
    ("body", "left"),
    [
        (b"{}", [BLIND, SEES, UNKNOWN]),
        (PICTURE, [SEES, UNKNOWN]),
        (b'{"messages":[{"content":[{"type":"file"}]}]}', [SEES, UNKNOWN]),
        (b'{"tools":[{}]}', [SEES, UNKNOWN]),
        (b'{"response_format":{"type":"json_schema"}}', [SEES, UNKNOWN]),
        (b'{"messages":[{"content":[{"type":"input_audio"}]}]}', [SEES]),
        (LONG, [BLIND, UNKNOWN]),
    ],
)
def test_a_model_that_is_known_not_to_do_it_is_left_out(body: bytes, left: list[Target]) -> None:
    assert list(able([BLIND, SEES, UNKNOWN], facts(make_call(body=body)), built())) == left


def test_if_all_lack_something_all_stay_and_the_first_says_why() -> None:
    body = PICTURE[:-1] + b',"x":"%s"}' % (b"y" * 8000)
    assert able([BLIND, SEES], facts(make_call(body=body)), built()) == [BLIND, SEES]


def test_models_that_are_alike_cost_no_look_at_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ai_gateway.facts.loads", None)
    snapshot = built()
    targets = [UNKNOWN, Target("vllm", "y")]
    assert able(targets, facts(make_call(body=PICTURE)), snapshot) is targets
    assert able([UNKNOWN, HUGE], facts(make_call(body=PICTURE)), snapshot) == [UNKNOWN, HUGE]


def test_after_a_prompt_that_was_too_long_the_roomier_come_first() -> None:
    small = Target("openai", "gpt-3.5-turbo")
    assert roomier([small, UNKNOWN, HUGE], SEES, built()) == [small, HUGE, UNKNOWN]
    assert roomier([SEES, UNKNOWN, HUGE], small, built()) == [HUGE, UNKNOWN, SEES]
