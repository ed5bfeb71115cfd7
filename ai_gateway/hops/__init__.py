"""The ways in which a call reaches a provider: as it is, or translated. `plan` chooses one for an attempt."""

from __future__ import annotations

from ai_gateway.hops.base import Attempt, Hop
from ai_gateway.hops.counting import Counting, counter_of, has_counter
from ai_gateway.hops.embedding import Embedding, is_needed
from ai_gateway.hops.generation import Generation
from ai_gateway.hops.native import Native
from ai_gateway.hops.split import needs_responses
from ai_gateway.protocols import PROTOCOLS


def plan(attempt: Attempt) -> Hop:
    """Choose the way. Raises BadRequest for a call that cannot be translated.

    A provider that speaks the caller's format gets the caller's bytes. The one exception is OpenAI's own split: models
    that refuse function tools with reasoning in chat completions are reached through Responses.
    """
    call, provider = attempt.call, attempt.provider
    if call.method != "POST" or not isinstance(call.body, bytes):
        return Native(attempt)
    if not call.dialect.is_generation:
        return _other(attempt)
    capabilities = attempt.capabilities
    spoken = call.dialect.name
    if spoken in (capabilities.formats or provider.dialects):
        is_split = spoken == "openai_chat" and capabilities.tools_need_responses and needs_responses(attempt)
        return Generation(attempt, "openai_responses") if is_split else Native(attempt)
    formats = capabilities.formats or provider.formats
    format = next((name for name in formats if name in PROTOCOLS), None)
    return Native(attempt) if format is None else Generation(attempt, format)


def _other(attempt: Attempt) -> Hop:
    """Choose the way of a call that is for no text."""
    counter = counter_of(attempt.call.path)
    if counter is not None and not has_counter(attempt, counter):
        return Counting(attempt, counter)
    return Embedding(attempt) if is_needed(attempt) else Native(attempt)


__all__ = ["Attempt", "Hop", "plan"]
