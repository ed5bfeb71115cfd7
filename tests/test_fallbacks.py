"""Whom does the caller itself want asked if the first one fails?"""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from django.test import override_settings

from ai_gateway import fallbacks, registry
from ai_gateway.calls import Call, Caller, Target
from ai_gateway.errors import BadRequest, GatewayError, InvalidBody, ModelNotFound, PermissionDenied
from ai_gateway.registry import Snapshot
from tests.factories import make_call

OWN = [Target("openai", "gpt-5")]
HOLDER = Caller(key_name="team")
ROUTES = {
    "fast": ["groq/llama-4", "openai/gpt-5"],
    "text": {"targets": [{"target": "groq/llama-4", "conditions": {"images": False}}]},
}


@pytest.fixture
def snapshot() -> Snapshot:
    with override_settings(AI_GATEWAY={"ROUTES": ROUTES}):
        return registry.refresh()


def call_with(header: bytes = b"", models: Any = None, **members: Any) -> Call:
    fields = [(fallbacks.HEADER, header)] if header else []
    body = {"model": "gpt-5", **members, **({"models": models} if models is not None else {})}
    call = make_call("/v1/chat/completions", *fields, body=json.dumps(body).encode(), model="gpt-5")
    return msgspec.structs.replace(call, models=models)


def chosen(call: Call, snapshot: Snapshot, caller: Caller = HOLDER, route: str = "") -> tuple[list[Target], Any]:
    left, names = fallbacks.taken_from(call, caller, OWN, route, snapshot)
    assert isinstance(left.body, bytes)
    return list(fallbacks.targets_of(names, left, caller, OWN, snapshot)), json.loads(left.body)


def test_most_calls_name_none() -> None:
    assert not fallbacks.are_named(make_call())


def test_names_are_read_as_models_are_and_come_behind_the_calls_own(snapshot: Snapshot) -> None:
    targets, _ = chosen(call_with(b"mistral/large, fast,, gpt-5-mini"), snapshot)
    assert targets == [
        *OWN,
        Target("mistral", "large"),
        Target("groq", "llama-4"),
        Target("openai", "gpt-5-mini"),
    ]


def test_names_of_the_body_are_taken_out_of_it(snapshot: Snapshot) -> None:
    call = call_with(b"mistral/large", ["gpt-5", "groq/llama-4"], route="fallback", temperature=1)
    targets, body = chosen(call, snapshot)
    assert targets == [*OWN, Target("mistral", "large"), Target("groq", "llama-4")]
    assert body == {"model": "gpt-5", "temperature": 1}


def test_the_provider_in_the_header_is_that_of_the_calls_own_model(snapshot: Snapshot) -> None:
    call = make_call("/v1/x", (b"x-provider", b"xai"), (fallbacks.HEADER, b"groq/llama-4"), model="grok")
    assert list(fallbacks.targets_of(["groq/llama-4"], call, HOLDER, OWN, snapshot))[1:] == [Target("groq", "llama-4")]


def test_a_route_whose_conditions_do_not_hold_adds_nobody(snapshot: Snapshot) -> None:
    picture = [{"content": [{"type": "image_url"}]}]
    assert chosen(call_with(b"text"), snapshot)[0] == [*OWN, Target("groq", "llama-4")]
    assert chosen(call_with(b"text", messages=picture), snapshot)[0] == OWN


@pytest.mark.parametrize(
    ("call", "caller", "error"),
    [
        (call_with(b"fast"), Caller(key_name="k", may_choose_fallbacks=False), PermissionDenied),
        (call_with(models=["fast"]), Caller(key_name="k", may_choose_fallbacks=False), PermissionDenied),
        (call_with(b"groq/llama-4"), Caller(key_name="k", allowed_models=("gpt-5",)), ModelNotFound),
        (call_with(b"fast"), Caller(key_name="k", allowed_models=("gpt-5",)), ModelNotFound),
        (call_with(b",".join(b"m%d" % number for number in range(9))), HOLDER, BadRequest),
        (call_with(models="fast"), HOLDER, InvalidBody),
        (call_with(models=[1]), HOLDER, InvalidBody),
        (call_with(models=["x" * 1025]), HOLDER, InvalidBody),
        (call_with(b"nobody/x, x"), Caller(key_name="k", allowed_providers=("groq",)), ModelNotFound),
    ],
)
def test_what_a_caller_may_not_name_is_refused(
    snapshot: Snapshot, call: Call, caller: Caller, error: type[GatewayError]
) -> None:
    with pytest.raises(error):
        chosen(call, snapshot, caller)


def test_a_route_with_limits_of_its_own_cannot_be_had_beside_them() -> None:
    limit = {"scope": "route", "subject": "fast", "measure": "requests", "window": "minute", "amount": 1}
    routes = {"fast": ["groq/llama-4"], "free": ["groq/llama-4"]}
    with override_settings(AI_GATEWAY={"ROUTES": routes, "LIMITS": [limit]}):
        snapshot = registry.snapshot()
        assert chosen(call_with(b"free"), snapshot)[0] == [*OWN, Target("groq", "llama-4")]
        with pytest.raises(BadRequest, match="limits of its own"):
            chosen(call_with(b"fast"), snapshot)


def test_a_route_with_guardrails_cannot_be_had_without_them() -> None:
    words: dict[str, Any] = {"BACKEND": "patterns", "OPTIONS": {"deny": ["x"]}}
    routes = {"fast": {"targets": ["groq/llama-4"], "guardrails": ["words"]}, "free": ["groq/llama-4"]}

    def targets(everywhere: bool, route: str = "gpt-5", caller: Caller = HOLDER) -> list[Target]:
        site = {
            "ROUTES": {**routes, "same": routes["fast"]},
            "GUARDRAILS": {"words": {**words, "EVERYWHERE": everywhere}},
        }
        with override_settings(AI_GATEWAY=site):
            call = msgspec.structs.replace(call_with(b"fast"), model=route)
            return chosen(call, registry.snapshot(), caller)[0]

    for route in ("gpt-5", "free"):
        with pytest.raises(BadRequest, match="guardrails that this call has not"):
            targets(everywhere=False, route=route)
    there = [*OWN, Target("groq", "llama-4")]
    assert targets(everywhere=True) == there
    assert targets(everywhere=False, route="same") == there
    assert targets(everywhere=False, caller=Caller(key_name="k", guardrails=("words",))) == there


def test_a_caller_with_a_credential_of_its_own_is_passed_on_untouched(snapshot: Snapshot) -> None:
    call = call_with(b"fast", ["groq/llama-4"])
    assert fallbacks.taken_from(call, Caller(), OWN, "", snapshot) == (call, [])


def test_openrouter_keeps_the_names_that_are_its_own(snapshot: Snapshot) -> None:
    call = call_with(models=["meta/llama", "openai/gpt-5"])
    router = [Target("openrouter", "m")]
    assert fallbacks.taken_from(call, HOLDER, router, "", snapshot) == (call, [])
    assert fallbacks.taken_from(call, HOLDER, router, "some-route", snapshot)[1] == ["meta/llama", "openai/gpt-5"]


def test_openrouters_names_must_be_open_to_the_key_like_any_other(snapshot: Snapshot) -> None:
    call, router = call_with(models=["meta/llama"]), [Target("openrouter", "m")]
    with pytest.raises(ModelNotFound):
        fallbacks.taken_from(call, Caller(key_name="k", allowed_models=("openrouter/m",)), router, "", snapshot)
    with pytest.raises(PermissionDenied):
        fallbacks.taken_from(call, Caller(key_name="k", may_choose_fallbacks=False), router, "", snapshot)


def test_names_in_calls_of_other_endpoints_must_be_open_too(snapshot: Snapshot) -> None:
    body = b'{"model": "openrouter/m", "models": ["meta/llama"], "prompt": "hi"}'
    named = make_call("/v1/completions", body=body, model="openrouter/m")
    call, targets = msgspec.structs.replace(named, models=["meta/llama"]), [Target("openrouter", "m")]
    for allowed in ((), ("openrouter/*",), ("openrouter/m", "openrouter/meta/*")):
        caller = Caller(key_name="k", allowed_models=allowed)
        assert fallbacks.taken_from(call, caller, targets, "", snapshot) == (call, [])
    with pytest.raises(ModelNotFound):
        fallbacks.taken_from(call, Caller(key_name="k", allowed_models=("openrouter/m",)), targets, "", snapshot)
    with pytest.raises(PermissionDenied):
        fallbacks.taken_from(call, Caller(key_name="k", may_choose_fallbacks=False), targets, "", snapshot)
    odd = msgspec.structs.replace(call, models={"meta/llama": 1})
    with pytest.raises(InvalidBody):
        fallbacks.taken_from(odd, Caller(key_name="k", allowed_models=("openrouter/m",)), targets, "", snapshot)
