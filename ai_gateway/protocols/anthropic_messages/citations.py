"""Citations of text blocks.

Source: "Citations" and "Web search tool" of Anthropic's documentation.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.carrier import Carrier, is_carrier
from ai_gateway.protocols.conversation import Citation, State

FORMAT = "anthropic_messages"
WEB = "web_search_result_location"
FOREIGN = State(format="", kind="foreign", value="")
"""Sealed where Anthropic would have put a state of its own: it marks what is not Anthropic's, and must not reach it."""


def read_citation(value: dict[str, Any], start: int | None = None, end: int | None = None) -> Citation:
    """Read a citation of the text between `start` and `end`."""
    if value.get("type") == WEB:
        return Citation(
            url=_text(value, "url"),
            title=_text(value, "title"),
            cited_text=_text(value, "cited_text"),
            start=start,
            end=end,
        )
    return Citation(
        title=_text(value, "document_title") or _text(value, "title"),
        cited_text=_text(value, "cited_text"),
        start=start,
        end=end,
        format=FORMAT,
        verbatim=value,
    )


def _text(value: dict[str, Any], name: str) -> str:
    text = value.get(name)
    return text if isinstance(text, str) else ""


def write_citation(citation: Citation, carrier: Carrier) -> dict[str, Any] | None:
    """Write a citation; None for one of another format that is no web page.

    Anthropic puts a state of its own into `encrypted_index` and wants it back. A citation of another provider has a
    carrier there, by which it is known and taken out should the text ever be sent to Anthropic.
    """
    if citation.verbatim is not None:
        return citation.verbatim if citation.format == FORMAT else None
    if not citation.url:
        return None
    return {
        "type": WEB,
        "url": citation.url,
        "title": citation.title or None,
        "cited_text": citation.cited_text,
        "encrypted_index": carrier.seal(FOREIGN),
    }


def is_foreign(value: object) -> bool:
    """Whether a citation in a caller's body is one of those that this gateway made."""
    index = value.get("encrypted_index") if isinstance(value, dict) else None
    return isinstance(index, str) and is_carrier(index)
