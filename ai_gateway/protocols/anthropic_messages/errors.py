"""Reading the errors of a provider: as the body of an answer, as an event of a stream, or as an answer with status 200.

How an error is written for a caller is in `anthropic_errors.py`. Source: "Errors" of Anthropic's API documentation; the
codes in `details` as its SDK's types list them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ai_gateway.errors import Kind, ProviderError
from ai_gateway.protocols.anthropic_errors import STATUSES
from ai_gateway.protocols.provider_errors import (
    REFUSED_CREDENTIAL,
    code_of_words,
    decoded,
    error_members,
    lacks_money,
    message_of,
    retry_after,
    shown,
)


class _Class(NamedTuple):
    """A class of failure: the status, kind and code (OpenAI's words) that it is told with."""

    status: int
    kind: Kind
    code: str | None


UPSTREAM = _Class(502, Kind.UPSTREAM, "upstream_error")
QUOTA = _Class(429, Kind.QUOTA, "insufficient_quota")
TOO_LONG = _Class(400, Kind.BAD_REQUEST, "context_length_exceeded")

CLASSES = {
    "invalid_request_error": _Class(400, Kind.BAD_REQUEST, None),
    "authentication_error": _Class(401, Kind.AUTHENTICATION, "invalid_api_key"),
    "billing_error": QUOTA,
    "permission_error": _Class(403, Kind.PERMISSION, "permission_denied"),
    "not_found_error": _Class(404, Kind.NOT_FOUND, "not_found"),
    "conflict_error": _Class(409, Kind.BAD_REQUEST, None),
    "request_too_large": _Class(413, Kind.TOO_LARGE, "request_too_large"),
    "rate_limit_error": _Class(429, Kind.RATE_LIMIT, "rate_limit_exceeded"),
    "api_error": UPSTREAM,
    "timeout_error": _Class(504, Kind.TIMEOUT, "upstream_timeout"),
    "overloaded_error": _Class(503, Kind.OVERLOADED, "server_is_overloaded"),
}
"""By the type of the error."""

TYPES_BY_STATUS = {status: kind for kind, status in STATUSES.items()} | {408: "timeout_error", 503: "overloaded_error"}
"""What type an answer without a known one has by its status."""

SPENT = frozenset(("enforced_spend_limit_reached", "contract_spend_limit_reached", "ramp_limit_exceeded"))
"""Codes in `details` of a rate_limit_error that no waiting helps against."""


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """Read an error answer, whatever its body is."""
    return _error(decoded(body), status, headers)


def read_error_event(content: object) -> ProviderError:
    """Read the `error` event of a stream, or an answer with status 200 that is an error."""
    return _error(content, None, {})


def is_error(content: dict[str, Any]) -> bool:
    """Whether a body is an error, whatever its status says."""
    return content.get("type") == "error" or ("content" not in content and bool(content.get("error")))


def _error(content: object, status: int | None, headers: Mapping[bytes, bytes]) -> ProviderError:
    error = error_members(content)
    kind = error.get("type")
    if not isinstance(kind, str) or kind not in CLASSES:
        kind = TYPES_BY_STATUS.get(status or 0) or _type_by_range(status)
    message = message_of(error)
    found = _special(kind, message, error) or CLASSES[kind]
    return ProviderError(
        REFUSED_CREDENTIAL if found.kind is Kind.AUTHENTICATION else shown(message, status),
        status=found.status,
        kind=found.kind,
        code=found.code,
        retry_after=retry_after(headers, error),
        retryable=False if found.kind is Kind.QUOTA else _should_retry(headers),
    )


def _type_by_range(status: int | None) -> str:
    return "invalid_request_error" if status is not None and 400 <= status < 500 else "api_error"


def _special(kind: str, message: str, members: dict[str, Any]) -> _Class | None:
    """Tell the class of an error whose type alone does not say it."""
    details = members.get("details")
    if kind == "rate_limit_error" and isinstance(details, dict) and str(details.get("error_code")) in SPENT:
        return QUOTA
    if kind == "invalid_request_error" and lacks_money(message):
        return QUOTA
    if kind == "invalid_request_error" and code_of_words(message) == TOO_LONG.code:
        return TOO_LONG
    if kind == "not_found_error" and message.startswith("model"):
        return CLASSES[kind]._replace(code="model_not_found")
    return None


def _should_retry(headers: Mapping[bytes, bytes]) -> bool | None:
    return {b"true": True, b"false": False}.get(headers.get(b"x-should-retry", b"").strip().lower())
