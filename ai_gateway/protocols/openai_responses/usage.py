"""Token counts as Responses write them, and the neutral, disjoint ones.

In Responses the cached tokens, read or written, are inside `input_tokens`, and those of reasoning inside
`output_tokens`. Source: the `usage` object of OpenAI's API reference for Responses.

Searches of the web are charged apart, and no count tells them. Each use of that tool is an item, which says what was
done: only to search is charged, not to open a page that was found, or to find something in it. Source: "Web search"
in OpenAI's guides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ai_gateway.protocols.conversation import TokenUsage
from ai_gateway.protocols.jsontext import count_in

SEARCH = "web_search_call"
"""The type of an item that was a use of the tool that searches the web."""


def count_searches(items: Iterable[Mapping[str, Any]]) -> int:
    """Tell for how many searches of the web OpenAI charges an answer of these items."""
    return sum(item.get("type") == SEARCH and is_charged(item.get("action")) for item in items)


def is_charged(action: object) -> bool:
    """Whether what was done with the tool is charged, by the action of an item, decoded as an object of Python's or of
    JSON. Where nothing says what was done (older servers do not), it is."""
    done = action.get("type") if isinstance(action, dict) else getattr(action, "type", None)
    return done == "search" or not isinstance(done, str)


def read_usage(usage: Any) -> TokenUsage | None:
    """Read the `usage` of a response; None if there is none. Details may be missing, or null."""
    if not isinstance(usage, dict):
        return None
    details = _details(usage, "input_tokens_details")
    total_input, output = count_in(usage, "input_tokens"), count_in(usage, "output_tokens")
    # As with chat completions: servers were seen telling more cached tokens than the prompt has.
    read = min(count_in(details, "cached_tokens"), total_input)
    written = min(count_in(details, "cache_write_tokens"), total_input - read)
    long = count_in(_details(details, "cache_write_tokens_details"), "ttl_12h_tokens")
    reasoning = count_in(_details(usage, "output_tokens_details"), "reasoning_tokens")
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
    known = count_in(usage, "input_tokens") + count_in(usage, "output_tokens")
    return reasoning > 0 and count_in(usage, "total_tokens") == known + reasoning


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
