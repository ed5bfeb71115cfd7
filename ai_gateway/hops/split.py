"""OpenAI's split: which chat calls a model serves only through Responses.

Chat completions answer 400 "Function tools with reasoning_effort are not supported for X in /v1/chat/completions. To
use function tools, use /v1/responses or set reasoning_effort to 'none'.", even if the effort is only the default.
"""

from __future__ import annotations

import msgspec

from ai_gateway.hops.base import Attempt


class _Asked(msgspec.Struct):
    tools: list[msgspec.Raw] | None = None
    functions: list[msgspec.Raw] | None = None
    reasoning_effort: str | None = None


_asked = msgspec.json.Decoder(_Asked)


def needs_responses(attempt: Attempt) -> bool:
    """Whether a chat call has function tools and the model would reason, so that chat completions would refuse it."""
    provider, body = attempt.provider, attempt.call.body
    if "openai_responses" not in provider.dialects or not isinstance(body, bytes):
        return False
    try:
        asked = _asked.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False  # The provider will say what is wrong with it.
    if not asked.tools and not asked.functions:
        return False
    if asked.reasoning_effort is None:
        return attempt.capabilities.reasons_by_default
    return asked.reasoning_effort != "none"
