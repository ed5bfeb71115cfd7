"""Token counts of chat completions, to and from disjoint buckets.

Here `cached_tokens`, `cache_write_tokens` and `audio_tokens` are inside `prompt_tokens`, and `reasoning_tokens`,
`audio_tokens` and (OpenRouter) `image_tokens` inside `completion_tokens`. Audio that was read from a cache counts as
cached. Two providers break the rule for reasoning, and `total_tokens` tells them: xAI counts it beside the completion,
Google's compatible endpoint counts it in the total alone. Perplexity's research tells in members of their own what it
read and what it thought, both beside everything else, and charges what it read like the prompt.

Searches of the web are counted by OpenRouter and Perplexity; for OpenAI nothing tells them here.

Source: the usage object of OpenAI's API reference; the deviations are recorded, or in the providers' own references.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.passing import UNBELIEVABLE, count

Count = Annotated[int, msgspec.Meta(ge=0)]


class Details(msgspec.Struct, frozen=True, gc=False):
    """What is inside the tokens of a prompt, or of a completion."""

    cached_tokens: Count = 0
    cache_write_tokens: Count = 0
    audio_tokens: Count = 0
    reasoning_tokens: Count = 0
    image_tokens: Count = 0


class ToolUse(msgspec.Struct, frozen=True, gc=False):
    """How often OpenRouter's tools were used."""

    web_search_requests: Count | None = None


class Report(msgspec.Struct, frozen=True, gc=False):
    """A usage object."""

    prompt_tokens: Count = 0
    completion_tokens: Count = 0
    total_tokens: Count = 0
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None
    prompt_cache_hit_tokens: Count = 0
    """What DeepSeek read from its cache."""
    cached_tokens: Count = 0
    """What Moonshot read from its cache."""
    citation_tokens: Count | None = None
    """What Perplexity's research read."""
    reasoning_tokens: Count | None = None
    """What it thought. Others repeat here what the details tell."""
    num_search_queries: Count | None = None
    """How often Perplexity searched."""
    server_tool_use: ToolUse | None = None
    server_tool_use_details: ToolUse | None = None


def read_usage(usage: object, x_groq: object = None) -> TokenUsage | None:
    """Read the tokens that an answer or a chunk says were used. As `read_report`."""
    report = read_report(usage, x_groq)
    return tokens_of(report) if report is not None else None


def read_report(usage: object, x_groq: object = None) -> Report | None:
    """Read the usage of an answer or a chunk: its member `usage`, or Groq's `x_groq.usage`. None if it has none."""
    if not isinstance(usage, dict):
        usage = x_groq.get("usage") if isinstance(x_groq, dict) else None
    if not isinstance(usage, dict) or not usage:
        return None
    try:
        return msgspec.convert(usage, Report)
    except msgspec.ValidationError:
        return _mended(usage)


def _mended(usage: dict[str, Any]) -> Report:
    """Make a report of a usage with which something is wrong: a count that is no number above 0 is 0."""
    return Report(
        prompt_tokens=count(usage, "prompt_tokens"),
        completion_tokens=count(usage, "completion_tokens"),
        total_tokens=count(usage, "total_tokens"),
        prompt_tokens_details=_details(usage.get("prompt_tokens_details")),
        completion_tokens_details=_details(usage.get("completion_tokens_details")),
        prompt_cache_hit_tokens=count(usage, "prompt_cache_hit_tokens"),
        cached_tokens=count(usage, "cached_tokens"),
        citation_tokens=count(usage, "citation_tokens") if usage.get("citation_tokens") is not None else None,
        reasoning_tokens=count(usage, "reasoning_tokens"),
        num_search_queries=count(usage, "num_search_queries"),
        server_tool_use=_tool_use(usage.get("server_tool_use")),
        server_tool_use_details=_tool_use(usage.get("server_tool_use_details")),
    )


def _tool_use(use: object) -> ToolUse | None:
    return ToolUse(count(use, "web_search_requests")) if isinstance(use, dict) else None


def _details(details: object) -> Details | None:
    if not isinstance(details, dict):
        return None
    return Details(*(count(details, name) for name in Details.__struct_fields__))


def tokens_of(report: Report) -> TokenUsage:
    """Give the tokens that were used, by a report of them."""
    prompt = report.prompt_tokens
    of_prompt, of_completion = report.prompt_tokens_details, report.completion_tokens_details
    cached = _cached(report, of_prompt)
    if cached > prompt:
        cached = prompt  # Azure was seen telling more cached tokens than the prompt has.
    written = heard = spoken = drawn = 0
    if of_prompt is not None:
        written = min(of_prompt.cache_write_tokens, prompt - cached)
        heard = min(of_prompt.audio_tokens, prompt - cached - written)
    read, completion, reasoning = _research(report) or (0, *_output(report, of_completion))
    visible = completion - reasoning
    if of_completion is not None:
        spoken = min(of_completion.audio_tokens, visible)
        drawn = min(of_completion.image_tokens, visible - spoken)
    return TokenUsage(
        input=prompt - cached - written - heard + read,
        cache_read=cached,
        cache_write=written,
        output=visible - spoken - drawn,
        reasoning=reasoning,
        input_audio=heard,
        output_audio=spoken,
        output_image=drawn,
    )


def units_of(report: Report) -> dict[str, float]:
    """Tell what a report counts that is charged apart from tokens, as in `Answer.units`."""
    use = report.server_tool_use_details or report.server_tool_use
    searches = (use.web_search_requests if use is not None else 0) or report.num_search_queries
    return {"searches": min(searches, UNBELIEVABLE)} if searches else {}


def _research(report: Report) -> tuple[int, int, int] | None:
    """Give the tokens that Perplexity's research read, those of its output, thoughts included, and those of its
    thoughts. None if this is no report of research, or one whose total has them in it."""
    known = report.prompt_tokens + report.completion_tokens
    if report.citation_tokens is None or report.total_tokens != known:
        return None
    thought = report.reasoning_tokens or 0
    return report.citation_tokens, report.completion_tokens + thought, thought


def _cached(report: Report, of_prompt: Details | None) -> int:
    """Give the tokens that were read from a cache."""
    found = of_prompt.cached_tokens if of_prompt is not None else 0
    return found or report.prompt_cache_hit_tokens or report.cached_tokens


def _output(report: Report, of_completion: Details | None) -> tuple[int, int]:
    """Give the tokens of the completion, reasoning included, and those of the reasoning, which are no more."""
    prompt, completion, total = report.prompt_tokens, report.completion_tokens, report.total_tokens
    reasoning = of_completion.reasoning_tokens if of_completion is not None else 0
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
        "total_tokens": usage.total,
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
