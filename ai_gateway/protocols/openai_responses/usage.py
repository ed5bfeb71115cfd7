"""Token counts as Responses write them, and the neutral, disjoint ones.

In Responses the cached tokens, read or written, are inside `input_tokens`, and those of reasoning inside
`output_tokens`. Source: the `usage` object of OpenAI's API reference for Responses.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ai_gateway.protocols.conversation import TokenUsage

SEARCH = "web_search_call"
"""The type of an item that was a search of the web, which OpenAI counts apart."""


def count_searches(types: Iterable[object]) -> int:
    """Tell how often OpenAI searched the web for an answer, by the types of its items."""
    return sum(type == SEARCH for type in types)


def read_usage(usage: Any) -> TokenUsage | None:
    """Read the `usage` of a response; None if there is none. Details may be missing, or null."""
    if not isinstance(usage, dict):
        return None
    details = _details(usage, "input_tokens_details")
    total_input, output = _count(usage, "input_tokens"), _count(usage, "output_tokens")
    # As with chat completions: servers were seen telling more cached tokens than the prompt has.
    read = min(_count(details, "cached_tokens"), total_input)
    written = min(_count(details, "cache_write_tokens"), total_input - read)
    long = _count(_details(details, "cache_write_tokens_details"), "ttl_12h_tokens")
    reasoning = _count(_details(usage, "output_tokens_details"), "reasoning_tokens")
    return TokenUsage(
        input=total_input - read - written,
        cache_read=read,
        cache_write=max(0, written - long),
        cache_write_1h=min(long, written),
        output=output if _is_outside(usage, reasoning) else max(0, output - reasoning),
        reasoning=reasoning,
    )


def _is_outside(usage: dict[str, Any], reasoning: int) -> bool:
    """Whether a server counts reasoning beside the output: only then is the total the sum of all three."""
    known = _count(usage, "input_tokens") + _count(usage, "output_tokens")
    return reasoning > 0 and _count(usage, "total_tokens") == known + reasoning


def write_usage(usage: TokenUsage | None) -> dict[str, Any] | None:
    """Write the `usage` of a response, every key of it: clients read them without asking whether they are there."""
    if usage is None:
        return None
    return {
        "input_tokens": usage.total_input,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read,
            "cache_write_tokens": usage.cache_write + usage.cache_write_1h,
        },
        "output_tokens": usage.total_output,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total,
    }


def _details(usage: dict[str, Any], name: str) -> dict[str, Any]:
    value = usage.get(name)
    return value if isinstance(value, dict) else {}


def _count(usage: dict[str, Any], name: str) -> int:
    value = usage.get(name)
    return int(value) if isinstance(value, int | float) and value > 0 else 0
