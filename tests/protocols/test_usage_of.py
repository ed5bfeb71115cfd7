"""What the counts tell apart, sound and pictures too, is told apart, and never lost where a format cannot say it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.anthropic_messages import usage as anthropic
from ai_gateway.protocols.bedrock_converse import usage as bedrock
from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.gemini import usage as gemini
from ai_gateway.protocols.openai_chat import usage as chat
from ai_gateway.protocols.openai_responses import usage as responses
from tests.consumption.hearing import PATHS, SSE, asking, consumption_of
from tests.protocols.streams import collected, events_of_pieces

MIXED = TokenUsage(
    input=10,
    cache_read=4,
    output=20,
    reasoning=3,
    input_audio=5,
    input_image=6,
    output_audio=7,
    output_image=8,
)


def test_a_chat_completion_tells_sound_of_both_sides_and_pictures_of_the_answer() -> None:
    usage = {
        "prompt_tokens": 100,
        "prompt_tokens_details": {"audio_tokens": 60, "cached_tokens": 30},
        "completion_tokens": 90,
        "completion_tokens_details": {"audio_tokens": 50, "image_tokens": 20, "reasoning_tokens": 10},
    }
    assert chat.read_usage(usage) == TokenUsage(
        input=10, cache_read=30, input_audio=60, output=10, reasoning=10, output_audio=50, output_image=20
    )


def test_details_are_never_more_than_the_whole() -> None:
    usage = {
        "prompt_tokens": 10,
        "prompt_tokens_details": {"audio_tokens": 60, "cached_tokens": 4},
        "completion_tokens": 5,
        "completion_tokens_details": {"audio_tokens": 50, "image_tokens": 20},
    }
    assert chat.read_usage(usage) == TokenUsage(cache_read=4, input_audio=6, output_audio=5)


RESEARCH = {
    "prompt_tokens": 230,
    "completion_tokens": 13498,
    "total_tokens": 13728,
    "citation_tokens": 20470,
    "num_search_queries": 50,
    "reasoning_tokens": 145885,
}
"""What Perplexity tells of a deep research, in the numbers of one whose bill is known."""


def test_what_perplexitys_research_read_and_thought_is_beside_the_rest() -> None:
    researched = TokenUsage(input=230 + 20470, output=13498, reasoning=145885)
    assert chat.read_usage(RESEARCH) == researched
    assert chat.read_usage({**RESEARCH, "citation_tokens": 20470.0, "prompt_tokens_details": "x"}) == researched


def test_thoughts_that_are_told_twice_are_counted_once() -> None:
    """Others repeat them beside the details, and of what a total has in it nothing is beside."""
    told = {**RESEARCH, "citation_tokens": None}
    assert chat.read_usage(told) == TokenUsage(input=230, output=13498)
    details = {"completion_tokens_details": {"reasoning_tokens": 900}}
    assert chat.read_usage(told | details) == TokenUsage(input=230, output=13498 - 900, reasoning=900)
    assert chat.read_usage({**RESEARCH, "total_tokens": 0}) == TokenUsage(input=230, output=13498)


def test_perplexity_has_a_name_of_its_own_for_what_a_response_wrote_to_a_cache() -> None:
    usage = {
        "input_tokens": 11575,
        "input_tokens_details": {
            "cache_creation_input_tokens": 6296,
            "cache_read_input_tokens": 5270,
            "cached_tokens": 5270,
        },
        "output_tokens": 227,
        "output_tokens_details": {"reasoning_tokens": 28},
        "total_tokens": 11802,
    }
    assert responses.read_usage(usage) == TokenUsage(
        input=9, cache_read=5270, cache_write=6296, output=199, reasoning=28
    )


def iteration(kind: str, **members: Any) -> dict[str, Any]:
    caching = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    return {"type": kind, **caching, "cache_creation": None, **members}


def test_what_a_message_used_to_sum_up_its_conversation_is_beside_its_counts() -> None:
    """What was used for the answer is in both, and what another model used for advice has another price."""
    usage = {
        "input_tokens": 23000,
        "output_tokens": 1000,
        "output_tokens_details": {"thinking_tokens": 300},
        "iterations": [
            iteration("compaction", input_tokens=170_000, output_tokens=3500, cache_read_input_tokens=10_000),
            iteration("advisor_message", input_tokens=2543, output_tokens=18, model="claude-opus-4-8"),
            iteration("message", input_tokens=23000, output_tokens=1000),
        ],
    }
    summed_up = TokenUsage(input=193_000, cache_read=10_000, output=4200, reasoning=300)
    assert anthropic.read_usage(usage) == summed_up
    told: dict[str, Any] = {}
    anthropic.merge_usage(told, {"input_tokens": 23000, "output_tokens": 1})
    anthropic.merge_usage(told, {**usage, "input_tokens": None})
    assert anthropic.read_usage(told) == summed_up


@pytest.mark.parametrize("iterations", [None, [], "x", {}, [None, 7, []], [{"type": "compaction"}], [{"type": ["x"]}]])
def test_iterations_that_say_nothing_add_nothing(iterations: Any) -> None:
    usage = {"input_tokens": 9, "output_tokens": 5, "iterations": iterations}
    assert anthropic.read_usage(usage) == TokenUsage(input=9, output=5)


def counts(**tokens: int) -> list[dict[str, Any]]:
    return [{"modality": modality, "tokenCount": count} for modality, count in tokens.items()]


def test_google_tells_every_modality_and_what_of_it_was_cached() -> None:
    metadata = {
        "promptTokenCount": 100,
        "promptTokensDetails": counts(TEXT=30, AUDIO=40, IMAGE=30),
        "cachedContentTokenCount": 50,
        "cacheTokensDetails": counts(TEXT=20, AUDIO=30),
        "candidatesTokenCount": 30,
        "candidatesTokensDetails": counts(TEXT=5, IMAGE=25),
    }
    assert gemini.read_usage(metadata) == TokenUsage(
        input=10, cache_read=50, input_audio=10, input_image=30, output=5, output_image=25
    )


@pytest.mark.parametrize("details", [None, "odd", [], [7], [{"modality": "AUDIO"}], [{"tokenCount": 3}]])
def test_details_that_say_nothing_are_none(details: object) -> None:
    metadata = {"promptTokenCount": 9, "promptTokensDetails": details}
    assert gemini.read_usage(metadata) == TokenUsage(input=9)


def test_whatever_the_format_the_totals_are_whole() -> None:
    written = chat.write_usage(MIXED)
    assert (written["prompt_tokens"], written["completion_tokens"]) == (25, 38)
    assert written["prompt_tokens_details"]["audio_tokens"] == 5
    assert written["completion_tokens_details"]["audio_tokens"] == 7
    message = anthropic.write_usage(MIXED)
    assert (message["input_tokens"] + message["cache_read_input_tokens"], message["output_tokens"]) == (25, 38)
    response = responses.write_usage(MIXED)
    assert response is not None
    assert (response["input_tokens"], response["output_tokens"]) == (25, 38)
    converse = bedrock.write_usage(MIXED)
    assert converse["inputTokens"] + converse["cacheReadInputTokens"] == 25
    assert (converse["outputTokens"], converse["totalTokens"]) == (38, 63)


def test_google_gets_back_what_it_would_have_told() -> None:
    assert gemini.read_usage(gemini.write_usage(MIXED)) == MIXED


@pytest.mark.parametrize(
    ("told", "tier"),
    [
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"speed": "fast"}, "fast"),
        ({"service_tier": "priority", "speed": "standard"}, "priority"),
        ({"service_tier": "batch", "speed": None}, "batch"),
        ({}, None),
    ],
)
def test_anthropics_fast_mode_is_a_tier_for_it_has_prices_of_its_own(told: dict[str, Any], tier: str | None) -> None:
    usage = {"input_tokens": 9, "output_tokens": 5, **told}
    assert anthropic.read_tier(usage) == tier
    body = {"id": "msg_1", "model": "claude", "content": [], "stop_reason": "end_turn", "usage": usage}
    heard = consumption_of(asking(PATHS["anthropic_messages"]), json.dumps({**body, "type": "message"}).encode())
    assert heard is not None
    assert heard.service_tier == (tier or "")
    start = {"type": "message_start", "message": {**body, "usage": {**usage, "output_tokens": 1}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}}
    events = [f"data: {json.dumps(each)}\n\n".encode() for each in (start, end, {"type": "message_stop"})]
    streamed = consumption_of(asking(PATHS["anthropic_messages"]), *events, headers=SSE)
    assert streamed == heard
    translated = collected(events_of_pieces(PROTOCOLS["anthropic_messages"], events))
    assert translated.service_tier == tier
