"""How many cache marks there may be, and in which order.

Source: "Prompt caching" of Anthropic's documentation: at most four in a request, and those of one hour before those of
five minutes. The prompt is made of the tools, the instructions and the turns, in this order.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ai_gateway.protocols.jsontext import objects_in

LIMIT = 4


def limit_marks(body: dict[str, Any]) -> bool:
    """Take marks out of a body that was just written until there are no more than allowed: the last ones stay, as they
    cover the most. Tell whether any was taken out."""
    marked = list(_marked(body))
    allowed = LIMIT - (1 if "cache_control" in body else 0)
    surplus = marked[: max(0, len(marked) - allowed)]
    for block in surplus:
        del block["cache_control"]
    _order(marked[len(surplus) :])
    return bool(surplus)


def _order(marked: list[dict[str, Any]]) -> None:
    """Behind a mark of five minutes all are such."""
    is_short = False
    for block in marked:
        is_short = is_short or block["cache_control"].get("ttl", "5m") == "5m"
        if is_short:
            block["cache_control"] = {"type": "ephemeral"}


def _marked(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from _own(body.get("tools"))
    yield from _own(body.get("system"))
    for turn in body["messages"]:
        for block in objects_in(turn["content"]):
            if block["type"] == "tool_result":
                yield from _own(block.get("content"))
            yield from _own([block])


def _own(blocks: object) -> Iterator[dict[str, Any]]:
    return (block for block in objects_in(blocks) if isinstance(block.get("cache_control"), dict))
