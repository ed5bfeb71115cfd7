"""Google's token counts.

Source: `UsageMetadata` of the Gemini API's reference. `promptTokenCount` includes what was read from a cache, but not
the prompts of Google's own tools; `candidatesTokenCount` does not include the thoughts. The total is the sum of the
four. How much of each is sound or pictures stands in lists beside them, by modality.

Searches are billed apart: with Gemini 3 and later by the query, and before that by the prompt. No count tells them, but
the queries stand in the metadata of what the answer rests on. Source: "Grounding with Google Search" there. Of a map
that was asked they stand there, too, and are counted alike.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from ai_gateway.protocols.conversation import TokenUsage

COUNTS = ("promptTokenCount", "toolUsePromptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")

TIERS = {"standard": "default", "flex": "flex", "priority": "priority"}
"""Google's service tiers, in the words of OpenAI that the neutral vocabulary uses."""

TIERS_WRITTEN = {"flex": "flex", "priority": "priority"}
"""What Google calls the service tiers that it has beside the usual one."""

USUAL_TIERS = frozenset((None, "auto", "default", "standard", "standard_only"))
"""What callers call the usual tier, which needs not be said."""


QUERIES = ("webSearchQueries", "imageSearchQueries")
"""Members of `groundingMetadata` that list what was searched for."""

BY_PROMPT = re.compile(r"gemini-[12][.-]")
"""How the names of models begin with which Google bills a prompt that was searched for, and not each query."""


def read_queries(grounding: object) -> set[tuple[str, str]]:
    """Tell what was searched for, and in what kind of search. Google bills no query that is empty, and none twice."""
    members = grounding if isinstance(grounding, dict) else {}
    return {
        (name, query)
        for name in QUERIES
        for query in (members[name] if isinstance(members.get(name), list) else ())
        if isinstance(query, str) and query
    }


def units_of(queries: Collection[object], model: str) -> dict[str, float]:
    """Tell how many searches a model's answer is billed for, if it is billed for any."""
    if not queries:
        return {}
    return {"searches": 1 if BY_PROMPT.match(model) else len(queries)}


def read_usage(metadata: dict[str, Any]) -> TokenUsage | None:
    """Read `usageMetadata`. None if it counts nothing (Vertex AI sends only a `trafficType` before the end)."""
    if not any(name in metadata for name in COUNTS):
        return None
    prompt, tools, candidates, thoughts = (_count(metadata, name) for name in COUNTS)
    cached = min(_count(metadata, "cachedContentTokenCount"), prompt + tools)
    uncached = prompt + tools - cached
    heard = min(_uncached(metadata, "AUDIO"), uncached)
    seen = min(_uncached(metadata, "IMAGE"), uncached - heard)
    spoken = min(_of(metadata, "candidatesTokensDetails", "AUDIO"), candidates)
    drawn = min(_of(metadata, "candidatesTokensDetails", "IMAGE"), candidates - spoken)
    return TokenUsage(
        input=uncached - heard - seen,
        cache_read=cached,
        output=candidates - spoken - drawn,
        reasoning=thoughts,
        input_audio=heard,
        input_image=seen,
        output_audio=spoken,
        output_image=drawn,
    )


def _uncached(metadata: dict[str, Any], modality: str) -> int:
    """Count the tokens of one modality in the prompt that were not read from a cache."""
    prompt = _of(metadata, "promptTokensDetails", modality) + _of(metadata, "toolUsePromptTokensDetails", modality)
    return max(0, prompt - _of(metadata, "cacheTokensDetails", modality))


def _of(metadata: dict[str, Any], name: str, modality: str) -> int:
    details = metadata.get(name)
    entries: Sequence[Any] = details if isinstance(details, list) else ()
    return sum(
        _count(entry, "tokenCount")
        for entry in entries
        if isinstance(entry, dict) and entry.get("modality") == modality
    )


def _count(metadata: dict[str, Any], name: str) -> int:
    count = metadata.get(name)
    return count if isinstance(count, int) and count > 0 else 0


def write_metadata(usage: TokenUsage | None) -> dict[str, Any]:
    """Write the member `usageMetadata`, or nothing if nothing is known."""
    return {"usageMetadata": write_usage(usage)} if usage is not None else {}


def write_usage(usage: TokenUsage) -> dict[str, Any]:
    """Write the counts. As Google does, this leaves out what is zero, but for prompt, candidates and total.

    The modalities are told where there is more than text.
    """
    candidates = usage.total_output - usage.reasoning
    metadata: dict[str, Any] = {"promptTokenCount": usage.total_input, "candidatesTokenCount": candidates}
    if usage.cache_read:
        metadata["cachedContentTokenCount"] = usage.cache_read
    if usage.reasoning:
        metadata["thoughtsTokenCount"] = usage.reasoning
    metadata["totalTokenCount"] = usage.total
    if usage.input_audio or usage.input_image:
        text = usage.total_input - usage.input_audio - usage.input_image
        metadata["promptTokensDetails"] = _details(text, usage.input_audio, usage.input_image)
    if usage.output_audio or usage.output_image:
        metadata["candidatesTokensDetails"] = _details(usage.output, usage.output_audio, usage.output_image)
    return metadata


def _details(text: int, audio: int, image: int) -> list[dict[str, Any]]:
    counts = (("TEXT", text), ("AUDIO", audio), ("IMAGE", image))
    return [{"modality": modality, "tokenCount": count} for modality, count in counts if count]


def read_tier(metadata: dict[str, Any]) -> str | None:
    """Read the service tier, which Google tells beside the counts."""
    tier = metadata.get("serviceTier")
    return TIERS.get(tier.lower(), tier) if isinstance(tier, str) else None
