"""Google's token counts.

Source: `UsageMetadata` of the Gemini API's reference. `promptTokenCount` includes what was read from a cache, but not
the prompts of Google's own tools; `candidatesTokenCount` does not include the thoughts. The total is the sum of the
four.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.conversation import TokenUsage

COUNTS = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")

TIERS = {"standard": "default", "flex": "flex", "priority": "priority"}
"""Google's service tiers, in the words of OpenAI that the neutral vocabulary uses."""

TIERS_WRITTEN = {"flex": "flex", "priority": "priority"}
"""What Google calls the service tiers that it has beside the usual one."""

USUAL_TIERS = frozenset((None, "auto", "default", "standard", "standard_only"))
"""What callers call the usual tier, which needs not be said."""


def read_usage(metadata: dict[str, Any]) -> TokenUsage | None:
    """Read `usageMetadata`. None if it counts nothing (Vertex AI sends only a `trafficType` before the end)."""
    if not any(name in metadata for name in COUNTS):
        return None
    prompt, tools, candidates, thoughts = (_count(metadata, name) for name in COUNTS)
    cached = min(_count(metadata, "cachedContentTokenCount"), prompt + tools)
    return TokenUsage(input=prompt + tools - cached, cache_read=cached, output=candidates, reasoning=thoughts)


def _count(metadata: dict[str, Any], name: str) -> int:
    count = metadata.get(name)
    return count if isinstance(count, int) and count > 0 else 0


def write_metadata(usage: TokenUsage | None) -> dict[str, Any]:
    """Write the member `usageMetadata`, or nothing if nothing is known."""
    return {"usageMetadata": write_usage(usage)} if usage is not None else {}


def write_usage(usage: TokenUsage) -> dict[str, Any]:
    """Write the counts. As Google does, this leaves out what is zero, but for prompt, candidates and total."""
    metadata: dict[str, Any] = {"promptTokenCount": usage.total_input, "candidatesTokenCount": usage.output}
    if usage.cache_read:
        metadata["cachedContentTokenCount"] = usage.cache_read
    if usage.reasoning:
        metadata["thoughtsTokenCount"] = usage.reasoning
    return {**metadata, "totalTokenCount": usage.total_input + usage.total_output}


def read_tier(metadata: dict[str, Any]) -> str | None:
    """Read the service tier, which Google tells beside the counts."""
    tier = metadata.get("serviceTier")
    return TIERS.get(tier.lower(), tier) if isinstance(tier, str) else None
