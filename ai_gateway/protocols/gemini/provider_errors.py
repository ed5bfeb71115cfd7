"""Reading Google's errors.

They are `{"error": {"code", "message", "status", "details": [...]}}`, sometimes inside a list; what stands between the
gateway and Google may answer anything else. Source: "Errors" of the Gemini API's documentation, google/rpc/status.proto
and google/rpc/error_details.proto.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from ai_gateway.errors import Kind, ProviderError
from ai_gateway.protocols.jsontext import loads

STATUSES = {
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

KINDS: dict[int, tuple[Kind, str | None]] = {
    401: (Kind.AUTHENTICATION, "invalid_api_key"),
    403: (Kind.PERMISSION, "permission_denied"),
    404: (Kind.NOT_FOUND, "model_not_found"),
    408: (Kind.TIMEOUT, "upstream_timeout"),
    413: (Kind.TOO_LARGE, "request_too_large"),
    429: (Kind.RATE_LIMIT, "rate_limit_exceeded"),
    503: (Kind.OVERLOADED, "server_is_overloaded"),
    504: (Kind.TIMEOUT, "upstream_timeout"),
    529: (Kind.OVERLOADED, "server_is_overloaded"),
}
"""The class of an error and OpenAI's code for it, by status. Other statuses of 4xx are a bad request."""

CODES_BY_WORDS = (
    ("exceeds the maximum number of tokens", "context_length_exceeded"),
    ("User location is not supported", "unsupported_country_region_territory"),
)
"""What only the message of a bad request tells."""

BAD_KEYS = frozenset(("API_KEY_INVALID", "API_KEY_EXPIRED"))
"""Reasons by which Google says with status 400 that the key is no good."""

_SECRETS = re.compile(
    r"AIza[\w-]{10,}|AQ\.[\w-]{10,}|ya29\.[\w.-]+|sk-[\w-]{6,}|api_key:[\w.-]+|([?&]key=)[^&\s\"']+|Bearer [\w.~+/-]+=*"
)
_MARKUP = re.compile(r"<\s*(!doctype|html|head|body|title)", re.IGNORECASE)


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """Read an error answer, whatever its body is."""
    try:
        value = loads(body)
    except (ValueError, RecursionError):
        value = None
    return made_error(status, value, _retry_after(headers))


def made_error(status: int, value: object, retry_after: int | None = None) -> ProviderError:
    """Make the error of a body that has been read. `status` may be a success where the error came inside an answer."""
    error = _error_of(value)
    details = [detail for detail in _list(error.get("details")) if isinstance(detail, dict)]
    status = _status(status, error)
    if any(str(detail.get("reason")) in BAD_KEYS for detail in details):
        status = 401
    message = _message(status, error)
    kind, code = _kind(status, message)
    if kind is Kind.RATE_LIMIT and any("PerDay" in quota for quota in _quotas(details)):
        return ProviderError(message, status=status, kind=Kind.QUOTA, code="insufficient_quota", retryable=False)
    delay = retry_after if retry_after is not None else _retry_delay(details)
    return ProviderError(message, status=status, kind=kind, code=code, retry_after=delay)


def _error_of(value: object) -> dict[str, Any]:
    """Find the object that describes the error: in a list, below `error`, or the body itself."""
    if isinstance(value, list):
        value = value[0] if value else None
    if not isinstance(value, dict):
        return {"message": value} if isinstance(value, str) else {}
    error = value.get("error")
    if isinstance(error, dict):
        return error
    return {"message": error} if isinstance(error, str) else value


def _status(status: int, error: dict[str, Any]) -> int:
    if status < 400:
        code, name = error.get("code"), error.get("status")
        if isinstance(code, int) and 400 <= code <= 599:
            status = code
        else:
            status = STATUSES.get(name, 502) if isinstance(name, str) else 502
    return 502 if status == 499 else status


def _kind(status: int, message: str) -> tuple[Kind, str | None]:
    if status in KINDS:
        return KINDS[status]
    if status >= 500:
        return Kind.UPSTREAM, "upstream_error"
    return Kind.BAD_REQUEST, next((code for words, code in CODES_BY_WORDS if words in message), None)


def _message(status: int, error: dict[str, Any]) -> str:
    """Give the provider's words, without keys. What is no text, or is a page for a browser, is not passed on."""
    for name in ("message", "detail"):
        text = error.get(name)
        if isinstance(text, str) and text.strip() and not _MARKUP.search(text):
            return _SECRETS.sub(lambda found: f"{found[1] or ''}[redacted]", text.strip())
    return f"The provider answered with status {status}."


def _quotas(details: list[dict[str, Any]]) -> Iterator[str]:
    """Give the names of the quotas that were exceeded."""
    for detail in details:
        for violation in _list(detail.get("violations")):
            quota = violation.get("quotaId") if isinstance(violation, dict) else None
            if isinstance(quota, str):
                yield quota


def _retry_delay(details: list[dict[str, Any]]) -> int | None:
    """Read a `RetryInfo`, whose delay is written like `34.4s`, in whole seconds."""
    delays = (detail.get("retryDelay") for detail in details)
    return next((_seconds(delay[:-1]) for delay in delays if isinstance(delay, str) and delay.endswith("s")), None)


def _retry_after(headers: Mapping[bytes, bytes]) -> int | None:
    milliseconds = headers.get(b"retry-after-ms")
    if milliseconds is not None:
        return _seconds(milliseconds.decode("latin-1"), per_second=1000)
    seconds = headers.get(b"retry-after")
    return _seconds(seconds.decode("latin-1")) if seconds is not None else None


def _seconds(text: str, per_second: int = 1) -> int | None:
    """Read a time in whole seconds, rounded up. None for what is no such number (a date)."""
    try:
        seconds = float(text) / per_second
    except ValueError:
        return None
    return math.ceil(seconds) if 0 <= seconds < 10**9 else None


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
