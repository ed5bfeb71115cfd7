"""LiteLLM's list of prices, read."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ai_gateway.litellm_prices import LiteLLMPrices
from ai_gateway.pricing import read_price

DOCUMENT: dict[str, Any] = {
    "sample_spec": {"litellm_provider": "one of the providers", "input_cost_per_token": 0},
    "gpt-5.4": {
        "litellm_provider": "openai",
        "input_cost_per_token": 2.5e-06,
        "input_cost_per_token_above_272k_tokens": 5e-06,
        "input_cost_per_token_batches": 1.25e-06,
        "input_cost_per_token_priority": 5e-06,
        "output_cost_per_token": 1.5e-05,
        "output_cost_per_token_above_272k_tokens": 2.25e-05,
        "output_cost_per_token_flex": 7.5e-06,
        "cache_read_input_token_cost": 2.5e-07,
        "max_tokens": 128000,
        "mode": "chat",
        "supports_vision": True,
    },
    "claude-opus-5-5": {
        "litellm_provider": "anthropic",
        "input_cost_per_token": 4e-06,
        "output_cost_per_token": 2e-05,
        "cache_creation_input_token_cost": 5e-06,
        "cache_creation_input_token_cost_above_1hr": 8e-06,
    },
    "groq/whisper-large-v3": {
        "litellm_provider": "groq",
        "input_cost_per_second": 3.083e-05,
        "output_cost_per_second": 0,
    },
    "gemini/gemini-2.5-flash": {
        "litellm_provider": "gemini",
        "input_cost_per_token": 3e-07,
        "search_context_cost_per_query": {
            "search_context_size_low": 0.035,
            "search_context_size_medium": 0.0355,
            "search_context_size_high": 0.036,
        },
    },
    "rerank-v9": {
        "litellm_provider": "cohere",
        "input_cost_per_query": 0.002,
        "search_context_cost_per_query": {"search_context_size_medium": 0.01},
    },
    "sonar": {"litellm_provider": "perplexity", "search_context_cost_per_query": {"search_context_size_medium": 0.01}},
    "anthropic.claude-v2": {"litellm_provider": "bedrock_converse", "input_cost_per_token": 8e-06},
    "azure/gpt-4o": {"litellm_provider": "azure", "input_cost_per_token": 2.5e-06},
    "dall-e-9": {"litellm_provider": "openai", "output_cost_per_image": 0.04},
    "no-price": {"litellm_provider": "openai", "mode": "chat"},
    "odd": {"litellm_provider": "openai", "input_cost_per_token": "x", "output_cost_per_token": -1},
}


@pytest.fixture
def prices() -> LiteLLMPrices:
    return LiteLLMPrices(DOCUMENT)


def test_prices_for_a_million_tokens_long_contexts_and_service_tiers(prices: LiteLLMPrices) -> None:
    assert prices.columns("openai", "gpt-5.4") == {
        "input": Decimal("2.5"),
        "cache_read": Decimal("0.25"),
        "output": Decimal("15"),
        "tiers": [{"above": 272_000, "input": Decimal("5"), "output": Decimal("22.5")}],
        "service_tiers": {
            "batch": {"input": Decimal("1.25")},
            "priority": {"input": Decimal("5")},
            "flex": {"output": Decimal("7.5")},
        },
    }


@pytest.mark.parametrize(
    ("row", "model", "columns"),
    [
        ("openai", "gpt-5.4-2026-03-05", {"input": Decimal("2.5")}),
        (
            "anthropic",
            "claude-opus-5-5-20260101",
            {"cache_write": Decimal("5"), "cache_write_1h": Decimal("8")},
        ),
        ("groq", "whisper-large-v3", {"units": {"audio_seconds": Decimal("0.00003083")}}),
        ("gemini", "models/gemini-2.5-flash", {"input": Decimal("0.3"), "units": {"searches": Decimal("0.0355")}}),
        ("cohere", "rerank-v9", {"units": {"searches": Decimal("0.002")}}),
        ("bedrock", "eu.anthropic.claude-v2", {"input": Decimal("8")}),
        ("azure", "gpt-4o", {"input": Decimal("2.5")}),
        ("openai", "dall-e-9", {"units": {"images": Decimal("0.04")}}),
    ],
)
def test_a_model_is_found_by_our_name_of_its_provider(
    prices: LiteLLMPrices, row: str, model: str, columns: dict[str, Any]
) -> None:
    found = prices.columns(row, model)
    assert found is not None
    assert found.items() >= columns.items()
    read_price(found)


@pytest.mark.parametrize(
    ("row", "model"),
    [
        ("openai", "no-price"),
        ("perplexity", "sonar"),
        ("openai", "odd"),
        ("groq", "gpt-5.4"),
        ("openai", "sample_spec"),
    ],
)
def test_what_has_no_price_is_not_known(prices: LiteLLMPrices, row: str, model: str) -> None:
    assert prices.columns(row, model) is None


def test_the_models_of_a_provider(prices: LiteLLMPrices) -> None:
    assert prices.models("openai") == ["gpt-5.4", "dall-e-9"]


@pytest.mark.parametrize(
    "document", [{}, {"models": []}, {"gpt": {"input": 1}}, {"sample_spec": {"litellm_provider": "x"}}]
)
def test_another_kind_of_file_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="It holds no prices of LiteLLM"):
        LiteLLMPrices(document)
