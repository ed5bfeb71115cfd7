"""Token counts and service tiers, as Messages writes them.

Anthropic's `input_tokens` has neither what was read from the cache nor what was written to it; `output_tokens` has the
thinking in it. Source: the `Usage` object of Anthropic's Messages API reference.

What the model used to sum up a conversation that had grown too long is in none of these counts, but in `iterations`,
beside those of the answer that are, and is billed alike. Source: "Compaction" in Anthropic's documentation. What
another model used that was asked for advice stands there, too; it has another price, and is not counted.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.conversation import TokenUsage, total
from ai_gateway.protocols.jsontext import objects_in
from ai_gateway.protocols.passing import count

TIERS_READ = {"standard": "default", "priority": "priority", "batch": "batch"}
"""What Anthropic calls the tier that served a request, and what OpenAI calls it."""

FAST = "fast"

TIERS_WRITTEN = {"default": "standard", "priority": "priority", "batch": "batch"}
"""The other way round."""


MOST_ITERATIONS = 100
"""How many are looked at: a stream's are read again with each of its reports."""


def read_usage(usage: dict[str, Any]) -> TokenUsage | None:
    """Read a `usage` object; None if there is nothing in it that counts."""
    if not isinstance(usage.get("output_tokens"), int) and not isinstance(usage.get("input_tokens"), int):
        return None
    tokens, iterations = _tokens(usage), usage.get("iterations")
    if not isinstance(iterations, list):
        return tokens
    summaries = [each for each in objects_in(iterations[:MOST_ITERATIONS]) if each.get("type") == "compaction"]
    return total([tokens, *map(_tokens, summaries)]) if summaries else tokens


def _tokens(usage: dict[str, Any]) -> TokenUsage:
    written = _count(usage, "cache_creation_input_tokens")
    written_1h = _count(usage.get("cache_creation"), "ephemeral_1h_input_tokens")
    if "cache_creation_input_tokens" in usage:
        # A stream's last word on the sum may be newer than its only word on how it is split.
        written_1h = min(written_1h, written)
    else:
        written = written_1h + _count(usage.get("cache_creation"), "ephemeral_5m_input_tokens")
    output = _count(usage, "output_tokens")
    thinking = min(_count(usage.get("output_tokens_details"), "thinking_tokens"), output)
    return TokenUsage(
        input=_count(usage, "input_tokens"),
        cache_read=_count(usage, "cache_read_input_tokens"),
        cache_write=written - written_1h,
        cache_write_1h=written_1h,
        output=output - thinking,
        reasoning=thinking,
    )


def read_units(usage: dict[str, Any]) -> dict[str, float]:
    """Tell how often Anthropic searched the web for an answer, for which it charges apart."""
    searches = count(usage.get("server_tool_use"), "web_search_requests")
    return {"searches": searches} if searches else {}


def _count(members: object, name: str) -> int:
    value = members.get(name) if isinstance(members, dict) else None
    return value if isinstance(value, int) and value > 0 else 0


def merge_usage(known: dict[str, Any], newer: object) -> None:
    """Take a newer `usage` object of the same stream into the one that is known.

    The counts are cumulative: what is not null replaces what was there, and nothing is ever added.
    """
    if isinstance(newer, dict):
        known.update((name, value) for name, value in newer.items() if value is not None)


def write_usage(usage: TokenUsage | None) -> dict[str, Any]:
    """Write a `usage` object. What is not known is zero, for `input_tokens` and `output_tokens` must be there.

    Audio and images are input like any other here.
    """
    counts = usage or TokenUsage()
    return {
        "input_tokens": counts.input + counts.input_audio + counts.input_image,
        "cache_creation_input_tokens": counts.cache_write + counts.cache_write_1h,
        "cache_read_input_tokens": counts.cache_read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": counts.cache_write,
            "ephemeral_1h_input_tokens": counts.cache_write_1h,
        },
        "output_tokens": counts.total_output,
        "output_tokens_details": {"thinking_tokens": counts.reasoning},
    }


def read_tier(usage: dict[str, Any]) -> str | None:
    """Tell the tier that served a request, in OpenAI's words. That it was served in the fast mode, which has prices of
    its own as OpenAI's has, stands beside the tier."""
    if usage.get("speed") == FAST:
        return FAST
    return TIERS_READ.get(str(usage.get("service_tier")))


def write_tier(tier: str | None) -> str | None:
    """Tell it in Anthropic's words; None for a tier that Anthropic has no word for."""
    return TIERS_WRITTEN.get(tier or "")
