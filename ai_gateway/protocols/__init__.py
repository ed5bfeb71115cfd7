"""The wire formats. Each module writes one of them; this one tells which of them a request is written in."""

from __future__ import annotations

from collections.abc import Mapping

from ai_gateway.protocols import (
    anthropic,
    anthropic_messages,
    gemini,
    openai,
    openai_chat,
    openai_responses,
)
from ai_gateway.protocols.dialect import Dialect

DIALECTS = {
    module.DIALECT.name: module.DIALECT
    for module in (openai_chat, openai_responses, openai, anthropic_messages, anthropic, gemini)
}

GEMINI_METHODS = (":generateContent", ":streamGenerateContent", ":countTokens", ":embedContent", ":batchEmbedContents")
"""How Google's paths end. Its own SDK asks a custom base for them below /v1 as well as below /v1beta."""

_BY_PATH = {
    "/v1/chat/completions": openai_chat.DIALECT,
    "/v1/responses": openai_responses.DIALECT,
    "/v1/messages": anthropic_messages.DIALECT,
    "/v1/complete": anthropic.DIALECT,
}


def dialect_of(path: str, fields: Mapping[bytes, bytes]) -> Dialect:
    """Tell the format of a request by its path; on paths that several APIs share (`/v1/models`), by its headers."""
    known = _BY_PATH.get(path)
    if known is not None:
        return known
    if path.startswith("/v1/messages/"):
        return anthropic.DIALECT
    if path.startswith("/v1beta/") or path.endswith(GEMINI_METHODS):
        return gemini.DIALECT
    if b"anthropic-version" in fields or b"x-api-key" in fields:
        return anthropic.DIALECT
    return openai.DIALECT


__all__ = ["DIALECTS", "Dialect", "dialect_of"]
