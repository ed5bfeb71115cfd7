"""The ways in which a call reaches a provider: as it is, or translated. `plan` chooses one for an attempt. `Upgrade` is
the way of websockets, which are told by the door that they come through."""

from __future__ import annotations

from ai_gateway.errors import Unsupported
from ai_gateway.hops.base import Attempt, Hop
from ai_gateway.hops.continuing import CHAT_ONLY, Continuing
from ai_gateway.hops.counting import Counting, counter_of, has_counter
from ai_gateway.hops.embedding import Embedding, is_needed
from ai_gateway.hops.generation import Generation
from ai_gateway.hops.native import Native
from ai_gateway.hops.rewriting import Rewriting
from ai_gateway.hops.split import needs_responses
from ai_gateway.hops.upgrade import Upgrade, check_request
from ai_gateway.protocols import PROTOCOLS
from ai_gateway.protocols.capabilities import Capabilities
from ai_gateway.protocols.splicing import Splice


def plan(attempt: Attempt) -> Hop:
    """Choose the way. Raises BadRequest for a call that cannot be translated.

    A provider that speaks the caller's format gets the caller's bytes. The one exception is OpenAI's own split: models
    that refuse function tools with reasoning in chat completions are reached through Responses.
    """
    call = attempt.call
    if call.method != "POST" or not isinstance(call.body, bytes):
        check_request(attempt)
        return Native(attempt)
    if not call.dialect.is_generation:
        return _other(attempt)
    capabilities = attempt.capabilities
    if is_spoken(attempt, capabilities):
        may_split = call.dialect.name == "openai_chat" and capabilities.tools_need_responses
        if may_split and needs_responses(attempt):
            return Generation(attempt, "openai_responses")
        return Rewriting(attempt) if call.stream and attempt.meter.continues_streams else Native(attempt)
    format = _best_format(attempt)
    return Native(attempt) if format is None else Generation(attempt, format)


def plan_rest(attempt: Attempt, splice: Splice) -> Hop:
    """Choose the way of a call for the rest of an answer. Raises Unsupported if there is none."""
    capabilities = attempt.capabilities
    if capabilities.prefill in CHAT_ONLY:
        return Continuing(attempt, "openai_chat", splice)
    format = attempt.call.dialect.name if is_spoken(attempt, capabilities) else _best_format(attempt)
    if format is None:
        raise Unsupported("This provider cannot go on with an answer.")
    return Continuing(attempt, format, splice)


def is_spoken(attempt: Attempt, capabilities: Capabilities) -> bool:
    """Whether the attempt's provider, for a model with these capabilities, speaks the caller's format."""
    return attempt.call.dialect.name in (capabilities.formats or attempt.provider.dialects)


def _best_format(attempt: Attempt) -> str | None:
    formats = attempt.capabilities.formats or attempt.provider.formats
    return next((name for name in formats if name in PROTOCOLS), None)


def _other(attempt: Attempt) -> Hop:
    """Choose the way of a call that is for no text."""
    check_request(attempt)
    counter = counter_of(attempt.call.path)
    if counter is not None and not has_counter(attempt, counter):
        return Counting(attempt, counter)
    return Embedding(attempt) if is_needed(attempt) else Native(attempt)


__all__ = ["Attempt", "Hop", "Upgrade", "plan", "plan_rest"]
