"""Annotations of an output text, and the neutral citations.

Source: `annotations` of `output_text` in OpenAI's API reference for Responses.
"""

from __future__ import annotations

from typing import Any

from ai_gateway.protocols.conversation import Citation

FORMAT = "openai_responses"


def read_citations(annotations: Any) -> list[Citation]:
    """Read the annotations of a text; what is none is skipped."""
    if not isinstance(annotations, list):
        return []
    return [read_citation(annotation) for annotation in annotations if isinstance(annotation, dict)]


def read_citation(annotation: dict[str, Any]) -> Citation:
    """Read one annotation. Only that of a web page can be said in other formats; the others stay as they are."""
    if annotation.get("type") == "url_citation":
        return Citation(
            url=str(annotation.get("url") or ""),
            title=str(annotation.get("title") or ""),
            start=_index(annotation, "start_index"),
            end=_index(annotation, "end_index"),
        )
    return Citation(title=str(annotation.get("filename") or ""), format=FORMAT, verbatim=annotation)


def _index(annotation: dict[str, Any], name: str) -> int | None:
    value = annotation.get(name)
    return value if isinstance(value, int) else None


def write_citation(citation: Citation, start: int, end: int) -> dict[str, Any] | None:
    """Write an annotation of a text that stands from `start` to `end` in its part: that is what the citation covers if
    it does not say. None for what is no web page and of another format."""
    if citation.verbatim is not None and citation.format == FORMAT:
        return citation.verbatim
    if not citation.url:
        return None
    return {
        "type": "url_citation",
        "start_index": start if citation.start is None else start + citation.start,
        "end_index": end if citation.end is None else start + citation.end,
        "url": citation.url,
        "title": citation.title,
    }
