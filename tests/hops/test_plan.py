"""Which way a call takes to a provider."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ai_gateway.calls import Target
from ai_gateway.hops import Attempt, Hop, plan
from ai_gateway.hops.continuing import mark
from ai_gateway.hops.counting import Counting
from ai_gateway.hops.generation import Generation
from ai_gateway.hops.native import Native
from ai_gateway.registry import Snapshot
from tests.factories import make_meter
from tests.hops.conftest import HOLDER, call_to

MESSAGES = [{"role": "user", "content": "Hello"}]
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES},
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 10},
    "/v1beta/models/some-model:generateContent": {"contents": [{"parts": [{"text": "Hello"}]}]},
    "/v1/model/some-model/converse": {"messages": [{"role": "user", "content": [{"text": "Hello"}]}]},
}
OWN = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    "/v1beta/models/some-model:generateContent": "google",
    "/v1/model/some-model/converse": "converse",
}


def chosen(snapshot: Snapshot, path: str, to: str, model: str = "some-model", **members: Any) -> Hop:
    call = call_to(path, {"model": model, **BODIES.get(path, {}), **members})
    return plan(Attempt(call, make_meter(call, HOLDER), snapshot, Target(to, model), 1))


@pytest.mark.parametrize(("path", "to"), OWN.items())
def test_a_provider_of_the_callers_format_gets_the_callers_bytes(snapshot: Snapshot, path: str, to: str) -> None:
    assert isinstance(chosen(snapshot, path, to), Native)


@pytest.mark.parametrize(("path", "to"), [(path, to) for path in OWN for to in OWN.values() if to != OWN[path]])
def test_any_other_provider_is_reached_by_translation(snapshot: Snapshot, path: str, to: str) -> None:
    assert isinstance(chosen(snapshot, path, to), Generation)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/completions", "/v1/rerank", "/v1/audio/speech", "/v1/files"])
def test_what_is_no_generation_is_carried_through(snapshot: Snapshot, path: str) -> None:
    assert isinstance(chosen(snapshot, path, "chat"), Native)


def test_a_body_that_cannot_be_read_is_for_its_provider_to_refuse(snapshot: Snapshot) -> None:
    call = msgspec.structs.replace(call_to("/v1/chat/completions", {"model": "gpt-5.5"}), body=b"{no json")
    assert isinstance(plan(Attempt(call, make_meter(call, HOLDER), snapshot, Target("openai", "gpt-5.5"), 1)), Native)


@pytest.mark.parametrize(
    ("prefill", "members"),
    [
        ("native", {"messages": [{}]}),
        ("prefix", {"messages": [{"prefix": True}]}),
        ("continue_final_message", {"messages": [{}], "continue_final_message": True, "add_generation_prompt": False}),
    ],
)
def test_each_model_is_told_in_its_way_to_go_on(prefill: str, members: dict[str, Any]) -> None:
    body: dict[str, Any] = {"messages": [{}]}
    mark(body, prefill)
    assert body == members


def test_only_a_post_is_translated(snapshot: Snapshot) -> None:
    call = msgspec.structs.replace(call_to("/v1/messages", {"model": "m"}), method="GET")
    assert isinstance(plan(Attempt(call, make_meter(call, HOLDER), snapshot, Target("chat", "m"), 1)), Native)


@pytest.mark.parametrize(
    ("model", "members", "is_split"),
    [
        ("gpt-5.5", {"tools": TOOLS}, True),
        ("gpt-5.4", {"tools": TOOLS, "reasoning_effort": "low"}, True),
        ("gpt-6.1", {"tools": TOOLS, "reasoning_effort": "high"}, True),
        ("gpt-5.4", {"tools": TOOLS}, False),
        ("gpt-5.5", {"tools": TOOLS, "reasoning_effort": "none"}, False),
        ("gpt-5.5", {}, False),
        ("gpt-5.5", {"tools": []}, False),
        ("gpt-4o", {"tools": TOOLS}, False),
        ("gpt-5.5", {"tools": "all of them"}, False),
    ],
)
def test_openais_own_split_is_honoured(snapshot: Snapshot, model: str, members: dict[str, Any], is_split: bool) -> None:
    """Models that serve function tools with reasoning only through Responses are reached there."""
    hop = chosen(snapshot, "/v1/chat/completions", "openai", model, **members)
    assert isinstance(hop, Generation if is_split else Native)


@pytest.mark.parametrize(
    ("path", "to", "kind"),
    [
        ("/v1/messages/count_tokens", "messages", Native),
        ("/v1/messages/count_tokens", "chat", Counting),
        ("/v1/messages/count_tokens", "google", Counting),
        ("/v1beta/models/some-model:countTokens", "google", Native),
        ("/v1beta/models/some-model:countTokens", "messages", Counting),
        ("/v1/responses/input_tokens", "openai", Native),
        ("/v1/responses/input_tokens", "messages", Counting),
    ],
)
def test_tokens_are_counted_by_whoever_can(snapshot: Snapshot, path: str, to: str, kind: type[Hop]) -> None:
    members = (
        {"messages": MESSAGES}
        if "messages" in path
        else {"contents": [{"parts": [{"text": "Hi"}]}]}
        if "beta" in path
        else {"input": "Hi"}
    )
    assert isinstance(chosen(snapshot, path, to, **members), kind)
