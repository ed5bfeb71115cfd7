"""Whole answers: `GenerateContentResponse`, read and written."""

from __future__ import annotations

from typing import Any

from ai_gateway.errors import UpstreamProtocolError
from ai_gateway.protocols.carrier import Carrier
from ai_gateway.protocols.conversation import Answer, Part, Refusal, Request, Text
from ai_gateway.protocols.gemini.grounding import CitedText, write_grounding
from ai_gateway.protocols.gemini.logprobs import write_logprobs
from ai_gateway.protocols.gemini.parts_writer import PartDict, PartsWriter
from ai_gateway.protocols.gemini.stops import last_candidate
from ai_gateway.protocols.gemini.stream_reader import GeminiReader
from ai_gateway.protocols.gemini.usage import write_metadata
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.transcript import Collector, replay


def read_answer(body: dict[str, Any]) -> Answer:
    """Read an answer: it is a stream of one chunk, whose end the HTTP answer proves.

    Raises ProviderError if the body is an error or the model broke off without an answer, UpstreamProtocolError if it
    is no answer.
    """
    reader, collector = GeminiReader(), Collector()
    collector.add(reader.take(body))
    if not body.get("candidates") and "promptFeedback" not in body:
        raise UpstreamProtocolError("The provider's answer has no candidates.")
    collector.add(reader.finish())
    return collector.answer()


def refuses_prompt(data: bytes) -> bool:
    """Whether an answer says that the prompt was blocked, and nothing else."""
    if b"block" not in data:
        return False
    try:
        body = loads(data)
    except (ValueError, RecursionError):
        return False
    body = body[0] if isinstance(body, list) and body else body
    feedback = body.get("promptFeedback") if isinstance(body, dict) else None
    return isinstance(feedback, dict) and bool(feedback.get("blockReason")) and not body.get("candidates")


def write_answer(answer: Answer, request: Request, carrier: Carrier) -> dict[str, Any]:
    """Write an answer with one candidate."""
    writer = PartsWriter(request, carrier)
    written = [part for event in replay(answer) for part in writer.write(event)]
    written += writer.held(answer.stop)
    parts = signed(written)
    rest = writer.rest()
    if not parts or "thoughtSignature" in rest:
        parts.append(rest)
    candidate = last_candidate(parts, answer.stop, answer.explanation)
    grounding = write_grounding(_cited(answer.parts, parts))
    if grounding:
        candidate["groundingMetadata"] = grounding
    logprobs = [entry for part in answer.parts if isinstance(part, Text) for entry in part.logprobs or ()]
    if logprobs:
        candidate["logprobsResult"] = write_logprobs(logprobs)
    return {
        "candidates": [candidate],
        **write_metadata(answer.usage),
        "modelVersion": answer.model or request.model,
        "responseId": answer.id,
    }


def signed(parts: list[PartDict]) -> list[PartDict]:
    """Put signatures that follow a text in a part of their own into the part of the text, where Google has them."""
    whole: list[PartDict] = []
    for part in parts:
        before = whole[-1] if whole else {}
        is_signature = part.get("text") == "" and "thoughtSignature" in part
        is_same = before.get("text") and before.get("thought") == part.get("thought")
        if is_signature and is_same and "thoughtSignature" not in before:
            whole[-1] = {**before, "thoughtSignature": part["thoughtSignature"]}
        else:
            whole.append(part)
    return whole


def _cited(parts: list[Part], written: list[PartDict]) -> list[CitedText]:
    """Give the texts with the indexes of their parts, from which their citations count."""
    texts = [part for part in parts if isinstance(part, Text | Refusal) and part.text]
    places = [place for place, part in enumerate(written) if part.get("text") and not part.get("thought")]
    return [
        CitedText(place, 0, text.text, text.citations)
        for place, text in zip(places, texts, strict=True)
        if isinstance(text, Text)
    ]
