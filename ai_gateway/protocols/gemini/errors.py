"""Google's errors: reading a provider's, and writing the gateway's as Google writes its own.

They are `{"error": {"code", "message", "status", "details": [...]}}`, sometimes inside a list; what stands between the
gateway and Google may answer anything else. Source: "Errors" of the Gemini API's documentation, google/rpc/status.proto
and google/rpc/error_details.proto.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ai_gateway.errors import GatewayError, Kind, ProviderError
from ai_gateway.protocols.jsontext import dumps, loads
from ai_gateway.protocols.provider_errors import (
    CODES,
    code_of_words,
    decoded,
    error_members,
    kind_of,
    message_of,
    retry_after,
    shown,
)

STATUSES_BY_NAME = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ABORTED": 409,
    "ALREADY_EXISTS": 409,
    "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "DATA_LOSS": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}
"""The HTTP status of each google.rpc.Code, for errors that come without one."""

STATUSES = {
    Kind.BAD_REQUEST: "INVALID_ARGUMENT",
    Kind.AUTHENTICATION: "UNAUTHENTICATED",
    Kind.PERMISSION: "PERMISSION_DENIED",
    Kind.NOT_FOUND: "NOT_FOUND",
    Kind.TOO_LARGE: "INVALID_ARGUMENT",
    Kind.QUOTA: "RESOURCE_EXHAUSTED",
    Kind.RATE_LIMIT: "RESOURCE_EXHAUSTED",
    Kind.TIMEOUT: "DEADLINE_EXCEEDED",
    Kind.OVERLOADED: "UNAVAILABLE",
    Kind.UPSTREAM: "INTERNAL",
    Kind.INTERNAL: "INTERNAL",
    Kind.CANCELLED: "CANCELLED",
}
"""What Google calls the classes of errors."""

WRONG_PLACE = ("User location is not supported", "unsupported_country_region_territory")
"""What only the message of a bad request tells: words, and OpenAI's code."""

BAD_KEYS = frozenset(("API_KEY_INVALID", "API_KEY_EXPIRED"))
"""Reasons by which Google says with status 400 that the key is no good."""


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """Read an error answer, whatever its body is."""
    return made_error(status, decoded(body), headers)


def made_error(status: int, value: object, headers: Mapping[bytes, bytes] | None = None) -> ProviderError:
    """Make the error of a body that has been read. `status` may be a success where the error came inside an answer."""
    error = error_members(value)
    details = [detail for detail in _list(error.get("details")) if isinstance(detail, dict)]
    status = _status(status, error)
    if any(str(detail.get("reason")) in BAD_KEYS for detail in details):
        status = 401
    words = message_of(error)
    message, kind = shown(words, status), kind_of(status)
    if kind is Kind.RATE_LIMIT and any("PerDay" in quota for quota in _quotas(details)):
        return ProviderError(message, status=status, kind=Kind.QUOTA, code=CODES[Kind.QUOTA], retryable=False)
    delay = retry_after(headers or {}, error)
    return ProviderError(message, status=status, kind=kind, code=_code(kind, words), retry_after=delay)


def _status(status: int, error: dict[str, Any]) -> int:
    if status < 400:
        code, name = error.get("code"), error.get("status")
        if isinstance(code, int) and 400 <= code <= 599:
            status = code
        else:
            status = STATUSES_BY_NAME.get(name, 502) if isinstance(name, str) else 502
    return 502 if status == 499 else status


def _code(kind: Kind, words: str) -> str | None:
    if kind is not Kind.BAD_REQUEST:
        return CODES.get(kind)
    return WRONG_PLACE[1] if WRONG_PLACE[0] in words else code_of_words(words)


def _quotas(details: list[dict[str, Any]]) -> Iterator[str]:
    """Give the names of the quotas that were exceeded."""
    for detail in details:
        for violation in _list(detail.get("violations")):
            quota = violation.get("quotaId") if isinstance(violation, dict) else None
            if isinstance(quota, str):
                yield quota


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


# Writing.


def write_error(error: GatewayError, request_id: str) -> bytes:
    """Write the body of an error answer."""
    members = {"code": error.status, "message": error.naming_message, "status": STATUSES[error.kind]}
    return dumps({"error": members})


def write_error_event(error: GatewayError, request_id: str) -> bytes:
    """Write the event that ends a broken stream. Google ends its lines with CRLF."""
    return b"data: " + write_error(error, request_id) + b"\r\n\r\n"


def status_of(data: bytes) -> int | None:
    """Read an event as an error: the HTTP status that it stands for, None if it is none. It may come inside a list."""
    if b'"error"' not in data:
        return None
    try:
        event = loads(data)
        error = (event[0] if isinstance(event, list) else event)["error"]
    except (ValueError, RecursionError, KeyError, TypeError, IndexError):
        return None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, int) and 400 <= code <= 599 else 502
