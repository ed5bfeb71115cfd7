"""What Google's answers tell while they pass. Every event of a stream has a running count; the last one counts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec.structs import asdict

from ai_gateway.protocols.gemini.usage import read_queries, read_tier, read_usage, units_of
from ai_gateway.protocols.jsontext import dumps_text
from ai_gateway.protocols.passing import Passing, believed, decoded


class _Part(msgspec.Struct):
    text: str | None = None
    thought: bool | None = None
    functionCall: Any = None
    executableCode: Any = None


class _Content(msgspec.Struct):
    parts: list[_Part] | None = None


class _Candidate(msgspec.Struct):
    content: _Content | None = None
    finishReason: str | None = None


class _Head(msgspec.Struct):
    """What an answer tells of itself."""

    responseId: Any = None
    modelVersion: Any = None
    usageMetadata: Any = None


class _Chunk(_Head):
    candidates: list[_Candidate] | None = None


class _Grounded(msgspec.Struct):
    groundingMetadata: Any = None


class _Searched(_Head):
    """What an answer tells of searches. The lists stand beside the candidates in what is kept of a long answer."""

    candidates: list[_Grounded] | None = None
    webSearchQueries: Any = None
    imageSearchQueries: Any = None


_searched = msgspec.json.Decoder(_Searched)
_searches = msgspec.json.Decoder(list[_Searched])
_head = msgspec.json.Decoder(_Head)
_heads = msgspec.json.Decoder(list[_Head])
_chunk = msgspec.json.Decoder(_Chunk)
_chunks = msgspec.json.Decoder(list[_Chunk])


class GeminiPassing(Passing):
    """Reads one answer."""

    __slots__ = ("queries",)

    marker = b'"usageMetadata"'
    apart = listed = b'SearchQueries"'

    def __init__(self) -> None:
        super().__init__()
        self.queries: set[tuple[str, str]] = set()

    def event(self, data: bytes) -> None:
        """See Passing.event()."""
        chunk = decoded(_chunk, data)
        if chunk is not None:
            self._candidates(chunk)
            self._head(chunk, is_last=all(each.finishReason for each in chunk.candidates or ()))
            if self.apart in data:
                self._search(_listed(decoded(_searched, data)))

    def answer(self, body: bytes) -> None:
        """See Passing.answer(). A stream for a caller that did not ask for events is a list of answers."""
        is_list = body.lstrip()[:1] == b"["
        heads = decoded(_heads, body) if is_list else _listed(decoded(_head, body))
        for head in heads or ():
            self._head(head, is_last=True)
        if self.apart in body:
            answers = decoded(_searches, body) if is_list else _listed(decoded(_searched, body))
            self._search(answers or ())
        if self.usage is None:
            chunks = decoded(_chunks, body) if is_list else _listed(decoded(_chunk, body))
            for chunk in chunks or ():
                self._candidates(chunk)

    def _head(self, head: _Head, *, is_last: bool) -> None:
        metadata = head.usageMetadata
        self.name(head.responseId, head.modelVersion)
        if isinstance(metadata, dict):
            usage = believed(read_usage(metadata))
            self.tier = read_tier(metadata) or self.tier
            if usage is not None:
                self.usage, self.is_final = usage, is_last

    def _search(self, answers: Iterable[_Searched]) -> None:
        """Note what was searched for, as it is billed."""
        for answer in answers:
            for grounding in (*(each.groundingMetadata for each in answer.candidates or ()), asdict(answer)):
                self.queries |= read_queries(grounding)
        self.units = units_of(self.queries, self.model)

    def _candidates(self, chunk: _Chunk) -> None:
        for candidate in chunk.candidates or ():
            for part in (candidate.content.parts if candidate.content is not None else None) or ():
                self._part(part)

    def _part(self, part: _Part) -> None:
        written = part.functionCall or part.executableCode
        if written:
            self.add_text(dumps_text(written))
        elif part.text and part.thought:
            self.add_reasoning(part.text)
        elif part.text:
            self.add_text(part.text)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else [value]
