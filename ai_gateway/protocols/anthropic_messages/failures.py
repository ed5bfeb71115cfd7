"""Errors of a provider that speaks Messages, read to be told in other formats.

Source: "Errors" of Anthropic's API documentation; the codes in `details` as its SDK's types list them.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from ai_gateway.errors import Kind, ProviderError
from ai_gateway.protocols.anthropic_errors import STATUSES
from ai_gateway.protocols.jsontext import loads


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

_SECRET = re.compile(r"\b(?:sk|pk|key|api)[-_][A-Za-z0-9*._-]{4,}|\bAIza[A-Za-z0-9_-]{6,}|\bBearer\s+\S+")
_MARKUP = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)
MAX_MESSAGE = 2000


def read_error(status: int, fields: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """Read an error answer. The body may be anything."""
    try:
        content = loads(body)
    except (ValueError, RecursionError):
        content = None
    if isinstance(content, list) and content:
        content = content[0]
    return _error(content, status, _retry_after(fields), _should_retry(fields))


def read_error_event(content: object) -> ProviderError:
    """Read the `error` event of a stream, or an answer with status 200 that is an error."""
    return _error(content, None, None, None)


def is_error(content: dict[str, Any]) -> bool:
    """Whether a body is an error, whatever its status says."""
    return content.get("type") == "error" or ("content" not in content and bool(content.get("error")))


def _error(content: object, status: int | None, retry_after: int | None, should_retry: bool | None) -> ProviderError:
    error = content.get("error", content) if isinstance(content, dict) else content
    members: dict[str, Any] = error if isinstance(error, dict) else {"message": error}
    kind = members.get("type")
    if not isinstance(kind, str) or kind not in CLASSES:
        kind = TYPES_BY_STATUS.get(status or 0) or _type_by_range(status)
    message = _message(members, status)
    found = _special(kind, message, members) or CLASSES[kind]
    return ProviderError(
        "The provider refused the credential." if found.kind is Kind.AUTHENTICATION else message,
        status=found.status,
        kind=found.kind,
        code=found.code,
        retry_after=retry_after,
        retryable=False if found.kind is Kind.QUOTA else should_retry,
    )


def _type_by_range(status: int | None) -> str:
    return "invalid_request_error" if status is not None and 400 <= status < 500 else "api_error"


def _special(kind: str, message: str, members: dict[str, Any]) -> _Class | None:
    """Tell the class of an error whose type alone does not say it."""
    details = members.get("details")
    if kind == "rate_limit_error" and isinstance(details, dict) and str(details.get("error_code")) in SPENT:
        return QUOTA
    if kind == "invalid_request_error" and "credit balance is too low" in message:
        return QUOTA
    if kind == "invalid_request_error" and message.startswith("prompt is too long"):
        return TOO_LONG
    if kind == "not_found_error" and message.startswith("model"):
        return CLASSES[kind]._replace(code="model_not_found")
    return None


def _message(members: dict[str, Any], status: int | None) -> str:
    """Give a message that is safe to show: text of bounded length, without anything that looks like a key."""
    message = members.get("message") or members.get("detail")
    if not isinstance(message, str) or not message.strip() or _MARKUP.match(message):
        return f"The provider answered with status {status}." if status else "The provider reported an error."
    return _SECRET.sub("[redacted]", message.strip()[:MAX_MESSAGE])


def _should_retry(fields: Mapping[bytes, bytes]) -> bool | None:
    return {b"true": True, b"false": False}.get(fields.get(b"x-should-retry", b"").strip().lower())


def _retry_after(fields: Mapping[bytes, bytes]) -> int | None:
    """Read how many seconds to wait: from `retry-after-ms`, or `retry-after` in seconds or as a date."""
    milliseconds = _number(fields.get(b"retry-after-ms"))
    if milliseconds is not None:
        return math.ceil(milliseconds / 1000)
    value = fields.get(b"retry-after")
    seconds = _number(value)
    if seconds is not None or value is None:
        return None if seconds is None else math.ceil(seconds)
    try:
        moment = email.utils.parsedate_to_datetime(value.decode("latin-1"))
    except ValueError:
        return None
    return max(0, math.ceil(moment.timestamp() - time.time()))


def _number(value: bytes | None) -> float | None:
    try:
        number = float(value or b"")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
