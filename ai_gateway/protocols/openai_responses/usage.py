"""Token counts as Responses write them, and the neutral, disjoint ones.

In Responses the cached tokens, read or written, are inside `input_tokens`, and those of reasoning inside
`output_tokens`. Source: the `usage` object of OpenAI's API reference for Responses.

Searches are charged apart, and OpenAI has no count of them. Each use of one of its tools is an item. Of the tool that
searches the web the item says what was done: only to search is charged, not to open a page that was found, or to find
something in it. Source: "Web search" and "File search" in OpenAI's guides.

xAI and Perplexity count them in the usage, as they charge them: what stands there counts, and not the items. xAI
charges pages that were opened, too, and posts and profiles of X by the piece, for which prices have no unit. Sources:
"Tool Usage Details" in xAI's documentation, the Agent API in Perplexity's reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.passing import count

SEARCH = "web_search_call"
"""The type of an item that was a use of the tool that searches the web."""

TOOLS = {SEARCH: "searches", "file_search_call": "file_searches"}
"""The types of items that are charged apart, and what prices call a use of those tools."""

COUNTED = {"web_search_calls": "searches", "file_search_calls": "file_searches"}
"""What xAI counts, by its own names."""


def read_units(usage: object, kinds: Iterable[str], told: Mapping[str, float] = {}) -> dict[str, float]:
    """Tell what of a response is charged apart: what its usage counts, else the items of these types that are charged,
    else what a stream has told of them before its end."""
    counted = _counted(usage) if isinstance(usage, dict) else None
    return (units_of(kinds) or dict(told)) if counted is None else counted


def charged(items: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Give the types of those items that are charged apart."""
    return (str(item["type"]) for item in items if is_charged(item.get("type"), item.get("action")))


def units_of(kinds: Iterable[str]) -> dict[str, float]:
    """Count uses of tools, by the types of their items."""
    units: dict[str, float] = {}
    for kind in kinds:
        units[TOOLS[kind]] = units.get(TOOLS[kind], 0) + 1
    return units


def _counted(usage: dict[str, Any]) -> dict[str, float] | None:
    """Tell what a provider has counted itself; None if it does not."""
    of_xai, of_perplexity = usage.get("server_side_tool_usage_details"), usage.get("tool_calls_details")
    if isinstance(of_xai, dict):
        counts = {unit: count(of_xai, name) for name, unit in COUNTED.items()}
    elif isinstance(of_perplexity, dict):
        counts = {"searches": count(of_perplexity.get("search_web"), "invocation")}
    else:
        return None
    return {unit: number for unit, number in counts.items() if number}


def is_charged(kind: object, action: object) -> bool:
    """Whether an item is a use of a tool that is charged apart, by its type and its action, decoded as an object of
    Python's or of JSON. Where nothing says what was done on the web (older servers do not), it is."""
    if kind != SEARCH:
        return isinstance(kind, str) and kind in TOOLS
    done = action.get("type") if isinstance(action, dict) else getattr(action, "type", None)
    return done == "search" or not isinstance(done, str)


def read_usage(usage: Any) -> TokenUsage | None:
    """Read the `usage` of a response; None if there is none. Details may be missing, or null."""
    if not isinstance(usage, dict):
        return None
    details = _details(usage, "input_tokens_details")
    total_input, output = count(usage, "input_tokens"), count(usage, "output_tokens")
    # As with chat completions: servers were seen telling more cached tokens than the prompt has.
    read = min(count(details, "cached_tokens"), total_input)
    told = count(details, "cache_write_tokens") or count(details, "cache_creation_input_tokens")  # Perplexity's.
    written = min(told, total_input - read)
    long = count(_details(details, "cache_write_tokens_details"), "ttl_12h_tokens")
    reasoning = count(_details(usage, "output_tokens_details"), "reasoning_tokens")
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
    known = count(usage, "input_tokens") + count(usage, "output_tokens")
    return reasoning > 0 and count(usage, "total_tokens") == known + reasoning


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
