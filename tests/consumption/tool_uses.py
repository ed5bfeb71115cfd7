"""Items of OpenAI's that tell what its tool for searching the web did, in the shapes of its reference."""

from __future__ import annotations

from typing import Any


def used(action: dict[str, Any], number: int = 1) -> dict[str, Any]:
    """One use of the tool."""
    return {"id": f"ws_{number:050x}", "type": "web_search_call", "status": "completed", "action": action}


SEARCHED = used(
    {
        "type": "search",
        "queries": ["who won", "who won the final"],
        "query": "who won",
        "sources": [{"type": "url", "url": f"https://example.com/{number}"} for number in range(3)],
    }
)
OPENED = used({"type": "open_page", "url": "https://example.com/1"}, 2)
FOUND = used({"type": "find_in_page", "pattern": "final", "url": "https://example.com/1"}, 3)
