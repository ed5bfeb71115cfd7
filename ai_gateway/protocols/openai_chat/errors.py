"""Reading the errors of a provider: as the body of an answer, as a chunk of a stream, or as an answer with status 200.

What stands in it is OpenAI's, if the provider is like OpenAI: a number as the code is OpenRouter's, and `type` and
`code` may be anything. How an error is written for a caller is in `openai_errors.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ai_gateway.errors import Kind, ProviderError
from ai_gateway.protocols.openai_errors import status_of_error
from ai_gateway.protocols.provider_errors import (
    MAX_MESSAGE,
    REFUSED_CREDENTIAL,
    code_of_words,
    decoded,
    error_members,
    kind_of,
    lacks_money,
    message_of,
    retry_after,
    shown,
    without_secrets,
)

CODES = {
    Kind.AUTHENTICATION: "invalid_api_key",
    Kind.QUOTA: "insufficient_quota",
    Kind.RATE_LIMIT: "rate_limit_exceeded",
    Kind.TOO_LARGE: "request_too_large",
    Kind.OVERLOADED: "server_is_overloaded",
}
"""OpenAI's code for a kind of error, where the provider names none."""

CODE = re.compile(r"[a-z][a-z0-9_]*")
"""What may be a code of OpenAI's: xAI writes a sentence there, others a number."""

OVERLOAD = re.compile(r"overloaded|unavailable", re.I)


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """Read an error answer, whatever its body is."""
    return error_of(decoded(body), status, headers)


def error_of(value: Any, status: int | None = None, headers: Mapping[bytes, bytes] | None = None) -> ProviderError:
    """Make the error of what a provider wrote as one. `status` is None in a stream: the error must tell it itself."""
    error = error_members(value)
    message = message_of(error)
    known = status if status is not None and status >= 400 else _told_status(value, error)
    words = f"{error.get('type')} {error.get('code')} {message}"
    kind = _kind(known, words)
    return ProviderError(
        REFUSED_CREDENTIAL if kind is Kind.AUTHENTICATION else shown(message, known),
        status=known,
        kind=kind,
        code=_code(error, kind, words),
        param=error["param"] if isinstance(error.get("param"), str) else None,
        retry_after=retry_after(headers or {}, error),
        retryable=False if kind is Kind.QUOTA else None,
        detail=without_secrets(message)[:MAX_MESSAGE] or None,
    )


def _told_status(value: Any, error: dict[str, Any]) -> int:
    """Tell the status that an error itself speaks of: an error that is a mere string has only its words."""
    inner = value.get("error") if isinstance(value, dict) else value
    return status_of_error(inner if isinstance(inner, str) and inner else error)


def _kind(status: int, words: str) -> Kind:
    if status in (400, 402, 403, 429) and lacks_money(words):
        return Kind.QUOTA
    if status >= 500 and OVERLOAD.search(words):
        return Kind.OVERLOADED
    return kind_of(status)


def _code(error: dict[str, Any], kind: Kind, words: str) -> str | None:
    """Give OpenAI's code: the provider's own if it is in words, else that of the kind."""
    if kind in (Kind.BAD_REQUEST, Kind.TOO_LARGE):
        told = code_of_words(words)
        if told is not None:
            return told
    code = error.get("code")
    return code if isinstance(code, str) and CODE.fullmatch(code) else CODES.get(kind)
