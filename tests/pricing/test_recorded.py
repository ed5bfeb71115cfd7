"""Recorded answers of providers, priced, and compared with costs that were computed by hand.

Each case is a bill: for each kind of token how many were used, and the price for a million in dollars. A token at a
dollar for a million costs 1,000 nano-dollars, so a line comes to count * dollars * 1,000, and the bill to the sum.
"""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest

from ai_gateway.consumption import Consumption
from ai_gateway.price_catalogue import GenAIPrices
from ai_gateway.pricing import PriceTable, read_price
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.conversation import Answer, TokenUsage
from tests.protocols.bedrock_converse.samples import whole_answer
from tests.protocols.streams import collected, events_of_pieces
from tests.protocols.vectors import Vector, vectors

AT = datetime(2026, 11, 28, 12, tzinfo=UTC).timestamp()
"""When the calls are priced: the package has the prices of that moment."""


class Bill(NamedTuple):
    """A recorded answer, whose it is, and what it costs: (count, bucket, dollars a million), and the sum in nanos."""

    format: str
    name: str
    row: str
    model: str
    lines: tuple[tuple[int, str, float], ...]
    nanos: int


BILLS = (
    # OpenAI, chat completions: 68*2.5 + 1152*1.25 + 100*10 = 170 + 1440 + 1000
    Bill(
        "openai_chat",
        "openai-chat-completion-prompt-caching-cache-read-0",
        "openai",
        "gpt-4o-2024-08-06",
        ((68, "input", 2.5), (1152, "cache_read", 1.25), (100, "output", 10)),
        2_610_000,
    ),
    # 3*4 + 1217*5 + 100*20 = 12 + 6085 + 2000; reasoning has no price of its own
    Bill(
        "openai_chat",
        "openai-chat-completion-prompt-caching-5-6-cache-write-0",
        "openai",
        "gpt-5.6-sol",
        ((3, "input", 4), (1217, "cache_write", 5), (100, "reasoning", 20)),
        8_097_000,
    ),
    # 12*1.1 + 15*4.4 + 15*4.4 = 13.2 + 66 + 66
    Bill(
        "openai_chat",
        "openai-completion-reasoning-0",
        "openai",
        "o3-mini-2025-01-31",
        ((12, "input", 1.1), (15, "output", 4.4), (15, "reasoning", 4.4)),
        145_200,
    ),
    # OpenAI, responses: 930*1.25 + 8576*0.125 + 55*10 + 384*10 = 1162.5 + 1072 + 550 + 3840
    Bill(
        "openai_responses",
        "openai-openai-responses-model-web-search-tool-1",
        "openai",
        "gpt-5-2025-08-07",
        ((930, "input", 1.25), (8576, "cache_read", 0.125), (55, "output", 10), (384, "reasoning", 10)),
        6_624_500,
    ),
    # 213*1.75 + 4352*0.175 + 5*14 = 372.75 + 761.6 + 70
    Bill(
        "openai_responses",
        "openai-chat-web-search-with-openai-gpt-5-2-searches-and-records-the-to-1",
        "openai",
        "gpt-5.2-2025-12-11",
        ((213, "input", 1.75), (4352, "cache_read", 0.175), (5, "output", 14)),
        1_204_350,
    ),
    # Azure OpenAI, a stream: 176*0.25 + 80*2 + 512*2 = 44 + 160 + 1024
    Bill(
        "openai_chat",
        "azure-testazurethinking-azure-gpt-5-mini-thinking-streaming-1",
        "azure",
        "gpt-5-mini-2025-08-07",
        ((176, "input", 0.25), (80, "output", 2), (512, "reasoning", 2)),
        1_228_000,
    ),
    # Anthropic: 4*2 + 14714*0.2 + 379*2.5 + 271*10 + 19*10 = 8 + 2942.8 + 947.5 + 2710 + 190
    Bill(
        "anthropic_messages",
        "anthropic-anthropic-code-execution-files-cache-prefix-stable-automatic-2",
        "anthropic",
        "claude-sonnet-5",
        (
            (4, "input", 2),
            (14714, "cache_read", 0.2),
            (379, "cache_write", 2.5),
            (271, "output", 10),
            (19, "reasoning", 10),
        ),
        6_798_300,
    ),
    # A stream: 4*3 + 1167*3.75 + 289*15 = 12 + 4376.25 + 4335
    Bill(
        "anthropic_messages",
        "anthropic-anthropic-prompt-caching-async-stream-legacy-0",
        "anthropic",
        "claude-3-5-sonnet-20240620",
        ((4, "input", 3), (1167, "cache_write", 3.75), (289, "output", 15)),
        8_723_250,
    ),
    # 11*3 + 1031*0.3 + 100*15 = 33 + 309.3 + 1500
    Bill(
        "anthropic_messages",
        "anthropic-anthropic-completion-stream-cache-read-0",
        "anthropic",
        "claude-sonnet-4-20250514",
        ((11, "input", 3), (1031, "cache_read", 0.3), (100, "output", 15)),
        1_842_300,
    ),
    # Gemini, thoughts: 194*1.25 + 33*10 + 216*10 = 242.5 + 330 + 2160
    Bill(
        "gemini",
        "google-gla-agent-run-async-0",
        "gemini",
        "models/gemini-2.5-pro",
        ((194, "input", 1.25), (33, "output", 10), (216, "reasoning", 10)),
        2_732_500,
    ),
    # An explicit cache: 13*0.3 + 9609*0.03 + 35*2.5 + 136*2.5 = 3.9 + 288.27 + 87.5 + 340
    Bill(
        "gemini",
        "google-gla-cachedcontent-explicit-caching-round-trip-gemini-gemini-2-5-1",
        "gemini",
        "gemini-2.5-flash",
        ((13, "input", 0.3), (9609, "cache_read", 0.03), (35, "output", 2.5), (136, "reasoning", 2.5)),
        719_670,
    ),
    # Groq, a stream: 304*0.15 + 26*0.6 + 23*0.6 = 45.6 + 15.6 + 13.8
    Bill(
        "openai_chat",
        "groq-tool-use-failed-error-streaming-1",
        "groq",
        "openai/gpt-oss-120b",
        ((304, "input", 0.15), (26, "output", 0.6), (23, "reasoning", 0.6)),
        75_000,
    ),
    # DeepSeek: 111*0.15 + 384*0.003 + 65*0.6 = 16.65 + 1.152 + 39
    Bill(
        "openai_chat",
        "deepseek-chat-function-calling-deepseek-deepseek-chat-can-use-tools-wi-2-702a5",
        "deepseek",
        "deepseek-v4-flash",
        ((111, "input", 0.15), (384, "cache_read", 0.003), (65, "output", 0.6)),
        56_802,
    ),
    # Mistral: 9*2 + 100*6 = 18 + 600
    Bill(
        "openai_chat",
        "mistral-dd-mistral-v1-chat-completions-post-7dbf2fa3-0",
        "mistral",
        "mistral-large-latest",
        ((9, "input", 2), (100, "output", 6)),
        618_000,
    ),
    # xAI, chat completions: 48*0.2 + 448*0.02 + 77*1.5 + 121*1.5 = 9.6 + 8.96 + 115.5 + 181.5
    Bill(
        "openai_chat",
        "xai-testopenaicompatobjectgeneration-xai-grok-code-fast-complex-object-0",
        "xai",
        "grok-code-fast-1",
        ((48, "input", 0.2), (448, "cache_read", 0.02), (77, "output", 1.5), (121, "reasoning", 1.5)),
        315_560,
    ),
    # xAI, responses: 125*1.25 + 448*0.2 + 8*2.5 + 117*2.5 = 156.25 + 89.6 + 20 + 292.5
    Bill(
        "openai_responses",
        "xai-chat-function-calling-xai-grok-4-1-fast-non-reasoning-can-use-tool-2",
        "xai",
        "grok-4.3",
        ((125, "input", 1.25), (448, "cache_read", 0.2), (8, "output", 2.5), (117, "reasoning", 2.5)),
        558_350,
    ),
    # Together: 18*0.9 + 35*0.9 = 16.2 + 31.5
    Bill(
        "openai_chat",
        "together-together-chat-legacy-0",
        "together",
        "mistralai/Mixtral-8x7B-Instruct-v0.1",
        ((18, "input", 0.9), (35, "output", 0.9)),
        47_700,
    ),
    # OpenRouter: 1*3 + 2569*0.3 + 79*3.75 + 100*15 = 3 + 770.7 + 296.25 + 1500
    Bill(
        "openai_chat",
        "openrouter-openrouter-cache-all-settings-real-api-1",
        "openrouter",
        "anthropic/claude-4.6-sonnet-20260217",
        ((1, "input", 3), (2569, "cache_read", 0.3), (79, "cache_write", 3.75), (100, "output", 15)),
        2_569_950,
    ),
)


def find(format: str, name: str) -> Vector:
    return next(vector for vector in vectors(format) if vector.name == name)


def answer_of(vector: Vector) -> Answer:
    protocol = PROTOCOLS[vector.format]
    if vector.is_stream:
        return collected(events_of_pieces(protocol, [vector.stream]))
    return protocol.read_answer(vector.response)


def usage_of(format: str, body: Any) -> TokenUsage:
    usage = PROTOCOLS[format].read_answer(body).usage
    assert usage is not None
    return usage


@pytest.fixture(scope="module")
def prices() -> PriceTable:
    return PriceTable([], GenAIPrices())


def charge(prices: PriceTable, row: str, model: str, tokens: TokenUsage, **more: Any) -> int:
    price = prices.of(row, row, model, AT)
    assert price is not None
    return price.cost(Consumption(tokens=tokens, **more))


@pytest.mark.parametrize("bill", BILLS, ids=lambda bill: bill.name)
def test_a_recorded_answer_costs_what_its_bill_says(prices: PriceTable, bill: Bill) -> None:
    usage = answer_of(find(bill.format, bill.name)).usage
    counts: dict[str, Any] = {bucket: count for count, bucket, _ in bill.lines}
    assert usage == TokenUsage(**counts)
    assert bill.nanos == round(sum(count * dollars * 1000 for count, _, dollars in bill.lines))
    assert (
        read_price({bucket: dollars for _, bucket, dollars in bill.lines}).cost(Consumption(tokens=usage)) == bill.nanos
    )
    assert charge(prices, bill.row, bill.model, usage) == bill.nanos


@pytest.mark.parametrize("bill", [bill for bill in BILLS if bill.row == "openrouter"], ids=lambda bill: bill.name)
def test_openrouter_charged_the_same(bill: Bill) -> None:
    dollars = find(bill.format, bill.name).response["usage"]["cost"]
    assert round(dollars * 10**9) == bill.nanos


@pytest.mark.parametrize("bill", [bill for bill in BILLS if bill.row == "xai"], ids=lambda bill: bill.name)
def test_xai_charged_the_same(bill: Bill) -> None:
    """It says so in ticks of a tenth of a nano-dollar."""
    _, _, after = find(bill.format, bill.name).stream.decode().rpartition('"cost_in_usd_ticks":')
    ticks, _ = json.JSONDecoder().raw_decode(after.lstrip())
    assert ticks == bill.nanos * 10


def test_embeddings__have_no_output(prices: PriceTable) -> None:
    usage = find("openai_other", "openai-async-embeddings-with-dimensions-0").response["usage"]
    assert usage == {"prompt_tokens": 9, "total_tokens": 9}
    # 9 * 0.02
    assert charge(prices, "openai", "text-embedding-3-small", TokenUsage(input=9)) == 180


def test_anthropic__what_is_kept_for_an_hour_costs_more_than_what_is_kept_for_five_minutes(prices: PriceTable) -> None:
    body = deepcopy(find("anthropic_messages", "anthropic-anthropic-tool-image-3").response)
    body["usage"] |= {
        "cache_creation_input_tokens": 1135,
        "cache_creation": {"ephemeral_5m_input_tokens": 135, "ephemeral_1h_input_tokens": 1000},
    }
    # 2*2 + 135*2.5 + 1000*4 + 75*10 + 67*10 = 4 + 337.5 + 4000 + 750 + 670
    assert charge(prices, "anthropic", "claude-sonnet-5", usage_of("anthropic_messages", body)) == 5_761_500


def test_anthropic__a_web_search_has_a_fee(prices: PriceTable) -> None:
    vector = find("anthropic_messages", "anthropic-anthropic-web-search-0")
    searches = vector.response["usage"]["server_tool_use"]["web_search_requests"]
    assert searches == 1
    # 4*2 + 2836*0.2 + 11107*2.5 + 129*10 + 26*10 = 29,892.7; and a cent for the search
    usage = usage_of(vector.format, vector.response)
    assert (
        charge(prices, "anthropic", "claude-sonnet-5", usage, units={"searches": searches}) == 29_892_700 + 10_000_000
    )


@pytest.mark.parametrize(
    ("model", "nanos"),
    [
        # Three queries for one prompt, which has a fee of 3.5 cents: 32*0.3 + 37*2.5 = 9.6 + 92.5
        ("gemini-2.5-flash", 102_100 + 35_000_000),
        # Each query has a fee of 1.4 cents: 32*0.5 + 37*3 = 16 + 111
        ("gemini-3-flash-preview", 127_000 + 3 * 14_000_000),
    ],
)
def test_google__a_search_has_a_fee_by_the_prompt_or_by_the_query(prices: PriceTable, model: str, nanos: int) -> None:
    body = {
        "candidates": [
            {
                "content": {"parts": [{"text": "Spain."}]},
                "finishReason": "STOP",
                "groundingMetadata": {"webSearchQueries": ["who won", "who won euro 2024", "euro 2024 final", ""]},
            }
        ],
        "usageMetadata": {"promptTokenCount": 32, "candidatesTokenCount": 37},
        "modelVersion": model,
    }
    answer = PROTOCOLS["gemini"].read_answer(body)
    assert answer.usage is not None
    assert charge(prices, "gemini", model, answer.usage, units=answer.units) == nanos


def test_perplexity__a_research_costs_what_its_bill_says(prices: PriceTable) -> None:
    usage = {
        "prompt_tokens": 230,
        "completion_tokens": 13498,
        "total_tokens": 13728,
        "citation_tokens": 20470,
        "num_search_queries": 50,
        "reasoning_tokens": 145885,
    }
    choice = {"message": {"role": "assistant", "content": "# Checkout"}, "finish_reason": "stop"}
    answer = PROTOCOLS["openai_chat"].read_answer({"id": "a", "choices": [choice], "usage": usage})
    assert answer.usage is not None
    # 230*2 + 13498*8 + 20470*2 + 145885*3 = 587,039; and 50 searches of half a cent
    nanos = charge(prices, "perplexity", "sonar-deep-research", answer.usage, units=answer.units)
    assert nanos == 587_039_000 + 50 * 5_000_000
    assert round(nanos / 1e9, 5) == 0.83704


@pytest.mark.parametrize(
    ("prompt", "nanos"),
    [
        # 200,000 tokens are no long context: 200000*1.25 + 33*10 + 216*10 = 250,000 + 2,490
        (200_000, 252_490_000),
        # One more is, and everything costs more: 200001*2.5 + 33*15 + 216*15 = 500,002.5 + 3,735
        (200_001, 503_737_500),
    ],
)
def test_gemini__a_long_context_costs_more_from_the_first_token_on(prices: PriceTable, prompt: int, nanos: int) -> None:
    body = deepcopy(find("gemini", "google-gla-agent-run-async-0").response)
    body["usageMetadata"] |= {
        "promptTokenCount": prompt,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": prompt}],
        "totalTokenCount": prompt + 249,
    }
    assert charge(prices, "gemini", "gemini-2.5-pro", usage_of("gemini", body)) == nanos


@pytest.mark.parametrize(
    ("model", "nanos"),
    [
        # In a region: 9*3.3 + 1000*0.33 + 4*4.125 + 30*6.6 + 20*16.5 = 29.7 + 330 + 16.5 + 198 + 330
        ("eu.anthropic.claude-sonnet-4-5-20250929-v1:0", 904_200),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", 904_200),
        # Wherever there is room: 9*3 + 1000*0.3 + 4*3.75 + 30*6 + 20*15 = 27 + 300 + 15 + 180 + 300
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", 822_000),
        (
            "arn:aws:bedrock:eu-west-1:1:inference-profile/global.anthropic.claude-sonnet-4-5-20250929-v1:0",
            822_000,
        ),
    ],
)
def test_bedrock(prices: PriceTable, model: str, nanos: int) -> None:
    assert charge(prices, "bedrock", model, usage_of("bedrock_converse", whole_answer("text"))) == nanos


@pytest.mark.parametrize(
    ("tier", "nanos"),
    [
        # 1000*2.5 + 10*0.25 + 100*15 = 2500 + 2.5 + 1500
        ("", 4_002_500),
        ("default", 4_002_500),
        ("a tier that nobody knows", 4_002_500),
        # 1000*1.25 + 10*0.13 + 100*7.5 = 1250 + 1.3 + 750: half, but for what was cached
        ("flex", 2_001_300),
        ("batch", 2_001_300),
        # 1000*5 + 10*0.5 + 100*30 = 5000 + 5 + 3000
        ("priority", 8_005_000),
    ],
)
def test_openai__a_service_tier_has_prices_of_its_own(prices: PriceTable, tier: str, nanos: int) -> None:
    tokens = TokenUsage(input=1000, cache_read=10, output=100)
    assert charge(prices, "openai", "gpt-5.4", tokens, service_tier=tier) == nanos


def test_anthropic__the_fast_mode_has_prices_of_its_own(prices: PriceTable) -> None:
    tokens = TokenUsage(input=1000, output=100)
    # 1000*5 + 100*25 = 5000 + 2500
    assert charge(prices, "anthropic", "claude-opus-4-8", tokens) == 7_500_000
    # 1000*10 + 100*50 = 10000 + 5000
    assert charge(prices, "anthropic", "claude-opus-4-8", tokens, service_tier="fast") == 15_000_000
