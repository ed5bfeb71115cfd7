"""Token counts. In Converse `inputTokens` holds only what was neither read from nor written to a cache.

Source: "Prompt caching" in the Amazon Bedrock User Guide, and the shapes `TokenUsage` and `CacheDetail` of the service
model. `outputTokens` holds the tokens of reasoning, which no member tells apart.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.conversation import TokenUsage


def read_usage(value: Any) -> TokenUsage | None:
    """Read a `TokenUsage`; None if there is none."""
    if not isinstance(value, dict):
        return None
    written = _count(value.get("cacheWriteInputTokens"))
    for_an_hour = min(written, _written_for_an_hour(value.get("cacheDetails")))
    return TokenUsage(
        input=_count(value.get("inputTokens")),
        cache_read=_count(value.get("cacheReadInputTokens")),
        cache_write=written - for_an_hour,
        cache_write_1h=for_an_hour,
        output=_count(value.get("outputTokens")),
    )


def _written_for_an_hour(details: Any) -> int:
    entries = details if isinstance(details, list) else ()
    return sum(
        _count(entry.get("inputTokens")) for entry in entries if isinstance(entry, dict) and entry.get("ttl") == "1h"
    )


def write_usage(usage: TokenUsage | None) -> dict[str, Any]:
    """Write a `TokenUsage`. Its three counts are required, so they are 0 where nothing is known."""
    usage = usage or TokenUsage()
    written: dict[str, Any] = {
        "inputTokens": usage.input + usage.input_audio + usage.input_image,
        "outputTokens": usage.total_output,
        "totalTokens": usage.total,
        "cacheReadInputTokens": usage.cache_read,
        "cacheWriteInputTokens": usage.cache_write + usage.cache_write_1h,
    }
    details = [
        {"ttl": ttl, "inputTokens": count}
        for ttl, count in (("1h", usage.cache_write_1h), ("5m", usage.cache_write))
        if count
    ]
    return written | {"cacheDetails": details} if details else written


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0
