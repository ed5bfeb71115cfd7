"""Which targets, in what order: the four rules."""

from __future__ import annotations

import pytest
from django.test import override_settings

from ai_gateway import registry
from ai_gateway.calls import Target
from ai_gateway.errors import ProviderNotConfigured, UnknownProvider
from ai_gateway.registry import Snapshot
from ai_gateway.routing import resolve
from tests.factories import make_call


@pytest.fixture
def snapshot() -> Snapshot:
    options = {
        "ROUTES": {"fast": ["openai/gpt-5-mini", "Groq/llama-4"]},
        "PROVIDERS": {"bad": {"BACKEND": "custom", "OPTIONS": {"base_url": "ftp://x"}}},
    }
    with override_settings(AI_GATEWAY=options):
        return registry.refresh()


@pytest.mark.parametrize("name", [b"groq", b"GROQ", b" Groq "])
def test_the_header_names_the_provider_and_leaves_the_model_alone(snapshot: Snapshot, name: bytes) -> None:
    call = make_call("/v1/chat/completions", (b"x-provider", name), model="openai/gpt-oss-120b")
    assert resolve(call, snapshot) == [Target("groq", "openai/gpt-oss-120b")]


def test_a_route_gives_its_targets_in_order(snapshot: Snapshot) -> None:
    assert list(resolve(make_call(model="fast"), snapshot)) == [
        Target("openai", "gpt-5-mini"),
        Target("groq", "llama-4"),
    ]


@pytest.mark.parametrize("model", ["openrouter/openai/gpt-4o", "OpenRouter/openai/gpt-4o"])
def test_the_model_names_the_provider(snapshot: Snapshot, model: str) -> None:
    assert resolve(make_call(model=model), snapshot) == [Target("openrouter", "openai/gpt-4o")]


@pytest.mark.parametrize("model", ["gpt-5", "meta-llama/llama-4", "openai/", None])
def test_what_names_nobody_goes_to_the_default_provider(snapshot: Snapshot, model: str | None) -> None:
    assert resolve(make_call(model=model), snapshot) == [Target("openai", model)]


@pytest.mark.parametrize(
    ("path", "provider"),
    [
        ("/v1/messages", "anthropic"),
        ("/v1/messages/count_tokens", "anthropic"),
        ("/v1/complete", "anthropic"),
        ("/v1beta/models/m:generateContent", "gemini"),
        ("/v1/responses", "openai"),
        ("/v1/audio/speech", "openai"),
    ],
)
def test_the_api_that_is_spoken_names_the_provider(snapshot: Snapshot, path: str, provider: str) -> None:
    assert resolve(make_call(path), snapshot)[0].provider == provider


def test_an_unknown_provider_is_told_the_known_ones(snapshot: Snapshot) -> None:
    with pytest.raises(UnknownProvider) as caught:
        resolve(make_call("/v1/x", (b"x-provider", b"no\xffsuch")), snapshot)
    assert "anthropic, azure, bedrock" in caught.value.message
    assert caught.value.message.isascii()


def test_a_broken_provider_is_not_called_unknown(snapshot: Snapshot) -> None:
    with pytest.raises(ProviderNotConfigured):
        resolve(make_call("/v1/x", (b"x-provider", b"bad")), snapshot)
