"""Where the claims of an answer come from: Google's grounding metadata, and citations.

A support names a segment of the text, in bytes of UTF-8, and the chunks that it rests on. The neutral vocabulary counts
characters. Source: `GroundingMetadata`, `Segment` and `CitationMetadata` of the Gemini API's reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ai_gateway.protocols.conversation import Citation

FORMAT = "gemini"


class Place(NamedTuple):
    """A range of characters in one of the texts of an answer, which `key` names."""

    key: int
    start: int
    end: int


class Texts:
    """The texts of an answer as bytes, for looking up where a segment is."""

    def __init__(self, texts: Mapping[int, str]) -> None:
        self._texts = {key: text.encode("utf-8", "surrogatepass") for key, text in texts.items()}

    def locate(self, segment: dict[str, Any]) -> Place | None:
        """Find a segment: where its numbers say, if its words are there, and otherwise where its words are.

        The numbers count from the start of a part, but streams cut one text into many parts and count through.
        """
        start, end = segment.get("startIndex") or 0, segment.get("endIndex") or 0
        words = segment.get("text")
        if not isinstance(start, int) or not isinstance(end, int):
            return None
        sought = words.encode("utf-8", "surrogatepass") if isinstance(words, str) and words else None
        for key, text in self._texts.items():
            if 0 <= start < end <= len(text) and (sought is None or text[start:end] == sought):
                return self._place(key, start, end)
        for key, text in self._texts.items():
            found = text.find(sought) if sought is not None else -1
            if sought is not None and found >= 0:
                return self._place(key, found, found + len(sought))
        return None

    def _place(self, key: int, start: int, end: int) -> Place:
        text = self._texts[key]
        return Place(key, _characters(text[:start]), _characters(text[:end]))


def _characters(data: bytes) -> int:
    return len(data.decode("utf-8", "replace"))


def has_citations(candidate: dict[str, Any]) -> bool:
    """Whether a candidate has any citations; `groundingMetadata` often has none."""
    grounding, sources = candidate.get("groundingMetadata"), candidate.get("citationMetadata")
    return bool(sources or (isinstance(grounding, dict) and grounding.get("groundingSupports")))


def read_citations(candidate: dict[str, Any], texts: Mapping[int, str]) -> Iterator[tuple[int, Citation]]:
    """Give the citations of a candidate, each with the key of the text that it belongs to, in the order of the text."""
    grounding, sources = candidate.get("groundingMetadata"), candidate.get("citationMetadata")
    supports = _dicts(grounding, "groundingSupports")
    recited = [*_dicts(sources, "citations"), *_dicts(sources, "citationSources")]
    if not texts or not (supports or recited):
        return
    located = Texts(texts)
    chunks = _dicts(grounding, "groundingChunks")
    for support in supports:
        segment = support.get("segment")
        place = located.locate(segment) if isinstance(segment, dict) else None
        for index in support.get("groundingChunkIndices") or ():
            if place is not None and isinstance(index, int) and 0 <= index < len(chunks):
                yield place.key, _citation(chunks[index], place)
    for source in recited:
        place = located.locate(source)
        if place is not None and source.get("uri"):
            yield place.key, _citation({"web": source}, place)


def _citation(chunk: dict[str, Any], place: Place) -> Citation:
    kind, source = next(((kind, source) for kind, source in chunk.items() if isinstance(source, dict)), ("", {}))
    is_page = kind == "web"
    return Citation(
        url=str(source.get("uri") or ""),
        title=str(source.get("title") or ""),
        cited_text="" if is_page else str(source.get("text") or ""),
        start=place.start,
        end=place.end,
        format="" if is_page else FORMAT,
        verbatim=None if is_page else chunk,
    )


def _dicts(value: object, name: str) -> list[dict[str, Any]]:
    members = value.get(name) if isinstance(value, dict) else None
    return [member for member in members if isinstance(member, dict)] if isinstance(members, list) else []


class CitedText(NamedTuple):
    """A text of an answer that is being written: the index of its part, how many bytes of text are before it in the
    part, its own text, and its citations."""

    part: int
    offset: int
    text: str
    citations: Iterable[Citation]


def write_grounding(texts: Iterable[CitedText]) -> dict[str, Any] | None:
    """Write the citations of an answer as `groundingMetadata`, None if there are none. Each source is named once."""
    chunks: list[dict[str, Any]] = []
    supports: dict[tuple[int, int, int], dict[str, Any]] = {}
    for cited in texts:
        for citation in cited.citations:
            chunk = _chunk(citation)
            if chunk not in chunks:
                chunks.append(chunk)
            segment = _segment(cited, citation)
            place = (cited.part, segment.get("startIndex", 0), segment["endIndex"])
            support = supports.setdefault(place, {"segment": segment, "groundingChunkIndices": []})
            if chunks.index(chunk) not in support["groundingChunkIndices"]:
                support["groundingChunkIndices"].append(chunks.index(chunk))
    return {"groundingChunks": chunks, "groundingSupports": [*supports.values()]} if chunks else None


def _chunk(citation: Citation) -> dict[str, Any]:
    if citation.format == FORMAT and citation.verbatim is not None:
        return citation.verbatim
    if citation.url:
        return {"web": {"uri": citation.url, "title": citation.title}}
    return {"retrievedContext": {"title": citation.title, "text": citation.cited_text}}


def _segment(cited: CitedText, citation: Citation) -> dict[str, Any]:
    """Write the range of a citation in bytes; without a range it is the whole text. What is zero is left out."""
    start, end = citation.start or 0, len(cited.text) if citation.end is None else citation.end
    claim = cited.text[start:end]
    first = cited.offset + len(cited.text[:start].encode("utf-8", "surrogatepass"))
    segment: dict[str, Any] = {"partIndex": cited.part} if cited.part else {}
    if first:
        segment["startIndex"] = first
    return {**segment, "endIndex": first + len(claim.encode("utf-8", "surrogatepass")), "text": claim}
