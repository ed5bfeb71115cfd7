"""Citations: in a `citationsContent` block of a whole answer, or as a `citation` delta in a stream.

Source: the shapes `Citation`, `CitationsDelta` and `CitationLocation` of the service model.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.bedrock_converse.words import NAME
from ai_gateway.protocols.conversation import Citation


def read_citation(value: Any) -> Citation | None:
    """Read a citation; None for what is none. What is no web page is kept as it was written, too."""
    if not isinstance(value, dict):
        return None
    location = value.get("location")
    web = location.get("web") if isinstance(location, dict) else None
    url = _text(web.get("url")) if isinstance(web, dict) else ""
    return Citation(
        url=url,
        title=_text(value.get("title")),
        cited_text=joined_text(value.get("sourceContent")),
        format="" if url else NAME,
        verbatim=None if url else value,
    )


def read_citations(value: Any) -> list[Citation]:
    """Read a list of citations; what is none is skipped."""
    entries = value if isinstance(value, list) else ()
    return [citation for each in entries if (citation := read_citation(each)) is not None]


def write_citation(citation: Citation) -> dict[str, Any] | None:
    """Write a citation; None for one that only another format knows."""
    if citation.verbatim is not None and citation.format == NAME:
        return citation.verbatim
    if not citation.url:
        return None
    written: dict[str, Any] = {"title": citation.title} if citation.title else {}
    if citation.cited_text:
        written["sourceContent"] = [{"text": citation.cited_text}]
    return written | {"location": {"web": {"url": citation.url}}}


def joined_text(blocks: Any) -> str:
    """Join the texts of a list of blocks `{"text"}`."""
    pieces = blocks if isinstance(blocks, list) else ()
    return "".join(_text(piece.get("text")) for piece in pieces if isinstance(piece, dict))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
