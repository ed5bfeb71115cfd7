"""What a caller may use: patterns of a key, and the rules of routes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from django.test import override_settings

from ai_gateway import access, registry, routing
from ai_gateway.calls import Caller, Target
from ai_gateway.configuration import RouteRule
from ai_gateway.errors import ModelNotFound
from ai_gateway.registry import Snapshot
from tests.factories import make_arrival, make_call


@pytest.fixture
def snapshot() -> Snapshot:
    routes = {"fast": ["openai/gpt-5-mini", "groq/llama-4"], "team": ["openai/gpt-5"]}
    with override_settings(AI_GATEWAY={"ROUTES": routes}):
        built = registry.refresh()
    rule = RouteRule(is_public=False, users=frozenset([7]), groups=frozenset([3]))
    return replace(built, rules={"team": rule})


def caller(**fields: object) -> Caller:
    return Caller(**{"key_name": "k", "key_id": 1, "user_id": 1, **fields})  # type: ignore[arg-type]


def ask(
    model: str | None, who: Caller, snapshot: Snapshot, *headers: tuple[bytes, bytes], path: str = ""
) -> list[Target]:
    call = make_call(path or "/v1/chat/completions", *headers, model=model)
    return list(access.permitted(call, who, routing.resolve(call, snapshot), snapshot))


MODELS = [
    (["*"], "openai/gpt-5", True),
    (["openai/*"], "openai/gpt-5", True),
    (["openai/*"], "anthropic/claude", False),
    (["openai/gpt-5"], "OpenAI/gpt-5", True),
    (["openai/gpt-5"], "openai/gpt-5-pro", False),
    (["gpt-5*"], "openai/gpt-5-pro", True),
    (["gpt-5*"], "gpt-5-pro", True),
    (["gpt-5*"], "openrouter/openai/gpt-5", False),
    (["openrouter/openai/*"], "openrouter/openai/gpt-5", True),
    (["fast"], "fast", True),
    (["fast"], "openai/gpt-5-mini", False),
    (["openai/gpt-5-mini"], "fast", False),
    (["f*"], "fast", True),
    (["other", "fast"], "fast", True),
    (["GPT-5"], "openai/gpt-5", False),
    (["gpt-?"], "openai/gpt-5", True),
]


@pytest.mark.parametrize(("patterns", "model", "allowed"), MODELS)
def test_a_key_is_for_models(snapshot: Snapshot, patterns: list[str], model: str, allowed: bool) -> None:
    who = caller(allowed_models=tuple(patterns))
    if allowed:
        assert ask(model, who, snapshot)
    else:
        with pytest.raises(ModelNotFound):
            ask(model, who, snapshot)


def test_a_key_is_for_providers_and_routes_lead_to_those_alone(snapshot: Snapshot) -> None:
    who = caller(allowed_providers=("groq",))
    assert ask("fast", who, snapshot) == [Target("groq", "llama-4")]
    with pytest.raises(ModelNotFound):
        ask("openai/gpt-5", who, snapshot)
    with pytest.raises(ModelNotFound):
        ask("gpt-5", who, snapshot)


def test_a_named_provider_counts_with_the_model(snapshot: Snapshot) -> None:
    named = (b"x-provider", b"groq")
    assert ask("llama-4", caller(allowed_models=("groq/*",)), snapshot, named) == [Target("groq", "llama-4")]
    with pytest.raises(ModelNotFound):
        ask("fast", caller(allowed_models=("fast",), allowed_providers=("openai",)), snapshot, named)
    with pytest.raises(ModelNotFound):
        access.check_arrival(make_arrival("/v1/x", named), caller(allowed_providers=("openai",)))


def test_a_call_whose_model_cannot_be_read_is_not_for_a_key_of_some_models(snapshot: Snapshot) -> None:
    with pytest.raises(ModelNotFound):
        ask(None, caller(allowed_models=("whisper-1",)), snapshot, path="/v1/audio/transcriptions")
    assert ask(None, caller(), snapshot, path="/v1/audio/transcriptions")


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/models/gemini-3:generateContent",
        "/v1beta/models/gemini-3:streamGenerateContent",
        "/v1beta/models/gemini-3",
        "/v1/model/gemini-3/converse",
        "/v1/model/gemini-3/invoke-with-response-stream",
    ],
)
def test_a_model_in_the_path_counts(snapshot: Snapshot, path: str) -> None:
    assert ask(None, caller(allowed_models=("gemini-3",)), snapshot, path=path)
    with pytest.raises(ModelNotFound):
        ask(None, caller(allowed_models=("gemini-2",)), snapshot, path=path)


def test_a_model_in_the_body_does_not_hide_the_one_in_the_path(snapshot: Snapshot) -> None:
    path = "/v1beta/models/gemini-3-ultra:generateContent"
    for model in ("fast", "gemini/gemini-3"):
        with pytest.raises(ModelNotFound):
            ask(model, caller(allowed_models=("fast", "gemini-3")), snapshot, path=path)


@pytest.mark.parametrize(
    "path",
    [
        "/v1beta/tunedModels/other:generateContent",
        "/v1beta/dynamic/other:generateContent",
        "/v1beta/dynamic/other:embedContent",
        "/v1/projects/p/locations/l/publishers/google/models/other:generateContent",
        "/v1/engines/other/completions",
        "/v1/models/allowed/other",
        "/v1/models/allowed/other/predictions",
        "/v1/Chat/Completions",
        "/v1/messages/batches",
        "/v1/realtime/client_secrets",
        "/v1/agents/completions",
        "/v1/threads/x/runs",
        "/v1/fine_tuning/jobs",
        "/v1/files",
        "/v1/batches",
    ],
)
def test_a_body_s_model_is_not_believed_where_something_else_may_decide(snapshot: Snapshot, path: str) -> None:
    for model in ("allowed", "fast"):
        with pytest.raises(ModelNotFound):
            ask(model, caller(allowed_models=("allowed", "openai/allowed", "fast")), snapshot, path=path)
    for patterns in ((), ("*",), ("openai/*", "gemini/*", "anthropic/*")):
        assert ask("allowed", caller(allowed_models=patterns), snapshot, path=path)


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
@pytest.mark.parametrize("path", ["/v1/files/x/content", "/v1/responses/resp_1", "/v1/chat/completions"])
def test_a_body_does_not_open_what_is_there(snapshot: Snapshot, method: str, path: str) -> None:
    call = make_call(path, model="allowed", method=method)
    targets = routing.resolve(call, snapshot)
    with pytest.raises(ModelNotFound):
        access.permitted(call, caller(allowed_models=("allowed",)), targets, snapshot)
    assert access.permitted(call, caller(), targets, snapshot) == targets


@pytest.mark.parametrize(
    "path",
    [
        "/v1/responses",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/images/edits",
        "/v1/audio/transcriptions",
        "/v1/moderations",
        "/v1/videos",
        "/v1beta/openai/chat/completions",
        "/v1/realtime",
        "/v1beta/models/allowed:generateContent",
        "/v1beta/models/allowed:predict",
    ],
)
def test_a_body_s_model_is_believed_where_it_decides(snapshot: Snapshot, path: str) -> None:
    assert ask("allowed", caller(allowed_models=("allowed",)), snapshot, path=path)
    with pytest.raises(ModelNotFound):
        ask("other", caller(allowed_models=("allowed",)), snapshot, path=path)


@pytest.mark.parametrize(
    ("patterns", "path", "allowed"),
    [
        (["chat/completions"], "/v1/chat/completions", True),
        (["chat/completions"], "/v1/embeddings", False),
        (["/v1/chat/*"], "/v1/chat/completions", True),
        (["models/*"], "/v1beta/models/gemini-3:generateContent", True),
        (["messages"], "/v1/messages/batches", False),
        (["messages*"], "/v1/messages/batches", True),
    ],
)
def test_a_key_is_for_endpoints(patterns: list[str], path: str, allowed: bool) -> None:
    who = caller(allowed_endpoints=tuple(patterns))
    if allowed:
        access.check_arrival(make_arrival(path), who)
    else:
        with pytest.raises(ModelNotFound):
            access.check_arrival(make_arrival(path), who)


@pytest.mark.parametrize(
    ("who", "allowed"),
    [
        (Caller(), False),
        (Caller(credential=(b"x-api-key", b"own")), False),
        (Caller(key_name="of the settings"), True),
        (caller(), False),
        (caller(user_id=7), True),
        (caller(groups=frozenset([3, 4])), True),
        (caller(groups=frozenset([4])), False),
        (caller(uses_every_route=True), True),
        (Caller(key_name="a page of the site", user_id=8), False),
    ],
)
def test_a_route_is_for_its_users_and_groups(snapshot: Snapshot, who: Caller, allowed: bool) -> None:
    assert access.may_list(who, "team", snapshot) is allowed
    if allowed:
        assert ask("team", who, snapshot) == [Target("openai", "gpt-5")]
    else:
        with pytest.raises(ModelNotFound):
            ask("team", who, snapshot)


def test_a_route_without_a_rule_is_for_everybody(snapshot: Snapshot) -> None:
    assert len(ask("fast", Caller(), snapshot)) == 2


def test_what_is_not_open_is_told_like_what_is_not_there(snapshot: Snapshot) -> None:
    messages = set()
    for model in ("team", "openai/gpt-5", "no-such-model"):
        with pytest.raises(ModelNotFound) as caught:
            ask(model, caller(allowed_models=("fast",)), snapshot)
        messages.add((caught.value.status, caught.value.code, caught.value.message.replace(repr(model), "")))
    assert len(messages) == 1
