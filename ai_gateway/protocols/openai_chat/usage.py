"""Token counts of chat completions, to and from disjoint buckets.

Here `cached_tokens`, `cache_write_tokens` and `audio_tokens` are inside `prompt_tokens`, and `reasoning_tokens`,
`audio_tokens` and (OpenRouter) `image_tokens` inside `completion_tokens`. Audio that was read from a cache counts as
cached. Two providers break the rule for reasoning, and `total_tokens` tells them: xAI counts it beside the completion,
Google's compatible endpoint counts it in the total alone.

Source: the usage object of OpenAI's API reference; the deviations are recorded.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.conversation import TokenUsage


def read_usage(body: dict[str, Any]) -> TokenUsage | None:
    """Read the usage of an answer or a chunk: `usage`, or Groq's `x_groq.usage`. None if it has none."""
    usage = body.get("usage")
    if not isinstance(usage, dict):
        groq = body.get("x_groq")
        usage = groq.get("usage") if isinstance(groq, dict) else None
    if not isinstance(usage, dict) or not usage:
        return None
    prompt = _count(usage, "prompt_tokens")
    of_prompt, of_completion = _details(usage, "prompt_tokens_details"), _details(usage, "completion_tokens_details")
    # Azure was seen telling more cached tokens than the prompt has.
    cached = min(_cached(usage, of_prompt), prompt)
    written = heard = spoken = drawn = 0
    if of_prompt:
        written = min(_count(of_prompt, "cache_write_tokens"), prompt - cached)
        heard = min(_count(of_prompt, "audio_tokens"), prompt - cached - written)
    completion, reasoning = _output(usage, of_completion, prompt)
    visible = max(0, completion - reasoning)
    if of_completion:
        spoken = min(_count(of_completion, "audio_tokens"), visible)
        drawn = min(_count(of_completion, "image_tokens"), visible - spoken)
    return TokenUsage(
        input=prompt - cached - written - heard,
        cache_read=cached,
        cache_write=written,
        output=visible - spoken - drawn,
        reasoning=reasoning,
        input_audio=heard,
        output_audio=spoken,
        output_image=drawn,
    )


def _cached(usage: dict[str, Any], of_prompt: dict[str, Any]) -> int:
    """Give the tokens that were read from a cache."""
    for counts, name in (
        (of_prompt, "cached_tokens"),
        (usage, "prompt_cache_hit_tokens"),  # DeepSeek
        (usage, "cached_tokens"),  # Moonshot
    ):
        if name in counts and (found := _count(counts, name)):
            return found
    return 0


def _output(usage: dict[str, Any], of_completion: dict[str, Any], prompt: int) -> tuple[int, int]:
    """Give the tokens of the completion, reasoning included, and those of the reasoning."""
    completion = _count(usage, "completion_tokens")
    reasoning = _count(of_completion, "reasoning_tokens") if of_completion else 0
    total = _count(usage, "total_tokens")
    is_beside = total == prompt + completion + reasoning or reasoning > completion
    if reasoning and is_beside:
        return completion + reasoning, reasoning
    if not reasoning and total > prompt + completion:
        return total - prompt, total - prompt - completion
    return completion, reasoning


def write_usage(usage: TokenUsage) -> dict[str, Any]:
    """Write the usage for a caller. The details are always there: clients index into them."""
    return {
        "prompt_tokens": usage.total_input,
        "completion_tokens": usage.total_output,
        "total_tokens": usage.total_input + usage.total_output,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
            "audio_tokens": usage.input_audio,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": usage.output_audio,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _details(usage: dict[str, Any], name: str) -> dict[str, Any]:
    value = usage.get(name)
    return value if isinstance(value, dict) else {}


def _count(counts: dict[str, Any], name: str) -> int:
    """Take a count. 0 if it is not there, or is no number above 0."""
    value = counts.get(name)
    if value is None:
        return 0
    return int(value) if isinstance(value, int | float) and value > 0 else 0
