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


def read_usage(usage: object, x_groq: object = None) -> TokenUsage | None:
    """Read the usage of an answer or a chunk: its member `usage`, or Groq's `x_groq.usage`. None if it has none."""
    if not isinstance(usage, dict):
        usage = x_groq.get("usage") if isinstance(x_groq, dict) else None
    if not isinstance(usage, dict) or not usage:
        return None
    prompt = _count(usage, "prompt_tokens")
    of_prompt, of_completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    cached = _cached(usage, of_prompt)
    if cached > prompt:
        cached = prompt  # Azure was seen telling more cached tokens than the prompt has.
    written = heard = spoken = drawn = 0
    if isinstance(of_prompt, dict) and of_prompt:
        written = min(_count(of_prompt, "cache_write_tokens"), prompt - cached)
        heard = min(_count(of_prompt, "audio_tokens"), prompt - cached - written)
    completion, reasoning = _output(usage, of_completion, prompt)
    visible = completion - reasoning
    if isinstance(of_completion, dict) and of_completion:
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


def _cached(usage: dict[str, Any], of_prompt: object) -> int:
    """Give the tokens that were read from a cache."""
    found = _count(of_prompt, "cached_tokens") if isinstance(of_prompt, dict) else 0
    # DeepSeek's name, and Moonshot's.
    return found or _count(usage, "prompt_cache_hit_tokens") or _count(usage, "cached_tokens")


def _output(usage: dict[str, Any], of_completion: object, prompt: int) -> tuple[int, int]:
    """Give the tokens of the completion, reasoning included, and those of the reasoning, which are no more."""
    completion = _count(usage, "completion_tokens")
    reasoning = _count(of_completion, "reasoning_tokens") if isinstance(of_completion, dict) else 0
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


def _count(counts: dict[str, Any], name: str) -> int:
    """Take a count. 0 if it is not there, or is no number above 0."""
    value = counts.get(name)
    if value is None:
        return 0
    if type(value) is int:  # As nearly always, and told in a fifth of the time.
        return value if value > 0 else 0
    return int(value) if isinstance(value, int | float) and value > 0 else 0
