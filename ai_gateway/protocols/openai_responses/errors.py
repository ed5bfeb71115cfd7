"""Reading the errors of a provider that speaks Responses: as an answer, in a stream, or in a failed response.

OpenAI writes `{"error": {"message", "type", "param", "code"}}`; others a string, a list, Azure's numeric code, a bare
`message` or `detail`, or a page of HTML. What is told to a caller is a provider's own message, unless it may hold part
of a key. Source: "Error codes" of OpenAI's documentation, and errors as recorded from several providers.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from ai_gateway.errors import Kind, ProviderError
from ai_gateway.protocols.jsontext import loads
from ai_gateway.protocols.openai_errors import status_of_error

KINDS = {
    400: Kind.BAD_REQUEST,
    401: Kind.AUTHENTICATION,
    402: Kind.QUOTA,
    403: Kind.PERMISSION,
    404: Kind.NOT_FOUND,
    405: Kind.BAD_REQUEST,
    408: Kind.TIMEOUT,
    409: Kind.BAD_REQUEST,
    413: Kind.TOO_LARGE,
    422: Kind.BAD_REQUEST,
    429: Kind.RATE_LIMIT,
    503: Kind.OVERLOADED,
    504: Kind.TIMEOUT,
    529: Kind.OVERLOADED,
}
"""What a status says of the class of an error; others below 500 are the caller's fault, others above the provider's."""

QUOTA_CODES = frozenset(
    (
        "insufficient_quota",
        "credit_balance_exhausted",
        "billing_hard_limit_reached",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
    )
)
"""Codes, or types, that say that there is no money: to try again is no use."""

CODE_KINDS = {
    **dict.fromkeys(QUOTA_CODES, Kind.QUOTA),
    "model_not_found": Kind.NOT_FOUND,
    "invalid_api_key": Kind.AUTHENTICATION,
    "rate_limit_exceeded": Kind.RATE_LIMIT,
    "slow_down": Kind.RATE_LIMIT,
    "server_is_overloaded": Kind.OVERLOADED,
    "server_error": Kind.UPSTREAM,
}
"""Codes that say more than the status that they come with."""

CODE_STATUSES = {
    "model_not_found": 404,
    "rate_limit_exceeded": 429,
    "slow_down": 429,
    "server_is_overloaded": 503,
    "server_error": 500,
    "vector_store_timeout": 504,
    "context_length_exceeded": 400,
    **dict.fromkeys(QUOTA_CODES, 429),
}
"""The status that a code stands for where it comes in a stream or in a failed response."""

CODES = {
    Kind.AUTHENTICATION: "invalid_api_key",
    Kind.PERMISSION: "permission_denied",
    Kind.NOT_FOUND: "model_not_found",
    Kind.TOO_LARGE: "request_too_large",
    Kind.QUOTA: "insufficient_quota",
    Kind.RATE_LIMIT: "rate_limit_exceeded",
    Kind.TIMEOUT: "upstream_timeout",
    Kind.OVERLOADED: "server_is_overloaded",
    Kind.UPSTREAM: "upstream_error",
}
"""The code of a class of errors, where the provider gives none."""

OTHER_CODES = {
    "RateLimitReached": "rate_limit_exceeded",
    "DeploymentNotFound": "model_not_found",
    "content_filter": "content_policy_violation",
}
"""What OpenAI calls the codes of Azure."""

CODE = re.compile(r"(?!\d+$)[\w.\-]+")
"""What may be a code: one word, and more than a number that repeats the status. xAI writes a sentence there."""

SECRET = re.compile(r"\b(?:sk|rk|pk|xai|gsk|key|AIza|Bearer)[-_ ][\w*.\-]{4,}|\bAIza[\w\-]{8,}|\S*\*{3,}\S*")
"""What looks like a key, or what a provider leaves of one."""

MAX_MESSAGE = 2000


def read_error(status: int, headers: Mapping[bytes, bytes], body: bytes) -> ProviderError:
    """Read an error answer, whatever its body is."""
    fallback = f"The provider answered with status {status}."
    return _provider_error(_decoded(body), status, fallback, _retry_after(headers))


def _decoded(body: bytes) -> Any:
    try:
        return loads(body)
    except (ValueError, RecursionError):
        return None


def stream_error(event: dict[str, Any]) -> ProviderError:
    """Read an error that comes as an event, or as the `error` of a failed response: nested, flat, or none at all."""
    error = event.get("error") or {name: event.get(name) for name in ("code", "message", "param")}
    code = error.get("code") if isinstance(error, dict) else None
    status = CODE_STATUSES.get(code) if isinstance(code, str) else None
    if status is None and isinstance(code, str) and code.startswith(("invalid_", "unsupported_", "image_")):
        status = 400
    return _provider_error({"error": error}, status or status_of_error(error), "The provider could not go on.")


def _provider_error(body: Any, status: int, fallback: str, retry_after: int | None = None) -> ProviderError:
    """Make an error of its decoded body and its status; `fallback` is the message if the provider has none."""
    if isinstance(body, list):
        body = body[0] if body else None
    outer = body if isinstance(body, dict) else {}
    inner = outer.get("error")
    error = inner if isinstance(inner, dict) else outer
    code = _code(error)
    kind = _kind(status, code, error.get("type"))
    param = error.get("param")
    return ProviderError(
        _message(kind, inner, error) or fallback,
        status=CODE_STATUSES["model_not_found"] if code == "model_not_found" else status,
        kind=kind,
        code=code or CODES.get(kind),
        param=param if isinstance(param, str) else None,
        retry_after=retry_after,
        retryable=False if kind is Kind.QUOTA else None,
    )


def _code(error: dict[str, Any]) -> str | None:
    """Read the code, or the type where that says as much."""
    code = error.get("code")
    if not isinstance(code, str) or not CODE.fullmatch(code):
        kind = error.get("type")
        return kind if isinstance(kind, str) and kind in QUOTA_CODES else None
    return OTHER_CODES.get(code, code)


def _kind(status: int, code: str | None, type_: Any) -> Kind:
    if isinstance(type_, str) and type_ in QUOTA_CODES:
        return Kind.QUOTA
    if code in CODE_KINDS:
        return CODE_KINDS[code]
    return KINDS.get(status) or (Kind.BAD_REQUEST if status < 500 else Kind.UPSTREAM)


def _message(kind: Kind, inner: Any, error: dict[str, Any]) -> str | None:
    """Give the provider's message. That of a refused key tells of the key, and is never passed on."""
    if kind is Kind.AUTHENTICATION:
        return "The provider refused the credential."
    candidates = (inner, error.get("message"), _detail(error.get("detail")))
    text = next((text for text in candidates if isinstance(text, str) and text.strip()), None)
    if text is None or "<html" in text.lower() or "<!doctype" in text.lower():
        return None
    return SECRET.sub("[hidden]", text)[:MAX_MESSAGE]


def _detail(detail: Any) -> Any:
    """Give a `detail`, which some servers write as a list of what is wrong."""
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        return detail[0].get("msg")
    return detail


def _retry_after(headers: Mapping[bytes, bytes]) -> int | None:
    """Read how many seconds to wait, rounded up."""
    for name, unit in ((b"retry-after-ms", 1000), (b"retry-after", 1)):
        try:
            seconds = float(headers.get(name, b"")) / unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return math.ceil(seconds)
    return None
